"""The brain's outer surface and inner walls that arteries and veins follow, in the unscaled head frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .curves import Points

BRAIN_CENTRE_MM = np.array([0.0, 3.0, 8.0])
BRAIN_RADII_MM = np.array([63.0, 82.0, 61.0])
"""Half axes of the average adult intracranial space at the level of the brain (width 126, length 164 mm)."""

CEREBELLUM_CENTRE_MM = np.array([0.0, 46.0, -46.0])
CEREBELLUM_RADII_MM = np.array([50.0, 33.0, 23.0])


def depth_factor(points: Points) -> npt.NDArray[np.float64]:
    """(N,) 1 on the brain's surface, below 1 inside."""
    return np.sqrt((((points - BRAIN_CENTRE_MM) / BRAIN_RADII_MM) ** 2).sum(-1))


def on_brain(points: Points, factor: float | npt.NDArray[np.float64] = 1.0) -> Points:
    """Push points along the ray from the centre to the surface scaled by ``factor``."""
    scale = np.asarray(factor) / np.maximum(depth_factor(points), 1e-6)
    return BRAIN_CENTRE_MM + (points - BRAIN_CENTRE_MM) * scale[..., None]


def on_cerebellum(points: Points) -> Points:
    """Keep points in the outer shell of the cerebellum."""
    offset = (points - CEREBELLUM_CENTRE_MM) / CEREBELLUM_RADII_MM
    distance = np.maximum(np.sqrt((offset**2).sum(-1)), 1e-6)
    wanted = np.clip(distance, 0.62, 1.0)
    return CEREBELLUM_CENTRE_MM + (points - CEREBELLUM_CENTRE_MM) * (wanted / distance)[..., None]


def surface_points(rng: np.random.Generator, count: int) -> Points:
    """(count, 3) random points on the brain's surface."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return BRAIN_CENTRE_MM + direction * BRAIN_RADII_MM


def sylvian_height_mm(y_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Height (z) of the lateral fissure at posterior position ``y_mm``: it rises towards its end."""
    y = np.asarray(y_mm, np.float64)
    return -17.0 + 0.36 * (y + 28.0) + 0.0022 * np.clip(y + 5.0, 0, None) ** 2


def spread_out(points: Points, count: int, rng: np.random.Generator) -> Points:
    """Pick up to ``count`` points that keep away from each other (best of several candidates, Mitchell 1991)."""
    if len(points) <= count:
        return points
    from scipy.spatial import cKDTree

    spacing = float(np.sqrt(np.ptp(points, axis=0).prod() ** (2 / 3) / count)) * 0.75
    for _ in range(7):
        kept = _thin(points, spacing, cKDTree(points))
        if len(kept) >= count:
            break
        spacing *= 0.85
    return points[np.sort(rng.permutation(kept)[:count])]


def _thin(points: Points, spacing: float, tree) -> npt.NDArray[np.intp]:
    alive = np.ones(len(points), bool)
    for i, near in enumerate(tree.query_ball_point(points, spacing)):
        if alive[i]:
            alive[near] = False
            alive[i] = True
    return np.flatnonzero(alive)
