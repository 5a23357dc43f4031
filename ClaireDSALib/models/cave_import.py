"""Import of a checkpoint in CAVE's published layout as a bundle of the user's own.

Nothing in the file is executed: it is read as tensors only. What the file cannot say (size and scaling of the input) is
taken from its name where CAVE's own names tell it, and from the caller otherwise.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.catalogue import CATALOGUE_NAME, CatalogueEntry, load_catalogue, put_entry
from ClaireDSALib.models.cave_segmenter import FINDS, CaveSegmenter, Scaling
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.resources import user_models_folder
from ClaireDSALib.models.store import entry_of_folder
from ClaireDSALib.models.weights import read_weights

LICENCE = "MIT with Commons Clause, non-commercial use only (CAVE's authors)"
DEFAULT_SIZE_PX = 512
_WEIGHTS = "models/model.safetensors"


def import_cave(
    checkpoint: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    size_px: int | None = None,
    scaling: Scaling = "training",
    licence: str = LICENCE,
) -> Path:
    """Make a bundle folder of a checkpoint.

    Parameters
    ----------
    checkpoint : str or Path
        A state dict of CAVE's ``UNet`` or ``TemporalUNet``, or a safetensors file with the same keys.
    out : str or Path
        Folder in which the bundle's folder is made.
    name : str, optional
        Of the bundle; made from the network's kind and classes unless given.
    size_px : int, optional
        Side of the pictures it was trained on; read from ``image512`` or ``image1024`` in the name unless given.
    scaling : "training" or "predict"
        CAVE's training and its ``predict.py`` scale differently; see :mod:`cave_input`.
    licence : str

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    BundleError
        When the file is no checkpoint of this layout, unsafe, or does not run.
    """
    from ClaireDSALib.models.networks.cave import CaveTemporalUNet, network_for

    path = Path(checkpoint)
    if not path.is_file():
        msg = f"checkpoint {path} is missing"
        raise BundleError(msg)
    state = read_weights(path)
    try:
        network = network_for(state)
    except ValueError as error:
        msg = f"{path.name}: {error}"
        raise BundleError(msg) from error
    kind = "sequence" if isinstance(network, CaveTemporalUNet) else "minip"
    n_classes = int(network.outc.conv.out_channels)
    if n_classes not in FINDS:
        msg = f"{path.name} has {n_classes} outputs; this layout has 1 (vessel) or 2 (artery, vein)"
        raise BundleError(msg)
    section = {
        "task": "vessels",
        "kind": kind,
        "n_classes": n_classes,
        "size_px": size_px or _size_in(path.name),
        "scaling": scaling,
        "thresholds": [0.5, 0.5, 0.5],
        "weights": _WEIGHTS,
    }
    folder = Path(out) / (name or f"cave_{kind}_{'vessel' if n_classes == 1 else 'av'}")
    _write(folder, network, section, path.name, licence)
    _check_runs(folder)
    return folder


def install(folder: Path, *, source: str = "") -> CatalogueEntry:
    """Copy a CAVE bundle to the user's models and put it into the user's catalogue.

    Raises
    ------
    BundleError
        When a model that came with the program has its name.
    """
    existing = {entry.name: entry for entry in load_catalogue().entries}
    if folder.name in existing and existing[folder.name].origin == "shipped":
        msg = f"{folder.name!r} is the name of a model that came with the program; give another with --name"
        raise BundleError(msg)
    home = user_models_folder()
    final = home / folder.name
    if final.resolve() != folder.resolve():
        shutil.rmtree(final, ignore_errors=True)
        shutil.copytree(folder, final)
    kind = "sequence" if read_metadata(final)["cave"]["kind"] == "sequence" else "minip"
    entry = entry_of_folder(final, task="vessels", input_kind=kind, source=source)
    put_entry(home / CATALOGUE_NAME, entry, origin="user")
    return entry


def _write(folder: Path, network: Any, section: dict[str, Any], file_name: str, licence: str) -> None:
    from safetensors.torch import save_file

    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / _WEIGHTS)
    finds = " and ".join(
        {"vessel": "vessels", "artery": "arteries", "vein": "veins"}[f] for f in FINDS[section["n_classes"]]
    )
    metadata = {
        "version": "1",
        "name": f"CAVE, {finds} from the {section['kind']}",
        "task": f"{finds} of a cerebral angiogram",
        "description": f"Imported from {file_name}. Su et al., CAVE, doi 10.1016/j.compmedimag.2024.102392.",
        "authors": "The authors of CAVE",
        "copyright": licence,
        "intended_use": "Research, not a medical device.",
        "cave": section,
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
    (folder / "configs" / "metadata.json").write_text(text, encoding="utf-8")


def _size_in(name: str) -> int:
    found = re.search(r"image(\d{3,4})", name)
    return int(found.group(1)) if found else DEFAULT_SIZE_PX


def _check_runs(folder: Path) -> None:
    """Run the bundle once on a small phantom; damaged weights show here."""
    segmenter = CaveSegmenter(folder, device="cpu")
    rng = np.random.default_rng(0)
    segmenter.section = _small(segmenter.section)
    maps = segmenter.classes([rng.random((64, 64), np.float32) for _ in range(2)], (64, 64))
    if not np.isfinite(maps).all():
        msg = f"bundle {folder.name!r} gives values that are not finite; the checkpoint is damaged"
        raise BundleError(msg)


def _small(section: Any) -> Any:
    from dataclasses import replace

    return replace(section, size_px=64)
