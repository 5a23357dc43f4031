"""The published network for adaptation with few labels: one feature extractor, three heads, gradient reversal.

Loizillon et al., "Automatic quality control of brain 3D FLAIR MRIs for a clinical data warehouse", Med Image Anal
2025, doi 10.1016/j.media.2025.103617. Written from the facts of its public implementation (five convolution blocks of
8 to 128 channels, fully connected parts of 1300 and 50), with the same key layout so that its checkpoints load.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ClaireDSALib.models.errors import BundleError

WIDTHS = (8, 16, 32, 64, 128)
HIDDEN = (1300, 50)
HEADS = ("fc_class_source", "fc_class_target", "fc_domain")


class AdaptationOutputs(NamedTuple):
    """Logits of the three heads for a batch of B pictures."""

    source: torch.Tensor
    """(B, output_size) of the head for the labelled domain."""
    target: torch.Tensor
    """(B, output_size) of the head for the new domain."""
    domain: torch.Tensor
    """(B, 2) source against target, behind the gradient reversal."""


class Conv5Fc3Ssda(nn.Module):
    """Five convolution blocks, a class head per domain and a domain head.

    Parameters
    ----------
    input_size : sequence of int
        ``(C, H, W)`` for pictures or ``(C, D, H, W)`` for volumes.
    output_size : int
        Classes; the published one has two.
    dropout : float
        In front of each head.
    """

    def __init__(self, input_size: Sequence[int], output_size: int = 2, dropout: float = 0.5) -> None:
        super().__init__()
        if len(input_size) not in (3, 4) or min(input_size) < 1:
            msg = f"input_size must be (C, H, W) or (C, D, H, W); got {tuple(input_size)}"
            raise ValueError(msg)
        self.input_size = tuple(int(n) for n in input_size)
        self.convolutions = _convolutions(self.input_size[0], dimensions=len(self.input_size) - 1)
        flat = WIDTHS[-1] * math.prod(-(-n // 2 ** len(WIDTHS)) for n in self.input_size[1:])
        self.fc_class_source = _head(flat, output_size, dropout)
        self.fc_class_target = _head(flat, output_size, dropout)
        self.fc_domain = _head(flat, 2, dropout)

    def forward(self, x: torch.Tensor, alpha: float = 0.0) -> AdaptationOutputs:
        """Logits of all heads; ``alpha`` scales the reversed gradient that reaches the convolutions."""
        features = self.convolutions(x)
        domain = self.fc_domain(reverse_gradient(features, alpha))
        return AdaptationOutputs(self.fc_class_source(features), self.fc_class_target(features), domain)


class PadMaxPool(nn.Module):
    """Largest of every two values per axis; odd sizes get one row of zeros in front."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve every axis, rounding up."""
        padding = [part for n in reversed(x.shape[2:]) for part in (n % 2, 0)]
        pool = functional.max_pool2d if self.dimensions == 2 else functional.max_pool3d
        return pool(functional.pad(x, padding), 2)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, alpha: float) -> torch.Tensor:  # type: ignore[override]
        context.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return -context.alpha * gradient, None


def reverse_gradient(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Identity forwards; backwards the gradient times ``-alpha`` (Ganin et al., JMLR 2016)."""
    return _ReverseGradient.apply(x, float(alpha))  # type: ignore[no-untyped-call]


def reversal_strength(progress: float) -> float:
    """``2 / (1 + exp(-10 p)) - 1``: 0 at the start, about 1 from ``p`` = 0.5 on.

    Parameters
    ----------
    progress : float
        The public implementation uses the epoch over 10.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


def read_checkpoint(path: str | Path, input_size: Sequence[int]) -> tuple[Conv5Fc3Ssda, int]:
    """Network and epoch of a checkpoint ``{"model", "epoch", "name"}``.

    Parameters
    ----------
    path : str or Path
    input_size : sequence of int
        The checkpoint does not store it.

    Raises
    ------
    BundleError
        When the file has another layout, or its tensors belong to another input size.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        msg = f"{Path(path).name} is not a readable checkpoint ({type(error).__name__})"
        raise BundleError(msg) from error
    if not isinstance(data, Mapping) or not {"model", "epoch"} <= set(data):
        msg = f"{Path(path).name} is no checkpoint of this network: it needs 'model', 'epoch' and 'name'"
        raise BundleError(msg)
    return network_for(data["model"], input_size), int(data["epoch"])


def write_checkpoint(network: Conv5Fc3Ssda, path: str | Path, epoch: int) -> None:
    """Write a checkpoint in the published layout."""
    torch.save({"model": network.state_dict(), "epoch": epoch, "name": type(network).__name__}, path)


def network_for(state: Mapping[str, torch.Tensor], input_size: Sequence[int]) -> Conv5Fc3Ssda:
    """Network filled with a state in the published layout, in evaluation mode.

    Raises
    ------
    BundleError
        Naming what does not fit.
    """
    if "convolutions.0.weight" not in state or "fc_class_target.6.weight" not in state:
        msg = "not this network's state: 'convolutions.0.weight' or 'fc_class_target.6.weight' is missing"
        raise BundleError(msg)
    dimensions = state["convolutions.0.weight"].ndim - 2
    if dimensions != len(input_size) - 1:
        msg = f"the state is of a {dimensions}D network; input_size {tuple(input_size)} asks for {len(input_size) - 1}D"
        raise BundleError(msg)
    network = Conv5Fc3Ssda(input_size, output_size=state["fc_class_target.6.weight"].shape[0])
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        msg = f"the state does not fit input_size {tuple(input_size)}: {str(error).splitlines()[-1].strip()}"
        raise BundleError(msg) from error
    return network.eval()


def _convolutions(channels: int, dimensions: int) -> nn.Sequential:
    convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d)
    layers: list[nn.Module] = []
    for width in WIDTHS:
        layers += [convolution(channels, width, 3, padding=1), norm(width), nn.ReLU(), PadMaxPool(dimensions)]
        channels = width
    return nn.Sequential(*layers)


def _head(flat: int, output_size: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(flat, HIDDEN[0]),
        nn.ReLU(),
        nn.Linear(HIDDEN[0], HIDDEN[1]),
        nn.ReLU(),
        nn.Linear(HIDDEN[1], output_size),
    )
