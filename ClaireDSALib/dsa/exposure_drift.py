"""What the tube does to a whole frame, taken off: exposure control shifts every opacity of a frame alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.order_statistics import median, quantile

_QUIET_SHARE = 0.3
"""Of the pixels in the field: those that change least hold no contrast and show the drift alone."""

_PASSES = 3


def exposure_drift(opacity: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Offset of every frame against the first, from the pixels that change least.

    Parameters
    ----------
    opacity : (T, h, w) float ndarray
        Log attenuation; pixels that are exactly zero in every frame lie outside the field and are left out.

    Returns
    -------
    (T,) float64 ndarray
        Log attenuation. An exposure that differs by a factor adds one number to every logarithm (Beer-Lambert), a few
        hundredths on a console with exposure control: as much as the blush of the tissue.
    """
    curves = opacity[:, in_field(opacity)]
    if not curves.size:
        return np.zeros(len(opacity))
    drift = median(curves)
    for _ in range(_PASSES):
        change = np.abs(curves - drift[:, None]).max(0)
        drift = median(curves[:, change <= quantile(change, _QUIET_SHARE)])
    return drift.astype(np.float64)


def without_drift(opacity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Opacity ``(T, h, w)`` with the drift of each frame taken off; zero outside the field."""
    return np.where(in_field(opacity), opacity - exposure_drift(opacity)[:, None, None], 0.0).astype(np.float32)


def in_field(opacity: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """(h, w) where any frame differs from zero, which the subtraction leaves outside the shutters."""
    return np.any(opacity != 0, axis=0)
