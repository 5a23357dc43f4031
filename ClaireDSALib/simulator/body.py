"""A body as voxels of density, and the rays that cross it: what lies behind the vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .geometry import ViewGeometry

CORTICAL_DENSITY = 1.92
"""Density of compact bone relative to water (ICRU-44)."""

_STEP_MM = 2.0
"""Distance between samples along a ray; skull tables are 1.5 to 3 mm thick and lie oblique to most rays."""

_CHUNK = 12
"""Planes sampled at once: keeps the coordinates in the processor's cache."""


@dataclass(frozen=True)
class BodyLayers:
    """Path lengths through a body along each ray.

    Attributes
    ----------
    soft_mm : (H, W) float32 ndarray
        Water-equivalent soft tissue.
    bone_far_mm, bone_near_mm : (H, W) float32 ndarray
        Compact-bone-equivalent path on the side of the tube and on the side of the detector.
    """

    soft_mm: npt.NDArray[np.float32]
    bone_far_mm: npt.NDArray[np.float32]
    bone_near_mm: npt.NDArray[np.float32]

    def resized(self, shape: tuple[int, int]) -> BodyLayers:
        """Interpolate linearly to another grid over the same detector."""
        return BodyLayers(*(resize(layer, shape) for layer in (self.soft_mm, self.bone_far_mm, self.bone_near_mm)))


@dataclass(frozen=True)
class Body:
    """Densities on a regular grid in the head frame.

    Parameters
    ----------
    density : (X, Y, Z) float32 ndarray
        Relative to water: 0 air, 1 soft tissue, 1.92 compact bone, more for metal.
    origin_mm : (3,) tuple of float
        Centre of voxel (0, 0, 0).
    spacing_mm : (3,) tuple of float
    extend : bool
        Repeat the outermost voxels without end (a trunk wider than the picture) instead of air around.
    """

    density: npt.NDArray[np.float32]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    extend: bool = False

    def cast(self, view: ViewGeometry, shape: tuple[int, int] | None = None) -> BodyLayers:
        """Sum densities along the rays of a view.

        Parameters
        ----------
        view : ViewGeometry
        shape : (h, w) tuple of int or None
            Grid over the whole detector; None: a ray for every second pixel.

        Returns
        -------
        BodyLayers
            On the asked grid; see :meth:`BodyLayers.resized`.
        """
        grid = shape or (view.shape[0] // 2, view.shape[1] // 2)
        source, directions = view.rays(grid)
        depths = self._depths_mm(view)
        centre_mm = float(np.mean(depths))
        layers = np.zeros((3, grid[0] * grid[1]), np.float32)
        start = (source - np.asarray(self.origin_mm)) / np.asarray(self.spacing_mm)
        jitter = np.random.default_rng(1).uniform(-0.5, 0.5, grid[0] * grid[1]).astype(np.float32) * np.float32(
            _STEP_MM
        )
        slopes = (directions.reshape(-1, 3) / np.asarray(self.spacing_mm)).T.astype(np.float32)
        for chunk in np.array_split(depths, max(1, len(depths) // _CHUNK)):
            voxels = slopes[:, None, :] * (chunk.astype(np.float32)[:, None] + jitter)[None]
            voxels += start.astype(np.float32)[:, None, None]
            found = self._sample(voxels)
            layers[0] += np.minimum(found, 1.0).sum(0)
            bone = np.maximum(found - 1.0, 0.0) / np.float32(CORTICAL_DENSITY - 1)
            far = chunk < centre_mm
            layers[1] += bone[far].sum(0)
            layers[2] += bone[~far].sum(0)
        layers *= np.float32(_STEP_MM)
        # Rays start at jittered depths, which turns the moire of plane-wise sampling into noise; smooth that away.
        return BodyLayers(*(ndimage.gaussian_filter(layer.reshape(grid), 0.45, truncate=2.5) for layer in layers))

    def _depths_mm(self, view: ViewGeometry) -> npt.NDArray[np.float64]:
        """Distances from the source at which rays may meet the body."""
        size = np.asarray(self.spacing_mm) * (np.asarray(self.density.shape) - 1)
        corners = np.asarray(self.origin_mm) + size * np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8).T
        distances = np.linalg.norm(corners - view.source_mm, axis=1)
        axis = view.pose.matrix.T @ view.axes[2]
        nearest = max(float(((corners - view.source_mm) @ axis).min()), 50.0)
        return np.arange(nearest, min(float(distances.max()), view.sid_mm), _STEP_MM)

    def _sample(self, voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        mode = "nearest" if self.extend else "constant"
        return ndimage.map_coordinates(self.density, voxels, order=1, mode=mode, prefilter=False, output=np.float32)


def resize(image: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Interpolate ``(h, w)`` linearly to ``shape``; both grids cover the same area."""
    rows = _interpolation_matrix(image.shape[0], shape[0])
    columns = _interpolation_matrix(image.shape[1], shape[1])
    return rows @ image.astype(np.float32) @ columns.T


def _interpolation_matrix(old: int, new: int) -> npt.NDArray[np.float32]:
    if old == new:
        return np.eye(new, dtype=np.float32)
    where = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(where.astype(int), old - 2)
    weight = (where - low).astype(np.float32)
    matrix = np.zeros((new, old), np.float32)
    matrix[np.arange(new), low] = 1 - weight
    matrix[np.arange(new), low + 1] += weight
    return matrix
