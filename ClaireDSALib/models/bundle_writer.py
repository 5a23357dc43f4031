"""Write a label network as a complete MONAI bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ClaireDSALib.models.bundle import Bundle, channel_definition, open_bundle
from ClaireDSALib.models.bundle_config import (
    ONNX_FILE,
    WEIGHTS_FILE,
    BundleDescription,
    metadata_head,
    tensor_format,
    write_configs,
)
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.onnx_export import export_onnx
from ClaireDSALib.models.onnx_shared import share_weights
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import PictureChoice
from ClaireDSALib.models.weights import save_weights

if TYPE_CHECKING:
    from torch import nn


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
        share_weights(folder / ONNX_FILE, folder / WEIGHTS_FILE)
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
    write_configs(
        folder,
        metadata=_metadata(labels, input_spec, description) | {"classifier": section},
        inference=_inference(network_type, network_arguments),
        train=_train(network_type, network_arguments, description),
    )
    return open_bundle(folder)


def _metadata(labels: LabelSet, spec: InputSpec, description: BundleDescription) -> dict[str, Any]:
    task = "Image properties of a minimum intensity projection of a cerebral angiogram"
    channels = [f"minimum intensity projection, {view}" for view in spec.views]
    classes = list(channel_definition(labels).values())
    return metadata_head(description, task=task) | {
        "network_data_format": {
            "inputs": {"image": tensor_format("image", "minip", channels, [spec.size_px, spec.size_px], [0, 1])},
            "outputs": {"pred": tensor_format("probabilities", "classes", classes, value_range=[0, 1])},
        }
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
