"""Nine labels and nine class-activation maps of one 1024 x 1024 MinIP on the CPU, models warm."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target


def _prepare(folder: Path) -> Path:
    from Testing.benchmarks.phantom import frames

    path = folder / "minip.npy"
    np.save(path, frames(8).min(0))
    return path


def ours(path: Path) -> None:
    """Shipped bundle: one trunk, closed-form maps inside the exported graph, onnxruntime; all 21 maps."""
    result = _classifier("onnxruntime").classify(np.load(path))
    assert sum(len(maps) for maps in result.cams.values()) >= 9


def ours_in_torch(path: Path) -> None:
    _classifier("torch").classify(np.load(path))


def nine_resnets(path: Path) -> None:
    """The paper's design: nine torch-eager ResNet-18 (torchvision's stem), MONAI's Grad-CAM, same input size."""
    import torch

    from ClaireDSALib.models.preprocessing import InputSpec, prepare

    size = _classifier("onnxruntime").bundle.input_spec.size_px
    image = torch.from_numpy(prepare(np.load(path), InputSpec(size_px=size)))[None].expand(-1, 3, -1, -1)
    for cam in _nine():
        heat = cam(image.contiguous())  # the map of the predicted class, spread over the picture
        assert heat.shape[-1] == size


@cache
def _classifier(engine: str) -> Any:
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.models.classifier import load_classifier

    entry = load_catalogue(user=False).default("labels")
    if entry is None:
        msg = "no label bundle is shipped, so there is nothing to measure"
        raise LookupError(msg)
    return load_classifier(entry.name, device="cpu", engine=engine)


@cache
def _nine() -> tuple[Any, ...]:
    """Random weights: they cost the same time as trained ones."""
    from monai.visualize import GradCAM

    from ClaireDSALib.models.networks.resnets import make_resnet

    counts = [len(label.classes) for label in _classifier("onnxruntime").bundle.labels.labels]
    return tuple(GradCAM(make_resnet("resnet18", n).eval(), target_layers="layer4") for n in counts)


BENCHMARKS = (
    Benchmark(
        "nine labels and maps",
        "one 1024 x 1024 MinIP on the CPU: prepared picture, probabilities, class-activation maps; models warm",
        _prepare,
        (
            Contender("claire-dsa", ours, ("onnxruntime",), 9),
            Contender("claire-dsa, torch engine", ours_in_torch, ("torch", "safetensors"), 5),
            Contender("nine ResNet-18, MONAI GradCAM", nine_resnets, ("torch", "monai.visualize"), 3),
        ),
        (Target("seconds", "nine ResNet-18, MONAI GradCAM", peer_over_ours_at_least=25),),
    ),
)
