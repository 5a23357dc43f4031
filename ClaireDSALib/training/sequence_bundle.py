"""Write a trained sequence network as a bundle: weights, graph, metadata, card."""

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
    tensor_format,
    write_configs,
)
from ClaireDSALib.models.networks.sequence_net import MAP_STRIDE, PHASES, SequenceNet, SequenceOutput
from ClaireDSALib.models.onnx_export import export_traced
from ClaireDSALib.models.onnx_shared import share_weights
from ClaireDSALib.models.sequence_maps import CHANNELS
from ClaireDSALib.models.weights import save_weights

_CHANGELOG = {
    "0.5.0": "mean of two networks over temporal maps: that of 0.3.0, and that of 0.4.0 trained on with 1,412 patients",
    "0.4.0": "verdict of pairs learnt, batch normalisation kept, bent heads, 754 more patients",
    "0.3.0": "ten times as many patients, temporal maps at 160 px instead of 96",
    "0.2.0": "temporal maps of the whole run with dense supervision beside the recurrent branch; more patients",
    "0.1.0": "first version, trained on simulated runs",
}


def write_sequence_bundle(
    network: SequenceNet,
    folder: Path,
    *,
    size_px: int,
    threshold: float,
    temperature: float,
    version: str = "0.5.0",
    training: Mapping[str, Any] | None = None,
    phase_training: Mapping[str, Any] | None = None,
) -> None:
    """Write ``configs``, ``models`` into ``folder``; the card is written by the evaluation.

    Parameters
    ----------
    network : SequenceNet
        Rounded in place to the stored precision.
    threshold : float
        Calibrated probability at or above which a thrombus counts as present.
    temperature : float
        Divides the logit before the sigmoid.
    version : str
    training : mapping, optional
        Settings of the training verb, for ``configs/train.json``.
    phase_training : mapping, optional
        Where the phases come from when they were trained after everything else; its ``runs`` join the data source.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_sequence(network, folder / ONNX_FILE, size_px)
    share_weights(folder / ONNX_FILE, folder / WEIGHTS_FILE)
    section: dict[str, Any] = {
        "task": "thrombus",
        "size_px": size_px,
        "threshold": threshold,
        "temperature": temperature,
        "phases": list(PHASES),
        "onnx": ONNX_FILE,
        "weights": WEIGHTS_FILE,
        "network": {"type": "SequenceNet", "arguments": network.config.to_dict()},
    }
    metadata = _metadata(version, size_px)
    if phase_training:
        section["phase_training"] = dict(phase_training)
        metadata["data_source"] += f"; phases: {phase_training['runs']}"
    parts = "ClaireDSALib.training.sequence_parts.ReadFolder"
    trainer = "ClaireDSALib.training.sequence_train.train_and_write"
    write_configs(
        folder,
        metadata=metadata | {"sequence": section},
        inference=folder_inference("reader", parts, {"output_file": "predictions.json"}),
        train=folder_training(trainer, training or {}),
    )


def export_sequence(network: SequenceNet, path: Path, size_px: int) -> None:
    """Write the graph for runs of any length: temporal channels, frames and course to the parts of a verdict.

    Parameters
    ----------
    network : SequenceNet
    path : Path
    size_px : int
        Side S of the temporal channels ``maps (C, S, S)``; frames are ``(T, 3, S / 2, S / 2)``, the course ``(T, K)``.
    """
    config, half = network.config, size_px // 2
    example = (
        torch.zeros(config.map_inputs, size_px, size_px),
        torch.zeros(8, 3, half, half),
        torch.zeros(8, config.course_inputs),
    )
    lengths = {name: {0: "T"} for name in ("frames", "course", "phases")}
    inputs, outputs = ["maps", "frames", "course"], SequenceOutput._fields
    export_traced(network, path, example, inputs=inputs, outputs=outputs, dynamic_axes=lengths)


def _metadata(version: str, size_px: int) -> dict[str, Any]:
    description = BundleDescription(
        title="Thrombus and phases of a cerebral angiographic run",
        description="Temporal maps of a run and a recurrent network over its frames; trained on simulated runs.",
        version=version,
        data_source="simulated by claire-dsa",
        changelog=_CHANGELOG,
    )
    task = "Thrombus yes/no with site and missing territory, and the phase of every frame, from a whole run"
    head = metadata_head(description, task=task, data_type="image sequence")
    return head | {"network_data_format": _data_format(size_px)}


def _data_format(size_px: int) -> dict[str, Any]:
    picture, half, cells = [size_px] * 2, [size_px // 2] * 2, [size_px // MAP_STRIDE] * 2
    neighbours = ["frame before", "frame", "frame after"]
    return {
        "inputs": {
            "maps": tensor_format("image", "opacity and time", CHANNELS, picture, [-0.6, 2.1]),
            "frames": tensor_format("image", "opacity", neighbours, half, [-0.5, 1.5]),
        },
        "outputs": {
            "pred": tensor_format("logits", "classes", ["thrombus"]),
            "site": tensor_format("logits", "map", ["site of the thrombus"], cells),
            "territory": tensor_format("logits", "map", ["missing perfusion"], cells),
        },
    }
