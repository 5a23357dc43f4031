"""Pictures of a site: a simulated set, an annotation table, or any folder of runs and pictures without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ClaireDSALib.models.errors import ImageRefusedError
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.pictures import PICTURE_SUFFIXES, read_picture
from ClaireDSALib.models.preprocessing import check_image
from ClaireDSALib.training.annotations import Conflict, read_annotations, settle
from ClaireDSALib.training.load import load_pictures
from ClaireDSALib.training.samples import UNKNOWN, LabelledPictures, encode, to_cache


@dataclass(frozen=True)
class Site:
    """Pictures of one site, with what could not be read.

    Parameters
    ----------
    pictures : LabelledPictures
    skipped : tuple of str
        One line per file that was left out.
    """

    pictures: LabelledPictures
    skipped: tuple[str, ...] = ()


def load_site(data: Path, labels: LabelSet, *, size_px: int, progress: Callable[[int], None] = lambda _: None) -> Site:
    """Read what a path holds.

    Parameters
    ----------
    data : Path
        Folder with ``index.jsonl`` (simulated set), CSV or TSV of annotations, or a folder of DICOM runs and pictures.
    labels : LabelSet
    size_px : int
        Side of the cached pictures.
    progress : callable
        Gets the number of pictures read, for a folder of files.

    Raises
    ------
    ValueError
        When there is nothing to read.
    """
    if data.is_file() or (data / "index.jsonl").is_file():
        pictures = load_pictures(data, labels, size_px=size_px)
        return _without_constant(pictures)
    return _folder(data, labels, size_px, progress)


def without_labels(pictures: LabelledPictures) -> LabelledPictures:
    """The same pictures, every label unknown: whatever a simulated target knows must not be learnt."""
    return replace(pictures, targets=np.full_like(pictures.targets, UNKNOWN))


def with_labels(pictures: LabelledPictures, table: Path) -> tuple[LabelledPictures, list[Conflict]]:
    """Pictures with the labels of an annotation table and no others.

    Parameters
    ----------
    pictures : LabelledPictures
    table : Path
        CSV or TSV with the columns path, label, class, rater, patient; ``path`` as the site's pictures are named.

    Raises
    ------
    ValueError
        When the table names no picture of the site, a label the bundle does not have, or a class its label lacks.
    """
    annotations = read_annotations(table)
    if stray := sorted({a.label for a in annotations} - set(pictures.labels.names)):
        msg = f"{table.name} names labels {stray}; the bundle has {list(pictures.labels.names)}"
        raise ValueError(msg)
    settled, conflicts = settle(annotations)
    place = {name: k for k, name in enumerate(pictures.names)}
    found = {path for path, _ in settled if path in place}
    if not found:
        first = annotations[0].path if annotations else "nothing"
        msg = f"{table.name} names no picture of the target; it has {first!r}, the target {pictures.names[0]!r}"
        raise ValueError(msg)
    targets = np.full_like(pictures.targets, UNKNOWN)
    for path in found:
        given = {label: cls for (p, label), cls in settled.items() if p == path}
        targets[place[path]] = encode(given, pictures.labels)
    return replace(pictures, targets=targets), conflicts


def _folder(folder: Path, labels: LabelSet, size_px: int, progress: Callable[[int], None]) -> Site:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in PICTURE_SUFFIXES)
    images, names, skipped = [], [], []
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            picture = read_picture(file)
            check_image(picture)
        except (ImageRefusedError, OSError) as error:
            skipped.append(f"{name}: {error}")
            continue
        images.append(to_cache(picture, size_px))
        names.append(name)
        progress(len(images))
    if not images:
        msg = f"{folder} holds no runs or pictures ({len(files)} files tried, suffixes {sorted(PICTURE_SUFFIXES)})"
        raise ValueError(msg)
    # without a table nobody says which runs are one patient's: files of one folder are taken to be
    patients = np.array([str(Path(n).parent) if Path(n).parent != Path() else n for n in names])
    unknown = np.full((len(names), len(labels.labels)), UNKNOWN, np.int64)
    groups = np.array([""] * len(names))
    pictures = LabelledPictures(np.stack(images), unknown, patients, labels, tuple(names), groups)
    return Site(pictures, tuple(skipped))


def _without_constant(pictures: LabelledPictures) -> Site:
    spread = np.ptp(pictures.images.reshape(len(pictures), -1), axis=1)
    lines = tuple(f"{pictures.names[k]}: the picture is constant" for k in np.flatnonzero(spread == 0))
    return Site(pictures.subset(np.flatnonzero(spread > 0)), lines)
