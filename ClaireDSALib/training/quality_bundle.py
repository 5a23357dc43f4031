"""Write a trained quality network as a bundle: weights, graph, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ClaireDSALib.models.bundle_config import (
    ONNX_FILE,
    WEIGHTS_FILE,
    BundleDescription,
    folder_inference,
    folder_training,
    metadata_head,
    set_entries,
    tensor_format,
    write_configs,
)
from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.onnx_export import export_traced
from ClaireDSALib.models.onnx_shared import share_weights
from ClaireDSALib.models.quality_input import GRADES, WORK_PX
from ClaireDSALib.models.quality_reader import INPUTS
from ClaireDSALib.models.weights import save_weights


def write_quality_bundle(
    network: QualityNet,
    folder: Path,
    *,
    network_arguments: Mapping[str, Any] | None = None,
    version: str = "0.1.0",
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write ``configs`` and ``models``; threshold and temperature are set by :func:`set_quality_choices`.

    Parameters
    ----------
    network : QualityNet
        Rounded in place to the stored precision.
    folder : Path
    network_arguments : mapping, optional
        What the network was built with, where it is not the default.
    version : str
    training : mapping, optional
        Settings of the training, for ``configs/train.json``.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_quality(network, folder / ONNX_FILE)
    share_weights(folder / ONNX_FILE, folder / WEIGHTS_FILE)
    section: dict[str, Any] = {
        "task": "quality",
        "grades": list(GRADES),
        "threshold": 0.5,
        "temperature": 1.0,
        "cleaning": {},
        "work_px": WORK_PX,
        "inputs": list(INPUTS[0] if network.in_channels == 1 else INPUTS[1]),
        "onnx": ONNX_FILE,
        "weights": WEIGHTS_FILE,
        "network": {"type": "QualityNet", "arguments": dict(network_arguments or {})},
    }
    parts = "ClaireDSALib.training.quality_parts.GradeFolder"
    trainer = "ClaireDSALib.training.quality_train.train_and_write"
    write_configs(
        folder,
        metadata=_metadata(version, section["inputs"]) | {"quality": section},
        inference=folder_inference("grader", parts, {"output_dir": "graded"}),
        train=folder_training(trainer, training or {}, data="$[@bundle_root + '/data']"),
    )


def set_quality_choices(folder: Path, **choices: Any) -> None:
    """Set ``threshold``, ``temperature`` or ``cleaning`` of a bundle.

    Raises
    ------
    ValueError
        For an entry that such a bundle does not have.
    """
    set_entries(folder, "quality", **choices)


def export_quality(network: QualityNet, path: Path) -> None:
    """Write the graph ``image (1, C, 512, 512)`` to ``vessels (1, 1, 512, 512)`` and ``quality (1, 3)`` logits.

    The size is fixed: the attention's windows are, and a fixed graph is a third faster.
    """
    example = (torch.zeros(1, network.in_channels, WORK_PX, WORK_PX),)
    export_traced(network, path, example, inputs=["image"], outputs=["vessels", "quality"])


def _metadata(version: str, inputs: list[str]) -> dict[str, Any]:
    description = BundleDescription(
        title="Quality and vessels of a cerebral angiogram, for laptops",
        description="Light two-task network after Huang et al. 2025; trained on simulated runs only.",
        version=version,
        data_source="simulated by claire-dsa",
        changelog={version: "trained on simulated runs"},
    )
    task = "Quality grade and vessel mask of the subtracted minimum intensity projection, in one short pass"
    channels, shape = [f"{name} opacity, relative" for name in inputs], [WORK_PX, WORK_PX]
    return metadata_head(description, task=task) | {
        "network_data_format": {
            "inputs": {"image": tensor_format("image", "opacity", channels, shape, [-0.5, 1.5])},
            "outputs": {
                "pred": tensor_format("logits", "classes", GRADES),
                "vessels": tensor_format("logits", "segmentation", ["vessel"], shape),
            },
        },
    }
