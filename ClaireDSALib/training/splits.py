"""Splits by patient: no patient stands on both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IndexArray = npt.NDArray[np.int64]


def split_patients(
    patients: npt.NDArray[np.str_], fractions: tuple[float, ...], seed: int = 0
) -> tuple[IndexArray, ...]:
    """Indices of the pictures in each part.

    Parameters
    ----------
    patients : (N,) str ndarray
    fractions : tuple of float
        Share of patients per part; they sum to one.
    seed : int

    Raises
    ------
    ValueError
        When the fractions do not sum to one or there are fewer patients than parts.
    """
    unique = np.unique(patients)
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
        msg = f"fractions must be positive and sum to one; got {fractions}"
        raise ValueError(msg)
    if len(unique) < len(fractions):
        msg = f"{len(unique)} patients cannot be split into {len(fractions)} parts"
        raise ValueError(msg)
    order = np.random.default_rng(seed).permutation(unique)
    edges = np.round(np.cumsum(fractions) * len(order)).astype(int)
    parts = np.split(order, edges[:-1])
    return tuple(np.flatnonzero(np.isin(patients, part)) for part in parts)


def patient_folds(patients: npt.NDArray[np.str_], n_folds: int, seed: int = 0) -> list[tuple[IndexArray, IndexArray]]:
    """``(training, validation)`` indices of each fold."""
    parts = split_patients(patients, (1 / n_folds,) * n_folds, seed)
    everything = np.arange(len(patients))
    return [(np.setdiff1d(everything, part), part) for part in parts]
