"""Medians and quantiles equal to numpy's to the last bit, several times faster.

numpy asks ``partition`` for several places at once, which leaves its vectorised selection out; here it is asked for
one place, and the neighbour is the largest or smallest value on one side of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_FEWEST_FOR_GUESS = 10_000
_HIGH_SHARE = 0.9
_GUESS_STEP = 16
"""A high quantile of many values lies among the few above a bound that every sixteenth value gives."""
_GUESS_MARGIN = 0.04


def median(values: npt.NDArray[Any]) -> Any:
    """Median over the last axis, as ``np.median(values, axis=-1)``.

    Parameters
    ----------
    values : (..., N) ndarray
        Floats; N is 1 or more.

    Returns
    -------
    (...) ndarray or scalar
        NaN where a value is NaN.
    """
    half = values.shape[-1] // 2
    parts = np.partition(values, half, axis=-1)
    middle = parts[..., half]
    if values.shape[-1] % 2 == 0:
        middle = np.mean([parts[..., :half].max(-1), middle], axis=0, dtype=values.dtype)
    return np.where(np.isnan(parts[..., half:].max(-1)), np.asarray(np.nan, values.dtype), middle)[()]


def percentile(values: npt.NDArray[Any], percent: float) -> Any:
    """Percentile of all values, interpolated linearly, as ``np.percentile(values, percent)``.

    Parameters
    ----------
    values : ndarray
        Floats, at least one.
    percent : float
        0 to 100.
    """
    return quantile(values, percent / 100)


def quantile(values: npt.NDArray[Any], share: float) -> Any:
    """Quantile of all values, interpolated linearly, as ``np.quantile(values, share)``.

    Parameters
    ----------
    values : ndarray
        Floats, at least one.
    share : float
        0 to 1.
    """
    flat = np.ravel(values)
    place = (flat.size - 1) * share
    below = int(place)
    if below + 1 >= flat.size or np.isnan(flat.max()):
        return np.quantile(flat, share)
    upper = _upper(flat, share)
    rank = below - (flat.size - upper.size)
    if rank < 0:
        upper, rank = flat, below
    parts = np.partition(upper, rank)
    return np.quantile(np.array([parts[rank], parts[rank + 1 :].min()], flat.dtype), place - below)


def _upper(flat: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    """The largest of many values, most often all from the quantile on; all values where that is not worth it."""
    if share < _HIGH_SHARE or flat.size < _FEWEST_FOR_GUESS:
        return flat
    some = flat[::_GUESS_STEP]
    place = int((share - _GUESS_MARGIN) * some.size)
    return flat[flat >= np.partition(some, place)[place]]
