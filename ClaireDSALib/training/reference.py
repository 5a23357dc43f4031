"""The paper's design as a reference: a separate ResNet per label, three backbones each, best by validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle
from ClaireDSALib.models.labels import LabelSet, LabelSpec
from ClaireDSALib.models.networks import NineResNets
from ClaireDSALib.models.networks.resnets import DEPTHS, make_resnet
from ClaireDSALib.training.calibration import fit_temperatures
from ClaireDSALib.training.fit import fit, predict_logits
from ClaireDSALib.training.pretrained import initialise_resnet
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.settings import FitSettings
from ClaireDSALib.training.train_bundle import training_parts

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class SingleLabel(nn.Module):
    """One ResNet behind the training loop's interface."""

    def __init__(self, backbone: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.class_counts = (n_classes,)
        self.register_buffer("mean", torch.tensor(IMAGENET["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET["std"]).view(1, -1, 1, 1))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, K)`` of pictures ``(B, 1 or 3, S, S)``."""
        return self.backbone((image.expand(-1, 3, -1, -1) - self.mean) / self.std)


def train_reference(
    pictures: LabelledPictures,
    out: Path,
    settings: FitSettings,
    *,
    backbones: tuple[str, ...] = DEPTHS,
    weights_folder: Path | None = None,
    name: str = "nine_resnets",
    report: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Train nine networks within ``settings.max_minutes`` in all and write them as one bundle.

    Every label and backbone gets an equal part of the time, so that the whole system costs what the budget says.
    """
    train, validation = training_parts(pictures, settings.seed)
    share = settings.max_minutes / (len(pictures.labels.labels) * len(backbones))
    own = replace(settings, max_minutes=share, outlier_share=0.0)
    best = [
        _best_for(k, train, validation, own, backbones, out, weights_folder, report)
        for k in range(len(pictures.labels.labels))
    ]
    arguments = {
        "class_counts": [len(label.classes) for label in pictures.labels.labels],
        "backbones": [depth for depth, _ in best],
        **IMAGENET,
        "names": list(pictures.labels.names),
    }
    network = NineResNets(**arguments)
    for label, (_, single) in zip(pictures.labels.labels, best, strict=True):
        network.networks[label.name].load_state_dict(single.backbone.state_dict())
    network.eval()
    logits = predict_logits(network, validation.images, settings.input_spec)
    with torch.no_grad():
        network.temperature.copy_(torch.tensor(fit_temperatures(logits, validation.targets, validation.labels)))
    return write_bundle(
        network,
        out / name,
        labels=pictures.labels,
        input_spec=replace(settings.input_spec, mean=tuple(IMAGENET["mean"]), std=tuple(IMAGENET["std"])),
        network_type="NineResNets",
        network_arguments=arguments,
        description=BundleDescription(
            title="Reference: one ResNet per label",
            description=f"One ResNet per label, best of {', '.join(backbones)} by validation.",
            training=settings.to_dict(),
        ),
        onnx=False,
    )


def _best_for(
    position: int,
    train: LabelledPictures,
    validation: LabelledPictures,
    settings: FitSettings,
    backbones: tuple[str, ...],
    out: Path,
    weights_folder: Path | None,
    report: Callable[[str], None],
) -> tuple[str, SingleLabel]:
    """Backbone with the best macro AUC for one label."""
    label = train.labels.labels[position]
    found: list[tuple[float, str, SingleLabel]] = []
    for depth in backbones:
        resnet = make_resnet(depth, len(label.classes))
        report(f"{label.name}: {initialise_resnet(resnet, depth, weights_folder)}")
        network, history = fit(
            one_label(train, position, label),
            one_label(validation, position, label),
            settings,
            out / f"{label.name}_{depth}",
            report=report,
            network=SingleLabel(resnet, len(label.classes)),
        )
        assert isinstance(network, SingleLabel)
        found.append((max(row.get("macro_auc", 0.0) for row in history), depth, network))
    value, depth, network = max(found, key=lambda item: item[0])
    report(f"{label.name}: {depth} with macro AUC {value:.4f} on validation")
    return depth, network


def one_label(pictures: LabelledPictures, position: int, label: LabelSpec) -> LabelledPictures:
    """The pictures for which one label is known, with that label alone."""
    known = np.flatnonzero(pictures.targets[:, position] >= 0)
    part = pictures.subset(known)
    return LabelledPictures(
        part.images,
        part.targets[:, [position]],
        part.patients,
        LabelSet((label,)),
        part.names,
        part.groups,
        part.splits,
    )
