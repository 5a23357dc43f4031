"""Write a label network as a complete MONAI bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ClaireDSALib.models.bundle import Bundle, channel_definition, open_bundle
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.onnx_export import export_onnx
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import PictureChoice
from ClaireDSALib.models.weights import save_weights

if TYPE_CHECKING:
    from torch import nn

MONAI_SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
WEIGHTS_FILE, ONNX_FILE = "models/model.safetensors", "models/model.onnx"


@dataclass(frozen=True)
class BundleDescription:
    """Words and figures of a bundle's metadata."""

    title: str
    description: str
    version: str = "0.1.0"
    authors: str = "The CLAIRE-DSA developers"
    copyright: str = "Apache-2.0"
    data_source: str = ""
    changelog: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    """Goes into ``configs/train.json`` as the settings of ``claire-dsa train labels``."""


def write_bundle(
    network: nn.Module,
    folder: str | Path,
    *,
    labels: LabelSet,
    input_spec: InputSpec,
    network_type: str,
    network_arguments: dict[str, Any],
    description: BundleDescription,
    outlier_threshold: float | None = None,
    pictures: PictureChoice | None = None,
    onnx: bool = True,
) -> Bundle:
    """Write weights, graph and configs, and open the result.

    Parameters
    ----------
    network : nn.Module
        Rounded in place to the stored precision.
    folder : str or Path
        Files in it are overwritten.
    pictures : PictureChoice, optional
        Labels to be read off a subtracted picture; without it all are read off the stored one.

    Returns
    -------
    Bundle
    """
    folder = Path(folder)
    save_weights(network, folder / WEIGHTS_FILE)
    files = {"weights": WEIGHTS_FILE}
    if onnx:
        size = input_spec.size_px
        export_onnx(network, (len(input_spec.views), size, size), folder / ONNX_FILE)
        files["onnx"] = ONNX_FILE
    section = {
        "task": "labels",
        "labels": labels.to_list(),
        "input": input_spec.to_dict(),
        "network": {"type": network_type, "arguments": network_arguments},
        "outlier_threshold": outlier_threshold,
        "files": files,
    }
    if pictures is not None:
        section["pictures"] = pictures.to_dict()
    _write_json(folder / "configs" / "metadata.json", _metadata(labels, input_spec, description, section))
    _write_json(folder / "configs" / "inference.json", _inference(network_type, network_arguments))
    _write_json(folder / "configs" / "train.json", _train(network_type, network_arguments, description))
    return open_bundle(folder)


def _metadata(
    labels: LabelSet, spec: InputSpec, description: BundleDescription, section: dict[str, Any]
) -> dict[str, Any]:
    import monai
    import numpy as np
    import torch

    return {
        "schema": MONAI_SCHEMA_URL,
        "version": description.version,
        "changelog": description.changelog or {description.version: "first version"},
        "monai_version": monai.__version__.split("+")[0],
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"claire-dsa": "0.1.0"},
        "name": description.title,
        "task": "Image properties of a minimum intensity projection of a cerebral angiogram",
        "description": description.description,
        "authors": description.authors,
        "copyright": description.copyright,
        "data_source": description.data_source,
        "data_type": "image",
        "intended_use": "Research software, not a medical device.",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "minip",
                    "modality": "XA",
                    "num_channels": len(spec.views),
                    "spatial_shape": [spec.size_px, spec.size_px],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(k): f"minimum intensity projection, {v}" for k, v in enumerate(spec.views)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": labels.n_outputs,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": channel_definition(labels),
                }
            },
        },
        "classifier": section,
    }


def _network_config(network_type: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": f"ClaireDSALib.models.networks.{network_type}", **arguments}


def _inference(network_type: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "imports": ["$import torch", "$import monai"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_file": "$@bundle_root + '/predictions.json'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": _network_config(network_type, arguments),
        "network": {
            "_target_": "ClaireDSALib.models.weights.load_weights",
            "network": "@network_def",
            "path": f"$@bundle_root + '/{WEIGHTS_FILE}'",
        },
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "ClaireDSALib.models.monai_parts.LoadGreyImaged", "keys": "image"},
                {
                    "_target_": "ClaireDSALib.models.monai_parts.PrepareMinipd",
                    "keys": "image",
                    "bundle_root": "@bundle_root",
                },
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": {"_target_": "ClaireDSALib.models.monai_parts.list_images", "folder": "@dataset_dir"},
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "classify": {
            "_target_": "ClaireDSALib.models.monai_parts.ClassifyFolder",
            "network": "@network",
            "dataloader": "@dataloader",
            "bundle_root": "@bundle_root",
            "output_file": "@output_file",
            "device": "@device",
        },
        "run": ["$@classify.run()"],
    }


def _train(network_type: str, arguments: dict[str, Any], description: BundleDescription) -> dict[str, Any]:
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/trained'",
        "network_def": _network_config(network_type, arguments),
        "settings": description.training,
        "trainer": {
            "_target_": "ClaireDSALib.training.fit.train_from_config",
            "data": "@dataset_dir",
            "out": "@output_dir",
            "settings": "@settings",
            "_mode_": "callable",
        },
        "run": ["$@trainer()"],
    }


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
