"""Write a trained sequence network as a bundle: weights, graph, metadata, card."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ClaireDSALib.models.networks.sequence_net import MAP_STRIDE, PHASES, SequenceNet, SequenceOutput
from ClaireDSALib.models.onnx_export import store_matrices_as_half
from ClaireDSALib.models.sequence_maps import CHANNELS
from ClaireDSALib.models.weights import save_weights

ONNX_FILE, WEIGHTS_FILE = "models/model.onnx", "models/model.safetensors"


def write_sequence_bundle(
    network: SequenceNet,
    folder: Path,
    *,
    size_px: int,
    threshold: float,
    temperature: float,
    version: str = "0.2.0",
    training: Mapping[str, Any] | None = None,
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
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_sequence(network, folder / ONNX_FILE, size_px)
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": version,
        "changelog": {
            "0.2.0": "temporal maps of the whole run with dense supervision beside the recurrent branch; more patients",
            "0.1.0": "first version, trained on simulated runs",
        },
        "monai_version": "1.6.1",
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": "2.4.6",
        "required_packages_version": {"claire-dsa": "0.1.0"},
        "name": "Thrombus and phases of a cerebral angiographic run",
        "task": "Thrombus yes/no with site and missing territory, and the phase of every frame, from a whole run",
        "description": "Temporal maps of a run and a recurrent network over its frames; trained on simulated runs.",
        "authors": "The CLAIRE-DSA developers",
        "copyright": "Apache-2.0",
        "data_source": "simulated by claire-dsa",
        "data_type": "image sequence",
        "intended_use": "Research software, not a medical device.",
        "network_data_format": _data_format(size_px),
        "sequence": {
            "task": "thrombus",
            "size_px": size_px,
            "threshold": threshold,
            "temperature": temperature,
            "phases": list(PHASES),
            "onnx": ONNX_FILE,
            "weights": WEIGHTS_FILE,
            "network": {"type": "SequenceNet", "arguments": network.config.to_dict()},
        },
    }
    inference = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/runs'",
        "output_file": "$@bundle_root + '/predictions.json'",
        "reader": {
            "_target_": "ClaireDSALib.training.sequence_parts.ReadFolder",
            "bundle_root": "@bundle_root",
            "dataset_dir": "@dataset_dir",
            "output_file": "@output_file",
        },
        "run": ["$@reader.run()"],
    }
    train = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "data": "$@bundle_root + '/data'",
        "out": "$@bundle_root + '/trained'",
        "settings": dict(training or {}),
        "trainer": {
            "_target_": "ClaireDSALib.training.sequence_train.train_and_write",
            "data": "@data",
            "out": "@out",
            "settings": "@settings",
            "_mode_": "callable",
        },
        "run": ["$@trainer()"],
    }
    for name, content in (("metadata", metadata), ("inference", inference), ("train", train)):
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def export_sequence(network: SequenceNet, path: Path, size_px: int) -> None:
    """Write the graph for runs of any length.

    PyTorch's older exporter is used: the newer one cannot convert a GRU over a variable number of steps yet. Batch
    norms are kept apart, so that the weights keep their exact half precision on disk.
    """
    import onnx

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, maps: torch.Tensor, frames: torch.Tensor, course: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.network(maps, frames, course))

    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    config, half = network.config, size_px // 2
    example = (
        torch.zeros(config.map_inputs, size_px, size_px),
        torch.zeros(8, 3, half, half),
        torch.zeros(8, config.course_inputs),
    )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of the exporter, not ours to act on
        torch.onnx.export(
            Flat().eval(),
            example,
            str(path),
            dynamo=False,
            input_names=["maps", "frames", "course"],
            output_names=list(SequenceOutput._fields),
            dynamic_axes={name: {0: "T"} for name in ("frames", "course", "phases")},
            opset_version=18,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    model = onnx.load(str(path))
    store_matrices_as_half(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _data_format(size_px: int) -> dict[str, Any]:
    cells, half = size_px // MAP_STRIDE, size_px // 2
    return {
        "inputs": {
            "maps": _image("opacity and time", list(CHANNELS), size_px, [-0.6, 2.1]),
            "frames": _image("opacity", ["frame before", "frame", "frame after"], half, [-0.5, 1.5]),
        },
        "outputs": {
            "pred": _image("classes", ["thrombus"], 0, [], kind="logits"),
            "site": _image("map", ["site of the thrombus"], cells, [], kind="logits"),
            "territory": _image("map", ["missing perfusion"], cells, [], kind="logits"),
        },
    }


def _image(
    form: str, channels: list[str], side_px: int, value_range: list[float], *, kind: str = "image"
) -> dict[str, Any]:
    return {
        "type": kind,
        "format": form,
        "modality": "XA",
        "num_channels": len(channels),
        "spatial_shape": [side_px, side_px] if side_px else [],
        "dtype": "float32",
        "value_range": value_range,
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in enumerate(channels)},
    }
