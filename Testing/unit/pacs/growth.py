"""Whether a process grows: the slope of its memory with an interval that does not trust neighbouring samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

_BLOCKS = 10


class Growth(NamedTuple):
    """Slope and its 95 % interval."""

    slope: float
    low: float
    high: float


def growth(x: Sequence[float], y: Sequence[float]) -> Growth:
    """Least-squares slope of ``y`` over ``x``, over the means of ten consecutive blocks.

    Samples of one process a few seconds apart are much alike, so each of them counted as a measurement would make
    the interval far too narrow.

    Raises
    ------
    ValueError
        For fewer than two samples in a block.
    """
    if len(x) < 2 * _BLOCKS:
        msg = f"a slope takes at least {2 * _BLOCKS} samples; got {len(x)}"
        raise ValueError(msg)
    xs = np.array([np.mean(part) for part in np.array_split(np.asarray(x, float), _BLOCKS)])
    ys = np.array([np.mean(part) for part in np.array_split(np.asarray(y, float), _BLOCKS)])
    centred = xs - xs.mean()
    spread = float((centred**2).sum())
    slope = float((centred * ys).sum()) / spread
    rest = ys - ys.mean() - slope * centred
    error = float(np.sqrt((rest**2).sum() / (_BLOCKS - 2) / spread))
    reach = float(t.ppf(0.975, _BLOCKS - 2)) * error
    return Growth(slope, slope - reach, slope + reach)
