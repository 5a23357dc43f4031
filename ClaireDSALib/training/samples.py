"""Labelled pictures for training and evaluation, wherever they come from.

Two sources: a folder of the simulator (``index.jsonl`` and NPZ files), and a table of human annotations
(CSV or TSV: path, label, class, rater, patient). Both become the same :class:`LabelledPictures`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.subtraction import to_display
from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.preprocessing import resize
from ClaireDSALib.models.two_pictures import PictureChoice
from ClaireDSALib.training.simulated_set import read_index

UNKNOWN = -1
"""Class index of a label nobody gave; the loss and the metrics leave it out."""


@dataclass(frozen=True)
class RunEvidence:
    """What the analysis knows of a run beside the picture a label is read off.

    Attributes
    ----------
    brightest : (S, S) uint16 ndarray or None
        Largest value over time, as the pictures are kept; for the stored picture of an unsubtracted run.
    evidence : (28,) float32 ndarray or None
        See :func:`~ClaireDSALib.dsa.frame_evidence.frame_evidence`; for the subtracted picture of a run.
    stored_subtracted : bool
    """

    brightest: npt.NDArray[np.uint16] | None = None
    evidence: npt.NDArray[np.float32] | None = None
    stored_subtracted: bool = False


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures in memory with class indices and the patient each comes from.

    Parameters
    ----------
    images : (N, S, S) uint16 ndarray
        Resized MinIPs, 0 to 65535 over their own range, contrast dark.
    targets : (N, L) int64 ndarray
        Class index per label, :data:`UNKNOWN` where not given.
    patients : (N,) str ndarray
        No patient may stand in two splits.
    labels : LabelSet
    names : tuple of str
        Where each picture comes from.
    groups : (N,) str ndarray
        Anything worth a separate figure, such as the simulated vendor.
    runs : tuple of RunEvidence
        What else is known of the run behind each picture; empty when it was not asked for.
    """

    images: npt.NDArray[np.uint16]
    targets: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    labels: LabelSet
    names: tuple[str, ...]
    groups: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))
    runs: tuple[RunEvidence, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.images)
        if not (len(self.targets) == len(self.patients) == len(self.names) == len(self.groups) == n):
            msg = f"pictures, targets, patients, names and groups must have one entry each; got {n} pictures"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> LabelledPictures:
        """The pictures at some indices."""
        i = np.asarray(indices, int)
        splits = self.splits[i] if len(self.splits) else self.splits
        names = tuple(self.names[k] for k in i)
        runs = tuple(self.runs[k] for k in i) if self.runs else ()
        return LabelledPictures(
            self.images[i], self.targets[i], self.patients[i], self.labels, names, self.groups[i], splits, runs
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures per label and class."""
        return {
            label.name: {cls: int((self.targets[:, k] == c).sum()) for c, cls in enumerate(label.classes)}
            for k, label in enumerate(self.labels.labels)
        }


def load_simulated(
    folder: str | Path,
    labels: LabelSet,
    *,
    size_px: int = 256,
    with_runs: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledPictures:
    """Read a simulated set: the pictures of its runs as the analysis would see them.

    Parameters
    ----------
    folder : str or Path
        Holds ``index.jsonl``; one JSON object per picture with ``npz``, ``patient``, ``labels`` and, for a
        second picture of a run, ``picture`` = ``subtracted``.
    labels : LabelSet
    size_px : int
        Side of the cached pictures; a little more than the network's input, so that augmentation can move them.
    with_runs : bool
        Read what else the set holds of each run, for measuring a bundle as the analysis uses it.

    Raises
    ------
    FileNotFoundError
        When there is no index.
    """
    folder = Path(folder)
    records = read_index(folder, f"claire-dsa simulate --format npz --out {folder}")
    images = np.empty((len(records), size_px, size_px), np.uint16)
    for k, record in enumerate(records):
        images[k] = to_cache(_picture_of(folder, record), size_px)
        if progress is not None:
            progress(k + 1, len(records))
    return LabelledPictures(
        images=images,
        targets=np.array([encode(record["labels"], labels) for record in records], np.int64).reshape(len(records), -1),
        patients=np.array([str(record["patient"]) for record in records]),
        labels=labels,
        names=tuple(_name_of(record) for record in records),
        groups=np.array([str(record.get("vendor", "")) for record in records]),
        splits=np.array([str(record.get("split", "")) for record in records]),
        runs=tuple(_run_of(folder, record, size_px) for record in records) if with_runs else (),
    )


SUBTRACTED_SUFFIX = "#subtracted"
"""Ends the name of a subtracted picture of a run that is stored unsubtracted."""


def as_analysed(pictures: LabelledPictures, choice: PictureChoice) -> LabelledPictures:
    """Every label known for the one picture of a run that the analysis reads it off, unknown for the other.

    Runs with one picture keep all their labels.

    Parameters
    ----------
    pictures : LabelledPictures
    choice : PictureChoice
        Of the bundle that is measured.
    """
    twice = {name.removesuffix(SUBTRACTED_SUFFIX) for name in pictures.names if name.endswith(SUBTRACTED_SUFFIX)}
    chosen = np.isin(pictures.labels.names, choice.subtracted)
    targets = pictures.targets.copy()
    for row, name in enumerate(pictures.names):
        if name.endswith(SUBTRACTED_SUFFIX):
            targets[row, ~chosen] = UNKNOWN
        elif name in twice:
            targets[row, chosen] = UNKNOWN
    return replace(pictures, targets=targets)


def encode(given: dict[str, Any], labels: LabelSet) -> list[int]:
    """Class indices of one picture; a label that was not given, or is null, is unknown.

    Raises
    ------
    ValueError
        For a class the label does not have.
    """
    indices = []
    for label in labels.labels:
        value = given.get(label.name)
        if value is not None and value not in label.classes:
            msg = f"label {label.name!r} has no class {value!r}; it has {list(label.classes)}"
            raise ValueError(msg)
        indices.append(UNKNOWN if value is None else label.classes.index(value))
    return indices


def to_cache(image: npt.NDArray[Any], size_px: int) -> npt.NDArray[np.uint16]:
    """Resize and spread over 0 to 65535, keeping all but the outermost 0.05 % of values.

    Sixteen bits, because unsubtracted heads can fill a few per cent of the range beside the direct beam.
    """
    small = resize(image, size_px)
    low, high = np.percentile(small, (0.05, 99.95))
    if not high > low:
        low, high = float(small.min()), float(small.min()) + 1.0
    return np.round(65535 * np.clip((small - low) / (high - low), 0, 1)).astype(np.uint16)


def _picture_of(folder: Path, record: dict[str, Any]) -> npt.NDArray[Any]:
    with np.load(folder / record["npz"], allow_pickle=False) as arrays:
        if record.get("picture") == "subtracted":
            return to_display(arrays["peak"].astype(np.float32))
        return arrays["minip"]


def _run_of(folder: Path, record: dict[str, Any], size_px: int) -> RunEvidence:
    second = record.get("picture") == "subtracted"
    stored = not second and record["labels"]["subtraction"] == "subtracted"
    with np.load(folder / record["npz"], allow_pickle=False) as arrays:
        light = to_cache(arrays["brightest"], size_px) if "brightest" in arrays and not second else None
        evidence = arrays["evidence"] if "evidence" in arrays and (second or stored) else None
    return RunEvidence(light, evidence, stored)


def _name_of(record: dict[str, Any]) -> str:
    return str(record["npz"]) + (SUBTRACTED_SUFFIX if record.get("picture") == "subtracted" else "")
