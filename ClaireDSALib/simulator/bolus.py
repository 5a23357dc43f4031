"""The shape of a bolus in time: an injected block, spread by a gamma variate that widens along the way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

_SHAPE = 2.6
"""Shape of the gamma variate; 2 to 4 fits cerebral passage curves (Thompson 1964, DOI 10.1161/01.RES.14.6.502)."""

_WIDTHS_S = np.geomspace(0.004, 8.0, 160)
"""Scale parameters that curves are tabulated for, 5 % apart. A fixed grid: a node's curve must not depend on which
other nodes are filled, or an occlusion would change vessels that it does not touch."""

_TABLE_STEP_S = 0.02


def bolus(
    times_s: npt.NDArray[np.float64],
    arrival_s: npt.NDArray[np.float64],
    dispersion_s: npt.NDArray[np.float64],
    duration_s: float,
) -> npt.NDArray[np.float32]:
    """Relative concentration over time.

    Parameters
    ----------
    times_s : (T,) ndarray
    arrival_s : (N,) ndarray
        When the first contrast comes.
    dispersion_s : (N,) ndarray
        Standard deviation of the gamma variate, positive.
    duration_s : float
        Length of the injected block.

    Returns
    -------
    (N, T) float32 ndarray
        0 to 1; 1 is the undiluted block. The integral over time equals ``duration_s`` for every N.
    """
    if len(arrival_s) == 0:
        return np.zeros((0, len(times_s)), np.float32)
    width = np.maximum(dispersion_s, 1e-3) / np.sqrt(_SHAPE)
    step = np.log(_WIDTHS_S[1] / _WIDTHS_S[0])
    nearest = np.clip(np.rint(np.log(width / _WIDTHS_S[0]) / step).astype(int), 0, len(_WIDTHS_S) - 1)
    used, row = np.unique(nearest, return_inverse=True)
    elapsed = times_s[None, :] - arrival_s[:, None]
    end = max(float(elapsed.max()), _TABLE_STEP_S)
    grid = np.arange(0, end + 2 * _TABLE_STEP_S, _TABLE_STEP_S)
    scaled = _WIDTHS_S[used][:, None]
    table = gammainc(_SHAPE, grid / scaled) - gammainc(_SHAPE, np.maximum(grid - duration_s, 0) / scaled)
    table = table.astype(np.float32)
    position = np.maximum(elapsed, 0) / _TABLE_STEP_S
    lower = position.astype(np.int32)
    rest = (position - lower).astype(np.float32)
    row = row[:, None]
    return table[row, lower] * (1 - rest) + table[row, lower + 1] * rest
