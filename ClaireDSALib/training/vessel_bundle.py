"""Write a trained vessel network as a bundle: weights, graph, metadata."""

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
from ClaireDSALib.models.networks.vessel_cascade import VesselCascade
from ClaireDSALib.models.networks.vessel_net import VesselNet
from ClaireDSALib.models.onnx_export import export_traced
from ClaireDSALib.models.onnx_shared import share_weights
from ClaireDSALib.models.vessel_look import LOOKS, Look
from ClaireDSALib.models.vessel_segmenter import CHANNELS, INPUTS
from ClaireDSALib.models.weights import save_weights

_MULTIPLE = 32
_WORDS = {
    1: "peak opacity",
    3: "peak opacity and its early and late part",
    5: "peak opacity, its early and late part, the mean of the frames and their noise",
}
_KINDS = {VesselNet: "U-Net", VesselCascade: "Cascade of two pixel networks over Gaussian features at several scales"}


def write_vessel_bundle(
    network: VesselNet | VesselCascade,
    folder: Path,
    *,
    version: str = "0.1.0",
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write ``configs`` and ``models`` into ``folder``; thresholds and calibration are set by :func:`set_choices`.

    Parameters
    ----------
    network : VesselNet or VesselCascade
        Rounded in place to the stored precision.
    folder : Path
    version : str
    training : mapping, optional
        Settings of the training, for ``configs/train.json``; one on whole pictures goes on from the bundle itself.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_vessels(network, folder / ONNX_FILE)
    share_weights(folder / ONNX_FILE, folder / WEIGHTS_FILE)
    inputs = next(names for names in INPUTS if len(names) == network.in_channels)
    looks = LOOKS if isinstance(network, VesselNet) else (Look(),)
    section = {
        "task": "vessels",
        "channels": list(CHANNELS),
        "inputs": list(inputs),
        "thresholds": [0.5, 0.5, 0.5],
        "calibration": [[1.0, 0.0]] * 3,
        "cleaning": {},
        "looks": [look.to_dict() for look in looks],
        "onnx": ONNX_FILE,
        "weights": WEIGHTS_FILE,
        "network": _network(network),
        "artery_vein": {},
    }
    parts = "ClaireDSALib.training.vessel_parts.SegmentFolder"
    trainer = "ClaireDSALib.training.vessel_train.train_and_write"
    write_configs(
        folder,
        metadata=_metadata(_KINDS[type(network)], version, inputs) | {"vessels": section},
        inference=folder_inference("segmenter", parts, {"output_dir": "masks"}),
        train=folder_training(trainer, training or {}, goes_on=bool((training or {}).get("whole"))),
    )


def set_choices(folder: Path, **choices: Any) -> None:
    """Set entries of the ``vessels`` section (``thresholds``, ``calibration``, ``cleaning``, ``looks``,
    ``artery_vein``).

    Raises
    ------
    ValueError
        For an entry that such a bundle does not have.
    """
    set_entries(folder, "vessels", **choices)


def export_vessels(network: VesselNet | VesselCascade, path: Path) -> None:
    """Write the graph ``image (1, C, h, w)`` to ``logits (1, 3, h, w)`` for any h and w divisible by 32."""
    example = (torch.zeros(1, network.in_channels, 8 * _MULTIPLE, 8 * _MULTIPLE),)
    sizes = {name: {2: "h", 3: "w"} for name in ("image", "logits")}
    export_traced(network, path, example, inputs=["image"], outputs=["logits"], dynamic_axes=sizes)


def _network(network: VesselNet | VesselCascade) -> dict[str, Any]:
    if isinstance(network, VesselCascade):
        return {"type": "VesselCascade", "arguments": {"hidden": list(network.hidden)}}
    arguments = {"channels": list(network.channels), "in_channels": network.in_channels}
    return {"type": "VesselNet", "arguments": arguments}


def _metadata(kind: str, version: str, inputs: tuple[str, ...]) -> dict[str, Any]:
    description = BundleDescription(
        title="Vessels, arteries and veins of a cerebral angiogram",
        description=f"{kind} on {_WORDS[len(inputs)]}; trained on simulated runs only.",
        version=version,
        data_source="simulated by claire-dsa",
        changelog={version: "trained on simulated runs"},
    )
    task = "Vessel, artery and vein masks on the minimum intensity projection of a cerebral angiographic run"
    channels, shape = [f"{name} opacity, relative" for name in inputs], ["32*n", "32*n"]
    return metadata_head(description, task=task) | {
        "network_data_format": {
            "inputs": {"image": tensor_format("image", "opacity", channels, shape, [-0.5, 1.5])},
            "outputs": {"pred": tensor_format("logits", "segmentation", CHANNELS, shape)},
        },
    }
