"""The sparse matrix S[pixel, piece]: millimetres of vessel along the ray of a pixel contributed by each piece.

A piece is a short cylinder. Across its projected direction it casts the chord of a circle, 2 sqrt(r^2 - d^2),
averaged over the width of a pixel; along it a tent, so that neighbouring pieces add up to an even vessel. The sum over
all pixels equals volume times magnification squared over pixel area whatever the direction, also end-on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .geometry import ViewGeometry
from .resample import Samples

_TABLE_SIZE = 4096
_PIXEL_HALF_WIDTH = 0.5


def _chord_area_table() -> npt.NDArray[np.float32]:
    """Share of a unit circle's area left of u = -1 ... 1."""
    u = np.linspace(-1, 1, _TABLE_SIZE)
    return (0.5 + (u * np.sqrt(1 - u * u) + np.arcsin(u)) / np.pi).astype(np.float32)


_CHORD_AREA = _chord_area_table()


def projection_matrix(samples: Samples, view: ViewGeometry) -> sp.csr_matrix:
    """Project vessel pieces.

    Parameters
    ----------
    samples : Samples
    view : ViewGeometry

    Returns
    -------
    (H * W, N) csr_matrix of float32
        Path length in mm. Pieces outside the picture have empty columns.
    """
    h, w = view.shape
    middle, magnification = view.project(samples.position_mm)
    tip, _ = view.project(samples.position_mm + samples.half_step_mm)
    half = tip - middle
    scale = magnification / view.detector_pitch_mm  # px per mm
    projected = np.linalg.norm(half, axis=1)
    length_mm = 2 * np.linalg.norm(samples.half_step_mm, axis=1)
    sine = np.clip(2 * projected / np.maximum(length_mm * scale, 1e-9), 0, 1)
    radius = samples.radius_mm * scale
    # A tent as wide as the spacing adds up to one; the cap of a piece seen obliquely is an ellipse along the way.
    # Wide vessels get longer tents: bends then show no ripple, and nothing is lost because they change slowly.
    reach = np.maximum(2 * projected, np.clip(0.7 * radius, 1.0, 4.0))
    reach = np.maximum(reach, 1.25 * radius * np.sqrt(1 - sine**2))
    tangent = np.where(projected[:, None] > 1e-6, half / np.maximum(projected, 1e-9)[:, None], (1.0, 0.0))
    weight = np.pi * samples.radius_mm**2 * length_mm * scale**2  # mm x px^2: volume seen as path times area
    extent = np.maximum(radius + _PIXEL_HALF_WIDTH, reach) + 0.5
    inside = np.all((middle > -extent[:, None]) & (middle < np.array([h, w]) - 1 + extent[:, None]), axis=1)
    size = np.ceil(extent).astype(np.intp)
    parts = [
        _splat_class(np.flatnonzero(inside & (size == c)), int(c), middle, tangent, radius, reach, weight, (h, w))
        for c in np.unique(size[inside])
    ]
    if not parts:
        return sp.csr_matrix((h * w, len(samples)), dtype=np.float32)
    rows, columns, values = (np.concatenate(x) for x in zip(*parts, strict=True))
    return sp.csr_matrix((values, (rows, columns)), shape=(h * w, len(samples)), dtype=np.float32)


def _splat_class(
    which: npt.NDArray[np.intp],
    size: int,
    middle: npt.NDArray[np.float64],
    tangent: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    reach: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Footprints that fit into a square of ``2 size + 1`` pixels."""
    grid = np.arange(-size, size + 1)
    corner = np.rint(middle[which]).astype(np.int32)
    offset = (corner - middle[which]).astype(np.float32)
    dr = (offset[:, :1] + grid.astype(np.float32))[:, :, None]
    dc = (offset[:, 1:] + grid.astype(np.float32))[:, None, :]
    tr, tc = (tangent[which, k].astype(np.float32)[:, None, None] for k in (0, 1))
    r, span = (x[which].astype(np.float32)[:, None, None] for x in (radius, reach))
    across = dc * tr - dr * tc
    along = dr * tr + dc * tc
    # Half width of a pixel seen along the vessel's normal; volume is kept by the final normalisation.
    value = _area_left((across + _PIXEL_HALF_WIDTH) / r) - _area_left((across - _PIXEL_HALF_WIDTH) / r)
    value *= np.maximum(0, 1 - np.abs(along) / span)
    total = value.sum((1, 2))
    value *= (weight[which].astype(np.float32) / np.maximum(total, 1e-9))[:, None, None]
    rows = (corner[:, :1] + grid)[:, :, None]
    columns = (corner[:, 1:] + grid)[:, None, :]
    seen = (value > 0) & (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    flat = (rows * shape[1] + columns)[seen].astype(np.int32)
    piece = np.broadcast_to(which.astype(np.int32)[:, None, None], value.shape)[seen]
    return flat, piece, value[seen]


def _area_left(u: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    index = np.clip((u + 1) * (0.5 * (_TABLE_SIZE - 1)), 0, _TABLE_SIZE - 1)
    return _CHORD_AREA[np.rint(index).astype(np.int32)]
