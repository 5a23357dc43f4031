"""Import of checkpoints in the layout of Mittmann et al. as one bundle: an ensemble over folds, networks and views.

Their files are pickled dictionaries with ``model_state_dict`` beside the optimiser's state, named
``frontal_best_mcc_fold_1.pt`` and ``lateral_best_mcc_fold_1.pt``, or lie in folders called frontal and lateral.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.sequence_mittmann import FILL, SECTION, SIZE_PX, VIEWS, View

DEFAULT_THRESHOLD = 0.57
"""Default of the authors' demonstrator (Baumgaertner et al., arXiv 2306.06207)."""


def import_mittmann(
    files: Sequence[Path], out: Path, *, name: str = "mittmann_thrombus", threshold: float = DEFAULT_THRESHOLD
) -> Path:
    """Write a bundle of all checkpoints; returns its folder.

    Parameters
    ----------
    files : sequence of Path
        Checkpoints; folders are searched for ``*.pt`` and ``*.pth``.
    out : Path
        Folder in which the bundle's folder is made.
    name : str
    threshold : float
        Mean output at or above which a thrombus counts as present.

    Raises
    ------
    BundleError
        When a file is unsafe, unreadable, names no view, or does not have the layout.
    """
    from safetensors.torch import save_file

    paths = _searched(files)
    if not 0 < threshold < 1:
        msg = f"threshold must lie between 0 and 1; got {threshold}"
        raise BundleError(msg)
    folder = out / name
    members: list[dict[str, Any]] = []
    for path in paths:
        network, notes = _loaded(path)
        view, place = view_of(path), f"models/{len(members):02d}_{view_of(path)}.safetensors"
        (folder / "models").mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / place)
        members.append(
            {"weights": place, "view": view, "fold": _fold_of(path), "backbone": network.backbone,
             "cell": network.cell, "source": path.name, **notes}
        )  # fmt: skip
    _write_metadata(folder, name, threshold, members)
    return folder


def view_of(path: Path) -> View:
    """View that a checkpoint was trained on, from its name or its folder's.

    Raises
    ------
    BundleError
        When neither says so.
    """
    for text in (path.stem.lower(), path.parent.name.lower()):
        if re.search(r"frontal|(^|[^a-z])(pa|ap)([^a-z]|$)", text):
            return "frontal"
        if re.search(r"lateral|(^|[^a-z])lat([^a-z]|$)", text):
            return "lateral"
    msg = f"{path.name} does not say which view it is for; put 'frontal' or 'lateral' into its name or its folder's"
    raise BundleError(msg)


def _searched(files: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in (".pt", ".pth"))
        elif path.is_file():
            found.append(path)
        else:
            msg = f"{path.name} is neither a file nor a folder"
            raise BundleError(msg)
    if not found:
        msg = "no checkpoint (*.pt, *.pth) in what was given"
        raise BundleError(msg)
    return found


def _loaded(path: Path) -> tuple[Any, dict[str, float]]:
    """Network of a checkpoint, and the epoch and scores that stand beside its weights."""
    from ClaireDSALib.models.networks.mittmann import from_state
    from ClaireDSALib.models.weights import read_weights

    state = {key.removeprefix("module."): value for key, value in read_weights(path).items()}
    try:
        network = from_state(state)
    except (ValueError, RuntimeError) as error:
        msg = f"{path.name}: {error}"
        raise BundleError(msg) from error
    return network, _notes(path)


def _notes(path: Path) -> dict[str, float]:
    import torch

    if path.suffix == ".safetensors":
        return {}
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    names = ("epoch", "mcc", "acc")
    return {n: float(loaded[n]) for n in names if isinstance(loaded.get(n), int | float)}


def _fold_of(path: Path) -> int | None:
    found = re.search(r"fold[_-]?(\d+)", path.stem.lower())
    return int(found.group(1)) if found else None


def _write_metadata(folder: Path, name: str, threshold: float, members: list[dict[str, Any]]) -> None:
    views = ", ".join(f"{sum(m['view'] == v for m in members)} {v}" for v in VIEWS)
    metadata = {
        "version": "1",
        "name": name,
        "task": "Thrombus yes/no from whole runs of one or two views",
        "description": f"Imported checkpoints after Mittmann et al. 2022 ({views}); equal-weight mean of all outputs.",
        "authors": "see the source of the checkpoints",
        "copyright": "not stated",
        "intended_use": "Research software, not a medical device.",
        SECTION: {
            "task": "thrombus",
            "threshold": threshold,
            "input": {"size_px": SIZE_PX, "fill": FILL, "channels": "three consecutive frames"},
            "members": members,
        },
    }
    path = folder / "configs" / "metadata.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
