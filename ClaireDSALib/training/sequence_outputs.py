"""Raw outputs of thrombus networks, fold by fold, in the JSON layout of the published demonstrator, and their scores.

Each file is one fold: a list of pairs with ``Frontal_Expected``, ``Lateral_Expected`` (0 or 1), ``Frontal_Output`` and
``Lateral_Output`` (sigmoid). The authors' own files lie in ``Services/External/TestResults`` of
https://github.com/NAMI-THU/DSA-Thrombus-Classifier. Cross-validation writes the same layout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.metrics import matthews
from ClaireDSALib.training.roc import auc
from ClaireDSALib.training.sequence_evaluate import best_threshold, sensitivity_at

_KEYS = ("Frontal_Expected", "Lateral_Expected", "Frontal_Output", "Lateral_Output")


@dataclass(frozen=True)
class FoldOutputs:
    """Outputs of one fold for N pairs; ``truth`` (N,) bool, ``frontal`` and ``lateral`` (N,) 0..1, NaN if absent."""

    truth: npt.NDArray[np.bool_]
    frontal: npt.NDArray[np.float64]
    lateral: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How well outputs tell pairs with a thrombus from those without."""

    name: str
    n: int
    auc: tuple[float, float, float]
    """Value and 95 % interval."""
    threshold: float
    mcc: float
    sensitivity: float
    specificity: float
    sensitivity_at_90: float
    """At a specificity of at least 90 %."""
    confusion: tuple[int, int, int, int]
    """True negatives, false positives, false negatives, true positives."""
    roc: tuple[tuple[float, float], ...]
    """False and true positive rates, from (0, 0) to (1, 1)."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_outputs(path: Path) -> FoldOutputs:
    """Read one fold.

    Raises
    ------
    ValueError
        When the file does not have the layout, or the two views of a pair contradict each other.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        msg = f"{path.name} cannot be read as JSON ({error})"
        raise ValueError(msg) from error
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) and set(_KEYS) <= set(r) for r in rows):
        msg = f"{path.name} is no list of pairs with {', '.join(_KEYS)}"
        raise ValueError(msg)
    table = np.array([[np.nan if row[key] is None else float(row[key]) for key in _KEYS] for row in rows])
    both = np.isfinite(table[:, :2]).all(1)
    if (table[both, 0] != table[both, 1]).any():
        msg = f"{path.name}: pair {int(np.flatnonzero(both & (table[:, 0] != table[:, 1]))[0])} has views that disagree"
        raise ValueError(msg)
    truth = np.where(np.isfinite(table[:, 0]), table[:, 0], table[:, 1])
    return FoldOutputs(truth > 0.5, table[:, 2], table[:, 3])


def write_outputs(path: Path, fold: FoldOutputs) -> None:
    """Write one fold; an absent view becomes null."""
    rows = []
    for truth, *outputs in zip(fold.truth, fold.frontal, fold.lateral, strict=True):
        seen = [None if np.isnan(value) else round(float(value), 6) for value in outputs]
        rows.append(dict(zip(_KEYS, (float(truth), float(truth), *seen), strict=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def score_ensemble(folds: Sequence[FoldOutputs], thresholds: Sequence[float] = (0.5,)) -> list[Score]:
    """Scores of the equal-weight mean over folds: PA, LAT and both, at each threshold.

    Raises
    ------
    ValueError
        When the folds are not outputs for the same pairs.
    """
    truth = folds[0].truth
    if any(len(f.truth) != len(truth) or (f.truth != truth).any() for f in folds):
        msg = f"the files are not outputs for the same pairs; they have {[len(f.truth) for f in folds]} pairs"
        raise ValueError(msg)
    frontal, lateral = (np.mean([getattr(f, view) for f in folds], 0) for view in ("frontal", "lateral"))
    fused = np.nanmean(np.stack([frontal, lateral]), 0)
    rows = (("PA", frontal), ("LAT", lateral), ("PA + LAT", fused))
    return [score(name, truth, values, cut) for cut in thresholds for name, values in rows if np.isfinite(values).any()]


def score(name: str, truth: npt.NDArray[np.bool_], outputs: npt.NDArray[np.float64], threshold: float) -> Score:
    """Scores of outputs where there are any."""
    there = np.isfinite(outputs)
    truth, outputs = truth[there], outputs[there]
    found = outputs >= threshold
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, (truth.astype(int), found.astype(int)), 1)
    area = auc(truth, outputs)
    return Score(
        name=name,
        n=len(truth),
        auc=(float(area.value), float(area.low), float(area.high)),
        threshold=threshold,
        mcc=float(matthews(table)),
        sensitivity=float(found[truth].mean()),
        specificity=float((~found[~truth]).mean()),
        sensitivity_at_90=sensitivity_at(truth, outputs, 0.9),
        confusion=(int(table[0, 0]), int(table[0, 1]), int(table[1, 0]), int(table[1, 1])),
        roc=roc_points(truth, outputs),
    )


def threshold_for_mcc(folds: Sequence[FoldOutputs]) -> float:
    """Threshold with the highest Matthews coefficient of pairs; folds may hold different validation pairs."""
    truth = np.concatenate([f.truth for f in folds])
    outputs = np.concatenate([np.nanmean(np.stack([f.frontal, f.lateral]), 0) for f in folds])
    clipped = np.clip(outputs, 1e-6, 1 - 1e-6)
    return best_threshold(truth, np.log(clipped / (1 - clipped)))


def roc_points(truth: npt.NDArray[np.bool_], outputs: npt.NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Corners of the receiver operating characteristic; equal outputs are one step."""
    cuts = np.unique(outputs)[::-1]
    points = [((outputs[~truth] >= c).mean(), (outputs[truth] >= c).mean()) for c in cuts]
    return ((0.0, 0.0), *((float(x), float(y)) for x, y in points))
