"""Centre lines of a vessel mask, and what can be measured along them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

Mask = npt.NDArray[np.bool_]

Measurements = dict[str, float | None]
"""``fraction``, ``length_px``, ``mean_diameter_px``, ``length_mm``, ``mean_diameter_mm``."""

_HALF_PIXEL = 0.5
"""Twice the distance from the centre line to the nearest background pixel is w + 1 for odd widths w and w for
even ones; half a pixel less is right on average."""


def centerline_of(mask: Mask) -> Mask:
    """Centre lines, one pixel wide: ``(H, W)`` bool (thinning of Zhang and Suen 1984)."""
    return skeletonize(np.asarray(mask, bool))


def measure(
    mask: Mask,
    spacing_mm: tuple[float, float] | None = None,
    *,
    region: Mask | None = None,
    centerline: Mask | None = None,
) -> Measurements:
    """Measure a vessel mask.

    Parameters
    ----------
    mask : (H, W) bool ndarray
    spacing_mm : (row, column), optional
        Pixel spacing at the plane of the vessels; without it lengths in millimetres are None.
    region : (H, W) bool ndarray, optional
        Where there is a picture; everywhere unless given.
    centerline : (H, W) bool ndarray, optional
        What :func:`centerline_of` gives for the mask, when it is there already.

    Returns
    -------
    dict
        ``fraction`` of the region that is vessel; ``length_px`` and ``length_mm`` of all centre lines, in the
        projection; ``mean_diameter_px`` and ``mean_diameter_mm`` along them, 0 for an empty mask.

    Raises
    ------
    ValueError
        When the mask is not 2-D or a spacing is not positive.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2:
        msg = f"a vessel mask is (H, W); got shape {mask.shape}"
        raise ValueError(msg)
    if spacing_mm is not None and min(spacing_mm) <= 0:
        msg = f"pixel spacing must be positive; got {spacing_mm}"
        raise ValueError(msg)
    line = centerline_of(mask) if centerline is None else centerline
    size = mask.size if region is None else int(np.count_nonzero(region))
    unit = (1.0, 1.0)
    return {
        "fraction": float(np.count_nonzero(mask) / size) if size else 0.0,
        "length_px": _length(line, unit),
        "mean_diameter_px": _mean_diameter(mask, line, unit),
        "length_mm": None if spacing_mm is None else _length(line, spacing_mm),
        "mean_diameter_mm": None if spacing_mm is None else _mean_diameter(mask, line, spacing_mm),
    }


def _length(line: Mask, spacing: tuple[float, float]) -> float:
    """Sum of the steps between neighbouring pixels; a diagonal counts only where no corner pixel joins the two."""
    padded = np.pad(line, 1)
    here = padded[1:-1, 1:-1]
    right, below = padded[1:-1, 2:], padded[2:, 1:-1]
    below_right, below_left, left = padded[2:, 2:], padded[2:, :-2], padded[1:-1, :-2]
    diagonals = np.count_nonzero(here & below_right & ~right & ~below)
    diagonals += np.count_nonzero(here & below_left & ~left & ~below)
    row, column = spacing
    length = column * np.count_nonzero(here & right) + row * np.count_nonzero(here & below)
    return float(length + np.hypot(row, column) * diagonals)


def _mean_diameter(mask: Mask, line: Mask, spacing: tuple[float, float]) -> float:
    """Twice the mean distance from the centre line to the nearest background, which always touches the vessel."""
    if not line.any():
        return 0.0
    padded = np.pad(mask, 2, mode="edge")
    padded[[0, -1]] = padded[:, [0, -1]] = False  # a margin for the shifts, which counts for nothing
    near = np.zeros_like(padded[1:-1, 1:-1])
    for row, column in np.ndindex(3, 3):
        near |= padded[row : row + near.shape[0], column : column + near.shape[1]]
    beside = np.argwhere(near & ~padded[1:-1, 1:-1])
    if not len(beside):  # everything is vessel, which ends where the picture does
        beside = np.argwhere(np.pad(np.zeros(mask.shape, bool), 1, constant_values=True))
    distance, _ = cKDTree(beside * spacing).query((np.argwhere(line) + 1) * spacing)
    return float(2 * distance.mean() - _HALF_PIXEL * (spacing[0] + spacing[1]) / 2)
