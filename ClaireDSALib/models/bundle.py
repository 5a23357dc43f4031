"""A MONAI bundle folder as data: what its metadata says, checked once, without torch.

Loading a bundle here executes nothing from it: only ``metadata.json`` and the weights are read. MONAI's own
``python -m monai.bundle run`` does execute ``$`` expressions of the configs, so a bundle must be known by its hash
or confirmed by the user before either is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ClaireDSALib.dsa.strict_json import read_json
from ClaireDSALib.models.device_finder import check_finder
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.frame_reader import FrameReader
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import PictureChoice

NETWORK_TYPES = ("SharedTrunkClassifier", "NineResNets")


@dataclass(frozen=True)
class Bundle:
    """One label bundle, opened.

    Parameters
    ----------
    folder : Path
    version : str
    labels : LabelSet
        In the order of the network's outputs.
    input_spec : InputSpec
    network_type : str
        One of :data:`NETWORK_TYPES`; no other class is ever instantiated.
    network_arguments : mapping
    pictures : PictureChoice
        Labels that are read off another picture than the stored one.
    frames : FrameReader or None
        Judges one label by the frames as well.
    finder : mapping or None
        What :class:`~ClaireDSALib.models.device_finder.DeviceFinder` needs to mark devices for one label.
    outlier_threshold : float or None
        Scores above it mean "not a cerebral angiogram"; None when the bundle has no such score.
    weights, onnx : Path or None
        Weights as safetensors; the exported graph with maps inside.
    sha256 : str
        Hash over configs and models.
    """

    folder: Path
    version: str
    labels: LabelSet
    input_spec: InputSpec
    network_type: str
    network_arguments: Mapping[str, Any]
    outlier_threshold: float | None
    weights: Path | None
    onnx: Path | None
    sha256: str
    files: Mapping[str, str]
    metadata: Mapping[str, Any] = field(repr=False, default_factory=dict)
    pictures: PictureChoice = field(default_factory=PictureChoice)
    frames: FrameReader | None = None
    finder: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.folder.name


def open_bundle(folder: str | Path) -> Bundle:
    """Read and check a bundle's metadata.

    Raises
    ------
    BundleError
        When a file or an entry is missing or contradicts another.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    section = metadata.get("classifier")
    if not isinstance(section, dict) or not section.get("labels"):
        msg = f"bundle {folder.name!r} lists no classes: its metadata.json needs 'classifier' with 'labels'"
        raise BundleError(msg)
    try:
        labels = LabelSet.from_list(section["labels"])
        spec = InputSpec.from_dict(section["input"])
        network = section["network"]
        network_type, arguments = network["type"], network["arguments"]
        pictures = PictureChoice.from_dict(section.get("pictures", {}))
    except (KeyError, TypeError) as error:
        msg = f"bundle {folder.name!r}: metadata.json lacks or misstates {error} in 'classifier'"
        raise BundleError(msg) from error
    if stray := sorted(pictures.names - set(labels.names)):
        msg = f"bundle {folder.name!r}: 'pictures' names labels {stray}, which it does not have"
        raise BundleError(msg)
    _check_network(folder.name, network_type, arguments, labels)
    _check_channel_definition(folder.name, metadata, labels)
    files = bundle_files(folder)
    threshold = section.get("outlier_threshold")
    return Bundle(
        folder=folder,
        version=str(metadata.get("version", "")),
        labels=labels,
        input_spec=spec,
        network_type=network_type,
        network_arguments=arguments,
        outlier_threshold=None if threshold is None else float(threshold),
        weights=_optional_file(folder, section, "weights"),
        onnx=_optional_file(folder, section, "onnx"),
        sha256=bundle_sha256(files),
        files=files,
        metadata=metadata,
        pictures=pictures,
        frames=_frames(folder, section, labels),
        finder=_finder(folder, section, pictures),
    )


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read ``configs/metadata.json``.

    Raises
    ------
    BundleError
        When it is missing or not a JSON object.
    """
    path = folder / "configs" / "metadata.json"
    if not path.is_file():
        msg = f"{folder} is no MONAI bundle: configs/metadata.json is missing"
        raise BundleError(msg)
    try:
        metadata = read_json(path)
    except ValueError as error:
        msg = f"bundle {folder.name!r}: configs/metadata.json is not valid JSON ({error})"
        raise BundleError(msg) from error
    if not isinstance(metadata, dict):
        msg = f"bundle {folder.name!r}: configs/metadata.json must hold an object, not {type(metadata).__name__}"
        raise BundleError(msg)
    return metadata


def channel_definition(labels: LabelSet) -> dict[str, str]:
    """MONAI's ``channel_def`` of the output: position -> ``label.class``."""
    names = [f"{label.name}.{cls}" for label in labels.labels for cls in label.classes]
    return {str(position): name for position, name in enumerate(names)}


def _check_network(bundle: str, network_type: str, arguments: Mapping[str, Any], labels: LabelSet) -> None:
    if network_type not in NETWORK_TYPES:
        msg = f"bundle {bundle!r} asks for network {network_type!r}; this program has {list(NETWORK_TYPES)}"
        raise BundleError(msg)
    counts = [len(label.classes) for label in labels.labels]
    if list(arguments.get("class_counts", [])) != counts:
        msg = (
            f"bundle {bundle!r} lists classes {counts} per label but its network has "
            f"{arguments.get('class_counts')}; classes are missing or out of order"
        )
        raise BundleError(msg)


def _check_channel_definition(bundle: str, metadata: Mapping[str, Any], labels: LabelSet) -> None:
    try:
        output = metadata["network_data_format"]["outputs"]["pred"]
        claimed, channels = output["channel_def"], output["num_channels"]
    except (KeyError, TypeError) as error:
        msg = f"bundle {bundle!r}: metadata.json lacks network_data_format/outputs/pred ({error})"
        raise BundleError(msg) from error
    if claimed != channel_definition(labels) or channels != labels.n_outputs:
        msg = f"bundle {bundle!r}: the classes in channel_def differ from those in 'classifier'; correct metadata.json"
        raise BundleError(msg)


def _frames(folder: Path, section: Mapping[str, Any], labels: LabelSet) -> FrameReader | None:
    entry = section.get("frames")
    if not entry:
        return None
    reader = FrameReader(folder, entry)
    if reader.label not in labels.names or labels[reader.label].classes != reader.classes:
        msg = f"bundle {folder.name!r}: its 'frames' judge {reader.label!r} {list(reader.classes)}, no label it has"
        raise BundleError(msg)
    return reader


def _finder(folder: Path, section: Mapping[str, Any], pictures: PictureChoice) -> Mapping[str, Any] | None:
    entry = section.get("finder")
    if not entry:
        return None
    check_finder(folder, entry)
    if entry["label"] not in pictures.brightest:
        msg = (
            f"bundle {folder.name!r}: its 'finder' judges {entry['label']!r}, which it does not read off the brightest"
        )
        raise BundleError(msg)
    return entry


def _optional_file(folder: Path, section: Mapping[str, Any], key: str) -> Path | None:
    relative = section.get("files", {}).get(key)
    if relative is None:
        return None
    path = (folder / relative).resolve()
    if folder.resolve() not in path.parents:
        msg = f"bundle {folder.name!r}: file {relative!r} lies outside the bundle"
        raise BundleError(msg)
    if not path.is_file():
        msg = f"bundle {folder.name!r}: {relative} is missing; add the bundle again"
        raise BundleError(msg)
    return path
