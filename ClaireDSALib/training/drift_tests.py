"""Has a site's mix of predictions or features moved? Tests that know that runs of one patient are alike.

Patients, not runs, change sides in the permutations; treating eight runs of a patient as eight witnesses would call
every new group of patients a drift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ROUNDS = 999
"""Permutations; the smallest p is one in a thousand."""


def prediction_shift(
    first: npt.NDArray[np.integer],
    second: npt.NDArray[np.integer],
    first_patients: npt.NDArray[np.str_],
    second_patients: npt.NDArray[np.str_],
    n_classes: int,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> float:
    """Chance of a chi-square of homogeneity as large as found, were patients drawn from one population.

    Parameters
    ----------
    first, second : (N,), (M,) int ndarray
        Predicted classes at both sites.
    first_patients, second_patients : (N,), (M,) str ndarray
    n_classes : int

    Returns
    -------
    float
        p between ``1 / (rounds + 1)`` and 1.
    """
    counts, n_first = _per_patient(
        np.eye(n_classes)[first], np.eye(n_classes)[second], first_patients, second_patients, total=True
    )
    sides = _sides(len(counts), n_first, rounds, seed)
    return _p_value(_chi_square(sides @ counts, counts.sum(axis=0)))


def feature_shift(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    first_patients: npt.NDArray[np.str_],
    second_patients: npt.NDArray[np.str_],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> float:
    """Chance of mean features as far apart as found, were patients drawn from one population.

    Parameters
    ----------
    first, second : (N, C), (M, C) float ndarray
        Features; each is divided by its spread at the first site.
    first_patients, second_patients : (N,), (M,) str ndarray
    """
    spread = first.std(axis=0) + 1e-9
    means, n_first = _per_patient(first / spread, second / spread, first_patients, second_patients, total=False)
    sides = _sides(len(means), n_first, rounds, seed)
    here, there = sides @ means / n_first, (1 - sides) @ means / (len(means) - n_first)
    return _p_value(((here - there) ** 2).sum(axis=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust for several tests (Holm, Scand J Stat 1979); the order is kept."""
    order = np.argsort(p_values)
    adjusted, highest = np.empty(len(p_values)), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, highest)
    return [float(p) for p in adjusted]


def _per_patient(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    first_patients: npt.NDArray[np.str_],
    second_patients: npt.NDArray[np.str_],
    *,
    total: bool,
) -> tuple[FloatArray, int]:
    """Sum or mean of each patient's rows, first site's patients first, and how many these are."""
    rows, n_first = [], 0
    for values, patients in ((first, first_patients), (second, second_patients)):
        _, group = np.unique(patients, return_inverse=True)
        sums = np.zeros((group.max() + 1, values.shape[1]))
        np.add.at(sums, group, values)
        rows.append(sums if total else sums / np.bincount(group)[:, None])
        n_first = n_first or len(sums)
    return np.concatenate(rows), n_first


def _sides(n: int, n_first: int, rounds: int, seed: int) -> FloatArray:
    """Row 0: the sides as they are; then random ones. One where a patient stands on the first side."""
    rng = np.random.default_rng(seed)
    sides = np.zeros((rounds + 1, n))
    sides[0, :n_first] = 1
    for row in sides[1:]:
        row[rng.permutation(n)[:n_first]] = 1
    return sides


def _chi_square(first: FloatArray, everything: FloatArray) -> FloatArray:
    """Statistic of each row's counts ``(R, K)`` against the rest of ``everything``."""
    kept = everything > 0
    first, everything = first[:, kept], everything[kept]
    total = everything.sum()
    size = first.sum(axis=1, keepdims=True)
    expected = size * everything / total
    rest = (total - size) * everything / total
    return ((first - expected) ** 2 / np.maximum(expected, 1e-9)).sum(axis=1) + (
        (everything - first - rest) ** 2 / np.maximum(rest, 1e-9)
    ).sum(axis=1)


def _p_value(statistics: FloatArray) -> float:
    return float((statistics >= statistics[0] * (1 - 1e-9)).mean())
