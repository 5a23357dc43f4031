"""Write a trained vessel network as a bundle: weights, graph, metadata."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from ClaireDSALib.models.bundle_writer import MONAI_SCHEMA_URL
from ClaireDSALib.models.networks.vessel_cascade import VesselCascade
from ClaireDSALib.models.networks.vessel_net import VesselNet
from ClaireDSALib.models.onnx_export import store_matrices_as_half
from ClaireDSALib.models.vessel_input import MAX_WORK_PX, MIN_WORK_PX
from ClaireDSALib.models.vessel_segmenter import CHANNELS, INPUTS
from ClaireDSALib.models.weights import save_weights

ONNX_FILE, WEIGHTS_FILE = "models/model.onnx", "models/model.safetensors"
_MULTIPLE = 32
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
        Settings of the training, for ``configs/train.json``.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_vessels(network, folder / ONNX_FILE)
    inputs = INPUTS[0] if network.in_channels == 1 else INPUTS[1]
    section = {
        "task": "vessels",
        "channels": list(CHANNELS),
        "inputs": list(inputs),
        "thresholds": [0.5, 0.5, 0.5],
        "calibration": [[1.0, 0.0]] * 3,
        "cleaning": {},
        "scales": [1.0],
        "work_px": [MIN_WORK_PX, MAX_WORK_PX],
        "onnx": ONNX_FILE,
        "weights": WEIGHTS_FILE,
        "network": _network(network),
    }
    _write(folder, "metadata", _metadata(_KINDS[type(network)], version, inputs) | {"vessels": section})
    _write(folder, "inference", _inference())
    _write(folder, "train", _train(training or {}))


def set_choices(folder: Path, **choices: Any) -> None:
    """Set entries of the ``vessels`` section (``thresholds``, ``calibration``, ``cleaning``, ``scales``).

    Raises
    ------
    ValueError
        For an entry that such a bundle does not have.
    """
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if stray := sorted(set(choices) - set(metadata["vessels"])):
        msg = f"a vessel bundle has no entries {stray}; it has {sorted(metadata['vessels'])}"
        raise ValueError(msg)
    metadata["vessels"] |= choices
    _write(folder, "metadata", metadata)


def export_vessels(network: VesselNet | VesselCascade, path: Path) -> None:
    """Write the graph ``image (1, C, h, w)`` to ``logits (1, 3, h, w)`` for any h and w divisible by 32."""
    import onnx

    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter, not ours to act on
        torch.onnx.export(
            network,
            (torch.zeros(1, network.in_channels, 8 * _MULTIPLE, 8 * _MULTIPLE),),
            str(path),
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch norms apart: merged weights have no exact half
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {2: "h", 3: "w"}, "logits": {2: "h", 3: "w"}},
            opset_version=18,
        )
    model = onnx.load(str(path))
    store_matrices_as_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _network(network: VesselNet | VesselCascade) -> dict[str, Any]:
    if isinstance(network, VesselCascade):
        return {"type": "VesselCascade", "arguments": {"hidden": list(network.hidden)}}
    arguments = {"channels": list(network.channels), "in_channels": network.in_channels}
    return {"type": "VesselNet", "arguments": arguments}


def _metadata(kind: str, version: str, inputs: tuple[str, ...]) -> dict[str, Any]:
    return {
        "schema": MONAI_SCHEMA_URL,
        "version": version,
        "changelog": {version: "first version, trained on simulated runs"},
        "monai_version": monai.__version__.split("+")[0],
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"claire-dsa": "0.1.0"},
        "name": "Vessels, arteries and veins of a cerebral angiogram",
        "task": "Vessel, artery and vein masks on the minimum intensity projection of a cerebral angiographic run",
        "description": f"{kind} on peak opacity and its early and late part; trained on simulated runs only.",
        "authors": "The CLAIRE-DSA developers",
        "copyright": "Apache-2.0",
        "data_source": "simulated by claire-dsa",
        "data_type": "image",
        "intended_use": "Research software, not a medical device.",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "opacity",
                    "modality": "XA",
                    "num_channels": len(inputs),
                    "spatial_shape": ["32*n", "32*n"],
                    "dtype": "float32",
                    "value_range": [-0.5, 1.5],
                    "is_patch_data": False,
                    "channel_def": {str(k): f"{name} opacity, relative" for k, name in enumerate(inputs)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "logits",
                    "format": "segmentation",
                    "num_channels": len(CHANNELS),
                    "spatial_shape": ["32*n", "32*n"],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(k): name for k, name in enumerate(CHANNELS)},
                }
            },
        },
    }


def _inference() -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/runs'",
        "output_dir": "$@bundle_root + '/masks'",
        "segmenter": {
            "_target_": "ClaireDSALib.training.vessel_parts.SegmentFolder",
            "bundle_root": "@bundle_root",
            "dataset_dir": "@dataset_dir",
            "output_dir": "@output_dir",
        },
        "run": ["$@segmenter.run()"],
    }


def _train(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "data": "$@bundle_root + '/data'",
        "out": "$@bundle_root + '/trained'",
        "settings": dict(settings),
        "trainer": {
            "_target_": "ClaireDSALib.training.vessel_train.train_and_write",
            "data": "@data",
            "out": "@out",
            "settings": "@settings",
            "_mode_": "callable",
        },
        "run": ["$@trainer()"],
    }


def _write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    path = folder / "configs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
