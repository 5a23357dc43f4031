"""Import of ResNet classifiers trained elsewhere, in torchvision's or timm's key layout, as one bundle.

A small JSON says what the checkpoints cannot: label names, classes in output order, input size, normalisation::

    {"name": "nine_resnets", "title": "...", "licence": "...",
     "input": {"size_px": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
     "labels": [{"name": "projection", "classes": ["ap", "lateral", "oblique"],
                 "checkpoint": "projection.pth", "backbone": "resnet34"}, ...]}

``backbone`` may be left out: it is read from the shapes. A label with one output (sigmoid) becomes two classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ClaireDSALib.dsa.strict_json import read_json
from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.preprocessing import InputSpec

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def import_checkpoints(description_file: str | Path, out: str | Path) -> Bundle:
    """Build a bundle from checkpoints and a description.

    Parameters
    ----------
    description_file : str or Path
        The JSON above; checkpoint paths are relative to it.
    out : str or Path
        Folder in which the bundle's folder is made.

    Raises
    ------
    BundleError
        When the description lacks something, or a checkpoint is unsafe or does not fit its label.
    """
    from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle
    from ClaireDSALib.models.networks import NineResNets

    description = _read(Path(description_file))
    labels = LabelSet.from_list(description["labels"])
    spec = _input_spec(description.get("input", {}))
    states = [_state(Path(description_file).parent, item) for item in description["labels"]]
    backbones = [
        item.get("backbone") or backbone_of(state, item["name"])
        for item, state in zip(description["labels"], states, strict=True)
    ]
    arguments: dict[str, Any] = {
        "class_counts": [len(label.classes) for label in labels.labels],
        "backbones": backbones,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "names": list(labels.names),
    }
    network = NineResNets(**arguments)
    for label, state in zip(labels.labels, states, strict=True):
        _load_one(network.networks[label.name], state, label.name, len(label.classes))
    words = BundleDescription(
        title=description.get("title", description["name"]),
        description=description.get("description", "Imported classifiers, one network per label."),
        version=str(description.get("version", "1")),
        copyright=description.get("licence", "not stated"),
    )
    return write_bundle(
        network,
        Path(out) / description["name"],
        labels=labels,
        input_spec=spec,
        network_type="NineResNets",
        network_arguments=arguments,
        description=words,
        onnx=bool(description.get("onnx", True)),
    )


def backbone_of(state: Mapping[str, Any], label: str) -> str:
    """ResNet depth from the number of blocks and whether they are bottlenecks.

    Raises
    ------
    BundleError
        When the keys are not those of a ResNet-18, 34 or 50.
    """
    blocks = len({key.split(".")[1] for key in state if key.startswith("layer3.")})
    bottleneck = any(key.startswith("layer1.0.conv3") for key in state)
    depth = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50"}.get((blocks, bottleneck))
    if depth is None:
        first = sorted(state)[:3]
        msg = f"checkpoint of label {label!r} has no ResNet-18/34/50 key layout; its first keys are {first}"
        raise BundleError(msg)
    return depth


def _read(path: Path) -> dict[str, Any]:
    try:
        description = read_json(path)
    except (OSError, ValueError) as error:
        msg = f"description {path.name} cannot be read ({error})"
        raise BundleError(msg) from error
    if not isinstance(description, dict) or not description.get("name") or not description.get("labels"):
        msg = f"description {path.name} needs 'name' and 'labels' with classes and checkpoints"
        raise BundleError(msg)
    for item in description["labels"]:
        if "checkpoint" not in item:
            msg = f"label {item.get('name')!r} of {path.name} names no checkpoint"
            raise BundleError(msg)
    return description


def _input_spec(data: Mapping[str, Any]) -> InputSpec:
    return InputSpec(
        size_px=int(data.get("size_px", 224)),
        window_percentiles=tuple(data.get("window_percentiles", (0.0, 100.0))),
        mean=tuple(data.get("mean", IMAGENET_MEAN)),
        std=tuple(data.get("std", IMAGENET_STD)),
        contrast=str(data.get("contrast", "dark")),
    )


def _state(folder: Path, item: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from ClaireDSALib.models.networks.resnets import torchvision_keys
    from ClaireDSALib.models.weights import read_weights

    path = folder / item["checkpoint"]
    if not path.is_file():
        msg = f"checkpoint {item['checkpoint']!r} of label {item['name']!r} is missing beside the description"
        raise BundleError(msg)
    return torchvision_keys(read_weights(path))


def _load_one(network: torch.nn.Module, state: dict[str, torch.Tensor], label: str, n_classes: int) -> None:
    import torch

    from ClaireDSALib.models.weights import fill

    state = _plain_head(state)
    weight, bias = state.get("fc.weight"), state.get("fc.bias")
    if weight is None or bias is None:
        msg = f"checkpoint of label {label!r} has no last layer 'fc'"
        raise BundleError(msg)
    if n_classes == 2 and weight.shape[0] == 1:  # one sigmoid output z equals a softmax over (0, z)
        state["fc.weight"] = torch.cat([torch.zeros_like(weight), weight])
        state["fc.bias"] = torch.cat([torch.zeros_like(bias), bias])
    elif weight.shape[0] != n_classes:
        msg = f"checkpoint of label {label!r} has {weight.shape[0]} outputs but {n_classes} classes are named"
        raise BundleError(msg)
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, value)
    fill(network, state, f"checkpoint of label {label!r}")


def _plain_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``fc.1.weight`` (dropout before the layer) and timm's ``head.fc`` become ``fc``."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in ("fc", "head", "classifier") and parts[-1] in ("weight", "bias"):
            renamed[f"fc.{parts[-1]}"] = value
        else:
            renamed[key] = value
    return renamed
