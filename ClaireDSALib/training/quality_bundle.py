"""Write a trained quality network as a bundle: weights, graph, metadata."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ClaireDSALib.models.bundle_writer import MONAI_SCHEMA_URL
from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.onnx_export import store_matrices_as_half
from ClaireDSALib.models.quality_input import GRADES, WORK_PX
from ClaireDSALib.models.weights import save_weights

ONNX_FILE, WEIGHTS_FILE = "models/model.onnx", "models/model.safetensors"


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
    section = {
        "task": "quality",
        "grades": list(GRADES),
        "threshold": 0.5,
        "temperature": 1.0,
        "cleaning": {},
        "work_px": WORK_PX,
        "onnx": ONNX_FILE,
        "weights": WEIGHTS_FILE,
        "network": {"type": "QualityNet", "arguments": dict(network_arguments or {})},
    }
    _write(folder, "metadata", _metadata(version) | {"quality": section})
    _write(folder, "inference", _inference())
    _write(folder, "train", _train(training or {}))


def set_quality_choices(folder: Path, **choices: Any) -> None:
    """Set ``threshold``, ``temperature`` or ``cleaning`` of a bundle.

    Raises
    ------
    ValueError
        For an entry that such a bundle does not have.
    """
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if stray := sorted(set(choices) - set(metadata["quality"])):
        msg = f"a quality bundle has no entries {stray}; it has {sorted(metadata['quality'])}"
        raise ValueError(msg)
    metadata["quality"] |= choices
    _write(folder, "metadata", metadata)


def export_quality(network: QualityNet, path: Path) -> None:
    """Write the graph ``image (1, 1, 512, 512)`` to ``vessels (1, 1, 512, 512)`` and ``quality (1, 3)`` logits.

    The size is fixed: the attention's windows are, and a fixed graph is a third faster.
    """
    import onnx

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.network(image))

    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter, not ours to act on
        torch.onnx.export(
            Flat().eval(),
            (torch.zeros(1, 1, WORK_PX, WORK_PX),),
            str(path),
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch norms apart: merged weights have no exact half
            input_names=["image"],
            output_names=["vessels", "quality"],
            opset_version=18,
        )
    model = onnx.load(str(path))
    store_matrices_as_half(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _metadata(version: str) -> dict[str, Any]:
    import monai

    shape = [WORK_PX, WORK_PX]
    return {
        "schema": MONAI_SCHEMA_URL,
        "version": version,
        "changelog": {version: "first version, trained on simulated runs"},
        "monai_version": monai.__version__.split("+")[0],
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"claire-dsa": "0.1.0"},
        "name": "Quality and vessels of a cerebral angiogram, for laptops",
        "task": "Quality grade and vessel mask of the subtracted minimum intensity projection, in one short pass",
        "description": "Light two-task network after Huang et al. 2025; trained on simulated runs only.",
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
                    "num_channels": 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [-0.5, 1.5],
                    "is_patch_data": False,
                    "channel_def": {"0": "peak opacity, relative"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "logits",
                    "format": "classes",
                    "num_channels": len(GRADES),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(k): name for k, name in enumerate(GRADES)},
                },
                "vessels": {
                    "type": "logits",
                    "format": "segmentation",
                    "num_channels": 1,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {"0": "vessel"},
                },
            },
        },
    }


def _inference() -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/runs'",
        "output_dir": "$@bundle_root + '/graded'",
        "grader": {
            "_target_": "ClaireDSALib.training.quality_parts.GradeFolder",
            "bundle_root": "@bundle_root",
            "dataset_dir": "@dataset_dir",
            "output_dir": "@output_dir",
        },
        "run": ["$@grader.run()"],
    }


def _train(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "data": "$[@bundle_root + '/data']",
        "out": "$@bundle_root + '/trained'",
        "settings": dict(settings),
        "trainer": {
            "_target_": "ClaireDSALib.training.quality_train.train_and_write",
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
