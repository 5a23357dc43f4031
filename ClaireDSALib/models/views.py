"""What a network sees of one picture: up to three views of it as channels.

``linear``: windowed between two percentiles. ``ranked``: every pixel replaced by its rank, so that any rising tone
curve (linear or logarithmic pixels, display curves) cancels exactly. ``local``: the ranked view relative to the mean
and spread around each pixel, so that vessels show in the shade of bone as well as on an empty background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]
VIEWS = ("linear", "ranked", "local")

_KNOTS = 513
_LOCAL_SHARE = 1 / 28
"""Width of the neighbourhood (Gaussian sigma) over the picture's side: 8 px at 224."""
_LOCAL_FLOOR = 0.04
"""Spread of ranks below which the surroundings count as flat."""


def make_views(
    image: FloatArray,
    views: Sequence[str],
    percentiles: tuple[float, float],
    region: npt.NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Stack the views of a resized picture.

    Parameters
    ----------
    image : (S, S) float32 ndarray
        Any range, contrast dark.
    views : sequence of {"linear", "ranked", "local"}
    percentiles : tuple of float
        Window of the linear view.
    region : (S, S) bool ndarray, optional
        Pixels that set the window and the ranks.

    Returns
    -------
    (C, S, S) float32 ndarray
        0 to 1.
    """
    inside = image[region] if region is not None else image.ravel()
    need_rank = "ranked" in views or "local" in views
    order = np.sort(inside) if need_rank else None
    ranked = _ranked(image, order) if order is not None else None
    made: list[FloatArray] = []
    for view in views:
        if view == "linear":
            made.append(_linear(image, inside, percentiles))
        else:
            assert ranked is not None
            made.append(ranked if view == "ranked" else _local(ranked))
    return np.stack(made)


def _linear(image: FloatArray, inside: FloatArray, percentiles: tuple[float, float]) -> FloatArray:
    low, high = np.percentile(inside, percentiles)
    if not high - low > float(np.abs(image).max()) * 1e-6:  # the window holds rounding errors only
        low, high = float(image.min()), float(image.max())
    if not high > low:
        return np.zeros_like(image)
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def _ranked(image: FloatArray, order: FloatArray) -> FloatArray:
    """Piecewise linear cumulative distribution; equal values get the middle of their ranks."""
    place = np.linspace(0, len(order) - 1, _KNOTS)
    values, first, counts = np.unique(order[place.round().astype(int)], return_index=True, return_counts=True)
    middle = (first + (counts - 1) / 2) / (_KNOTS - 1)
    return np.interp(image, values, middle).astype(np.float32)


def _local(ranked: FloatArray) -> FloatArray:
    sigma = ranked.shape[0] * _LOCAL_SHARE
    mean = ndimage.gaussian_filter(ranked, sigma, truncate=2.5)
    square = ndimage.gaussian_filter(ranked * ranked, sigma, truncate=2.5)
    spread = np.sqrt(np.maximum(square - mean * mean, 0)) + _LOCAL_FLOOR
    return np.clip(0.5 + 0.2 * (ranked - mean) / spread, 0, 1).astype(np.float32)
