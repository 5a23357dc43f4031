"""How well masks agree: Dice, clDice, and means with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.vessel_measures import centerline_of
from ClaireDSALib.training.metrics import Estimate

Mask = npt.NDArray[np.bool_]


def dice(found: Mask, truth: Mask) -> float:
    """Dice coefficient; NaN when the truth is empty, because then it says nothing but yes or no."""
    if not truth.any():
        return float("nan")
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def centerline_dice(found: Mask, truth: Mask) -> float:
    """clDice of Shit et al. (CVPR 2021, doi 10.1109/CVPR46437.2021.01629); NaN when the truth is empty.

    The harmonic mean of the share of the found centre line inside the truth and the share of the true centre line
    inside what was found.
    """
    if not truth.any():
        return float("nan")
    if not found.any():
        return 0.0
    found_line, true_line = centerline_of(found), centerline_of(truth)
    precision = float((found_line & truth).sum()) / max(float(found_line.sum()), 1.0)
    sensitivity = float((true_line & found).sum()) / max(float(true_line.sum()), 1.0)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def mean_over_patients(
    values: Sequence[float], patients: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Mean of the values that are no NaN, with a 95 % bootstrap interval that draws whole patients (NaN for one).

    Parameters
    ----------
    values : sequence of N float
    patients : sequence of N str
        Runs of one patient are not independent.
    n_boot, seed : int
    """
    kept = [(value, patient) for value, patient in zip(values, patients, strict=True) if np.isfinite(value)]
    if not kept:
        return Estimate(float("nan"), float("nan"), float("nan"))
    numbers, names = np.array([v for v, _ in kept]), np.array([p for _, p in kept])
    unique = np.unique(names)
    if len(unique) == 1:  # one patient says nothing about others
        return Estimate(float(numbers.mean()), float("nan"), float("nan"))
    sums = np.array([numbers[names == name].sum() for name in unique])
    counts = np.array([(names == name).sum() for name in unique])
    drawn = np.random.default_rng(seed).integers(len(unique), size=(n_boot, len(unique)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(numbers.mean()), float(low), float(high))


def area_agreement(found: Mask, truth: Mask) -> float:
    """Vessel area found as a share of the true one; NaN when the truth is empty."""
    return float(found.sum()) / float(truth.sum()) if truth.any() else float("nan")
