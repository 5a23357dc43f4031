"""The configs of a MONAI bundle that every writer of one needs: head of the metadata, tensors, training, files.

Each kind of bundle keeps what is its own (labels, vessels, quality, sequence) in one section of ``metadata.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata

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
    """Goes into ``configs/train.json`` as the settings of the training verb."""


def metadata_head(description: BundleDescription, *, task: str, data_type: str = "image") -> dict[str, Any]:
    """Entries of ``metadata.json`` up to the network's data format.

    Parameters
    ----------
    description : BundleDescription
    task : str
        One sentence for people.
    data_type : str
        "image" or "image sequence".
    """
    return {
        "schema": MONAI_SCHEMA_URL,
        "version": description.version,
        "changelog": description.changelog or {description.version: "first version"},
        "monai_version": _installed("monai"),
        "pytorch_version": _installed("torch"),
        "numpy_version": _installed("numpy"),
        "required_packages_version": {"claire-dsa": "0.1.0"},
        "name": description.title,
        "task": task,
        "description": description.description,
        "authors": description.authors,
        "copyright": description.copyright,
        "data_source": description.data_source,
        "data_type": data_type,
        "intended_use": "Research software, not a medical device.",
    }


def tensor_format(
    kind: str,
    form: str,
    channels: Sequence[str],
    spatial_shape: Sequence[int | str] = (),
    value_range: Sequence[float] = (),
) -> dict[str, Any]:
    """One input or output in MONAI's ``network_data_format``.

    Parameters
    ----------
    kind : str
        "image", "logits" or "probabilities".
    form : str
        What is shown: "minip", "opacity", "classes", "segmentation", "map" ...
    channels : sequence of str
        Meaning of each channel, in order.
    spatial_shape : sequence
        Rows and columns in pixels, or expressions such as ``"32*n"``; empty where there is no picture.
    value_range : sequence of float
        Lowest and highest value; empty where there is no bound.
    """
    return {
        "type": kind,
        "format": form,
        **({"modality": "XA"} if kind == "image" else {}),
        "num_channels": len(channels),
        "spatial_shape": list(spatial_shape),
        "dtype": "float32",
        "value_range": list(value_range),
        "is_patch_data": False,
        "channel_def": {str(position): name for position, name in enumerate(channels)},
    }


def folder_inference(part: str, target: str, out: Mapping[str, str]) -> dict[str, Any]:
    """``inference.json`` of a bundle that reads a folder of DICOM runs.

    Parameters
    ----------
    part : str
        Name of the entry that does it.
    target : str
        Its class, built with ``bundle_root``, ``dataset_dir`` and the key of ``out``; it has a method ``run``.
    out : mapping
        Argument for the result -> its place inside the bundle.
    """
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/runs'",
        **{name: f"$@bundle_root + '/{place}'" for name, place in out.items()},
        part: {
            "_target_": target,
            "bundle_root": "@bundle_root",
            "dataset_dir": "@dataset_dir",
            **{name: f"@{name}" for name in out},
        },
        "run": [f"$@{part}.run()"],
    }


def folder_training(
    target: str, settings: Mapping[str, Any], *, data: str = "$@bundle_root + '/data'", goes_on: bool = False
) -> dict[str, Any]:
    """``train.json`` that calls ``target(data=, out=, settings=)``.

    Parameters
    ----------
    target : str
        Function of our training.
    settings : mapping
    data : str
        MONAI expression for the data's place.
    goes_on : bool
        The function is given the bundle itself as ``start=`` too.
    """
    start = {"start": "@bundle_root"} if goes_on else {}
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "data": data,
        "out": "$@bundle_root + '/trained'",
        "settings": dict(settings),
        "trainer": {
            "_target_": target,
            "data": "@data",
            "out": "@out",
            "settings": "@settings",
            **start,
            "_mode_": "callable",
        },
        "run": ["$@trainer()"],
    }


def write_configs(folder: Path, **configs: Mapping[str, Any]) -> None:
    """Write ``configs/<name>.json`` of a bundle for every argument (``metadata``, ``inference``, ``train``)."""
    for name, content in configs.items():
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def set_entries(folder: Path, section: str, **entries: Any) -> None:
    """Replace entries of one section of a bundle's metadata.

    Raises
    ------
    BundleError
        When the folder holds no readable ``metadata.json``.
    ValueError
        For an entry that the section does not have.
    """
    metadata = read_metadata(folder)
    if stray := sorted(set(entries) - set(metadata[section])):
        msg = f"a {section} bundle has no entries {stray}; it has {sorted(metadata[section])}"
        raise ValueError(msg)
    metadata[section] |= entries
    write_configs(folder, metadata=metadata)


def _installed(package: str) -> str:
    return installed_version(package).split("+")[0]
