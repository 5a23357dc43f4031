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

    Raises
    ------
    ValueError
        When an opacity is not finite.
    """
    return _drift(opacity, in_field(opacity))


def without_drift(opacity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Opacity ``(T, h, w)`` with the drift of each frame taken off; zero outside the field."""
    field = in_field(opacity)
    freed = np.zeros(opacity.shape, np.float32)
    for out, frame, offset in zip(freed, opacity, _drift(opacity, field), strict=True):
        np.subtract(frame, offset, out=out, where=field, casting="same_kind")
    return freed


def in_field(opacity: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """(h, w) where any frame differs from zero, which the subtraction leaves outside the shutters."""
    field = np.zeros(opacity.shape[1:], bool)
    for frame in opacity:
        field |= frame != 0
    return field


def _drift(opacity: npt.NDArray[np.floating], field: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    curves = opacity.reshape(len(opacity), -1) if field.all() else opacity[:, field]
    if not curves.size:
        return np.zeros(len(opacity))
    drift = median(curves)
    if not np.isfinite(drift).all():
        msg = "the opacity of a frame is not finite; check the subtraction"
        raise ValueError(msg)
    for _ in range(_PASSES):
        change = _largest_change(curves, drift)
        drift = median(curves[:, change <= quantile(change, _QUIET_SHARE)])
    return drift.astype(np.float64)


def _largest_change(curves: npt.NDArray[np.floating], drift: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(N,) farthest that each of the curves ``(T, N)`` is from the drift; frame by frame, which stays in the cache."""
    change = np.zeros(curves.shape[1], curves.dtype)
    away = np.empty_like(change)
    for curve, offset in zip(curves, drift, strict=True):
        np.abs(np.subtract(curve, offset, out=away), out=away)
        np.maximum(change, away, out=change)
    return change
