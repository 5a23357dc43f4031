"""Which runs to label first: those the network is unsure of, far from each other, and of different patients."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.annotations import COLUMNS


@dataclass(frozen=True)
class Suggestion:
    """One run to label.

    Parameters
    ----------
    name : str
    patient : str
    uncertainty : float
        Mean over labels of the normalised entropy, 0 sure to 1 guessing.
    distance : float
        To the nearest run suggested before, in spreads of the features.
    """

    name: str
    patient: str
    uncertainty: float
    distance: float


def suggest(
    features: npt.NDArray[np.floating],
    probabilities: npt.NDArray[np.floating],
    names: Sequence[str],
    patients: npt.NDArray[np.str_],
    labels: LabelSet,
    n: int,
) -> list[Suggestion]:
    """Greedy choice: each time the run with the largest distance to those chosen, times its uncertainty.

    Parameters
    ----------
    features : (N, C) float ndarray
    probabilities : (N, K) float ndarray
        Calibrated.
    names : sequence of str
    patients : (N,) str ndarray
        No second run of a patient while there are patients without one.
    labels : LabelSet
    n : int

    Returns
    -------
    list of Suggestion
        At most ``n``, best first.
    """
    scaled = (features - features.mean(axis=0)) / max(float(np.sqrt(features.var(axis=0).sum())), 1e-9)
    unsure = uncertainty(probabilities, labels)
    rank = 0.25 + 0.75 * unsure.argsort().argsort() / max(len(unsure) - 1, 1)
    nearest = np.linalg.norm(scaled, axis=1)  # the first is unsure and lies far out
    chosen: list[Suggestion] = []
    left, seen = np.ones(len(names), bool), np.zeros(len(names), bool)
    while len(chosen) < n and left.any():
        allowed = left & ~seen if (left & ~seen).any() else left
        best = int(np.argmax(np.where(allowed, nearest * rank, -1)))
        chosen.append(Suggestion(names[best], str(patients[best]), float(unsure[best]), float(nearest[best])))
        left[best] = False
        seen |= patients == patients[best]
        away = np.linalg.norm(scaled - scaled[best], axis=1)
        nearest = away if len(chosen) == 1 else np.minimum(nearest, away)
    return chosen


def uncertainty(probabilities: npt.NDArray[np.floating], labels: LabelSet) -> npt.NDArray[np.float64]:
    """Mean normalised entropy ``(N,)`` over labels."""
    parts = []
    for label in labels.labels:
        p = np.clip(probabilities[:, labels.slice_of(label.name)], 1e-12, 1)
        parts.append(-(p * np.log(p)).sum(axis=1) / np.log(len(label.classes)))
    return np.mean(parts, axis=0)


def write_template(suggestions: Sequence[Suggestion], labels: LabelSet, path: Path) -> None:
    """Table to fill in: a line per run and label, class empty; ``claire-dsa adapt --target-labels`` reads it.

    Rows whose class stays empty must be deleted before.
    """
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(COLUMNS)
        for one in suggestions:
            writer.writerows((one.name, label, "", "", one.patient) for label in labels.names)
