"""A bundle of a few thousand random weights, for tests of everything around a model."""

from __future__ import annotations

from pathlib import Path

import torch

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle
from ClaireDSALib.models.labels import NINE_LABELS, LabelSet
from ClaireDSALib.models.networks import SharedTrunkClassifier
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import PictureChoice

SIZE_PX = 96


def tiny_network(labels: LabelSet = NINE_LABELS, seed: int = 0) -> tuple[SharedTrunkClassifier, dict]:
    """Random network whose batch norm has seen data: an untouched one outputs almost zero and hides errors."""
    torch.manual_seed(seed)
    arguments = {"class_counts": [len(x.classes) for x in labels.labels], "trunk": "tiny", "outlier_components": 8}
    network = SharedTrunkClassifier(**arguments)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.3
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.3, 0.3)
    torch.nn.init.normal_(network.head.weight, 0, 1.0)
    with torch.no_grad():
        for _ in range(10):
            network.logits(smooth_noise(8, seed=None))
        network.eval()
        network.temperature.copy_(torch.linspace(0.7, 1.5, len(labels.labels)))
        network.outliers.fit(network.features(smooth_noise(64, seed=None)))
    return network, arguments


def smooth_noise(n: int, seed: int | None = 0) -> torch.Tensor:
    """``(n, 1, S, S)`` random clouds in 0 to 1."""
    if seed is not None:
        torch.manual_seed(seed)
    coarse = torch.rand(n, 1, 12, 12)
    return torch.nn.functional.interpolate(coarse, size=(SIZE_PX, SIZE_PX), mode="bicubic").clamp(0, 1)


def write_tiny_bundle(
    folder: Path, *, onnx: bool = True, labels: LabelSet = NINE_LABELS, pictures: PictureChoice | None = None
) -> Bundle:
    """Write the random network as a bundle."""
    network, arguments = tiny_network(labels)
    return write_bundle(
        network,
        folder,
        labels=labels,
        input_spec=InputSpec(size_px=SIZE_PX),
        network_type="SharedTrunkClassifier",
        network_arguments=arguments,
        description=BundleDescription("Tiny random labels", "Random weights, for tests only."),
        outlier_threshold=3.0,
        pictures=pictures,
        onnx=onnx,
    )
