"""Weights on disk: safetensors, stored as half precision, computed in single. No pickle is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.errors import BundleError

if TYPE_CHECKING:
    import torch
    from torch import nn


def make_network(network_type: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build one of this program's networks with random weights."""
    from ClaireDSALib.models import networks

    return getattr(networks, network_type)(**arguments)


def load_network(bundle: Bundle) -> nn.Module:
    """Network of a bundle with its weights, in evaluation mode, on the CPU.

    Raises
    ------
    BundleError
        When weights are missing, do not fit, or are not finite.
    """
    if bundle.weights is None:
        msg = f"bundle {bundle.name!r} has no torch weights; use engine 'onnxruntime'"
        raise BundleError(msg)
    network = make_network(bundle.network_type, bundle.network_arguments)
    fill(network, read_weights(bundle.weights), f"bundle {bundle.name!r}")
    return network.eval()


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Fill a network from a safetensors file and return it ready for inference (used by ``inference.json``)."""
    fill(network, read_weights(Path(path)), str(path))
    return network.eval()


def fill(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Copy a complete state into a network.

    Raises
    ------
    BundleError
        Naming the first tensor that is missing, superfluous, of another shape or not finite.
    """
    import torch

    own = network.state_dict()
    if wrong := sorted(set(own) ^ set(state)):
        msg = f"{what}: weights do not fit the network; {len(wrong)} tensors missing or superfluous, first {wrong[0]!r}"
        raise BundleError(msg)
    for key, value in state.items():
        if value.shape != own[key].shape:
            msg = f"{what}: tensor {key!r} has shape {tuple(value.shape)}, the network needs {tuple(own[key].shape)}"
            raise BundleError(msg)
        if value.is_floating_point() and not key.startswith("outliers.") and not torch.isfinite(value).all():
            msg = f"{what}: tensor {key!r} holds NaN or infinite values; the weights are damaged"
            raise BundleError(msg)
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read safetensors, or a pickled checkpoint restricted to tensors.

    Raises
    ------
    BundleError
        When the file is neither, or a pickle that would run code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            msg = f"{path.name} is not a readable safetensors file ({error})"
            raise BundleError(msg) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = f"{path.name} is a pickle that holds more than tensors and could run code; it was not loaded"
        raise BundleError(msg) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        msg = f"{path.name} is not a readable checkpoint ({type(error).__name__})"
        raise BundleError(msg) from error
    return unwrap(loaded, path.name)


def unwrap(loaded: Any, name: str) -> dict[str, torch.Tensor]:
    """State dict inside the usual wrappers (``state_dict``, ``model_state_dict``, ``model``).

    Raises
    ------
    BundleError
        When no mapping of tensors is found.
    """
    import torch

    for key in ("state_dict", "model_state_dict", "model", "net", "network"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        msg = f"{name} holds no state dict of tensors"
        raise BundleError(msg)
    return loaded


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a state as safetensors; floating point tensors in half precision.

    The network itself is rounded to what was written, so that an export made afterwards agrees exactly.
    """
    import torch
    from safetensors.torch import save_file

    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point() and value.ndim > 1:
                value.copy_(value.half().float())
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).detach().contiguous()
        for key, value in network.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
