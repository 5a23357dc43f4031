"""The capillary blush: brain tissue is cut up among the nearest fine arteries and seen as a soft cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from .geometry import ViewGeometry
from .procedural.brain_shape import CEREBELLUM_CENTRE_MM, CEREBELLUM_RADII_MM
from .procedural.curves import WanderField
from .vessel_tree import VesselTree

_POINTS = 16000
_CELL_MM = 2.0
"""Side of a cell of the coarse grid, at the isocentre."""

_SOFTNESS_CELLS = 1.5
_BRAIN_VOLUME_MM3 = 1.25e6
_BLOOD_SHARE = 0.0095
"""Microvascular blood volume of brain tissue, large vessels and red cells left out (with them 4 to 5 %)."""

_CORTEX_FROM = 0.86
_CORTEX_TO_WHITE = 2.2
"""Blood volume of cortex over that of white matter."""


@dataclass(frozen=True)
class Tissue:
    """Points of equal blood volume spread through the brain.

    ``terminals`` are the (M,) arterial end nodes that feed tissue; ``owner`` (P,) indexes into them; ``share`` (M,) is
    the part of the whole brain each one feeds and adds up to 1.
    """

    position_mm: npt.NDArray[np.float64]
    owner: npt.NDArray[np.intp]
    terminals: npt.NDArray[np.intp]
    share: npt.NDArray[np.float64]


def brain_tissue(
    arteries: VesselTree,
    feeds_brain: npt.NDArray[np.bool_],
    centre_mm: npt.NDArray[np.float64],
    radii_mm: npt.NDArray[np.float64],
    seed: int,
) -> Tissue:
    """Fill cerebrum and cerebellum with points, denser in gyri than in sulci and white matter, and share them out.

    A point belongs to the nearest fine end on its own side of the midline.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xB1]))
    scale = radii_mm / np.array([63.0, 82.0, 61.0])
    points = _cerebrum(rng, int(0.87 * _POINTS), centre_mm, radii_mm)
    cerebellum = _in_ellipsoid(rng, _POINTS - len(points), 0.95) * CEREBELLUM_RADII_MM + CEREBELLUM_CENTRE_MM
    points = np.vstack([points, cerebellum * scale])
    terminals = np.flatnonzero((arteries.terminal_flow > 0) & feeds_brain)
    place = arteries.position_mm[terminals]
    across = 14.0  # a wall between the hemispheres, mm
    tree = cKDTree(np.column_stack([place, across * np.sign(place[:, 0])]))
    _, owner = tree.query(np.column_stack([points, across * np.sign(points[:, 0])]))
    share = np.bincount(owner, minlength=len(terminals)) / len(points)
    return Tissue(points, owner, terminals, share)


class Blush:
    """Projection of the tissue fed by each terminal artery onto a coarse grid."""

    def __init__(self, tissue: Tissue, view: ViewGeometry) -> None:
        self.tissue = tissue
        h, w = view.shape
        self._cell_px = max(1, round(_CELL_MM / view.isocentre_spacing_mm))
        self._grid = (-(-h // self._cell_px), -(-w // self._cell_px))
        self._rows = _upsampling(self._grid[0], h, self._cell_px)
        self._columns = _upsampling(self._grid[1], w, self._cell_px)
        self._matrix = self._project(view)

    def render(self, concentration: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Iodine of the blush, (T, H, W) in mm x the unit of ``concentration`` (M, T)."""
        frames = np.asarray(self._matrix @ concentration.astype(np.float32)).T.reshape(-1, *self._grid)
        soft = gaussian_filter(frames, (0, _SOFTNESS_CELLS, _SOFTNESS_CELLS), mode="constant")
        return np.matmul(np.matmul(self._rows, soft), self._columns.T)

    def missing_share(self, blocked: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(H, W) share of the tissue per pixel that belongs to ``blocked`` (M,) terminals, 0 outside the brain."""
        both = self.render(np.column_stack([blocked, np.ones(len(self.tissue.terminals))]))
        floor = 0.02 * max(float(both[1].max()), 1e-9)
        return np.where(both[1] > floor, both[0] / np.maximum(both[1], floor), 0).astype(np.float32)

    def _project(self, view: ViewGeometry) -> sp.csr_matrix:
        tissue = self.tissue
        where, magnification = view.project(tissue.position_mm)
        cell = (where + 0.5) / self._cell_px - 0.5
        cell_mm = view.detector_pitch_mm * self._cell_px / magnification
        path_mm = _BRAIN_VOLUME_MM3 * _BLOOD_SHARE / len(where) / cell_mm**2
        low = np.floor(cell).astype(np.intp)
        rest = cell - low
        rows, columns, values = [], [], []
        for dr in (0, 1):
            for dc in (0, 1):
                r, c = low[:, 0] + dr, low[:, 1] + dc
                weight = np.abs(1 - dr - rest[:, 0]) * np.abs(1 - dc - rest[:, 1]) * path_mm
                seen = (r >= 0) & (r < self._grid[0]) & (c >= 0) & (c < self._grid[1])
                rows.append((r * self._grid[1] + c)[seen])
                columns.append(tissue.owner[seen])
                values.append(weight[seen])
        data = np.concatenate(values).astype(np.float32)
        size = (self._grid[0] * self._grid[1], len(tissue.terminals))
        return sp.csr_matrix((data, (np.concatenate(rows), np.concatenate(columns))), shape=size)


def _cerebrum(
    rng: np.random.Generator, count: int, centre: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Points in the upper brain, thinned in white matter and in sulci."""
    unit = _in_ellipsoid(rng, 5 * count, 0.985)
    points = centre + unit * radii
    depth = np.linalg.norm(unit, axis=1)
    folds = WanderField(rng, (9, 22), 20)(points)[:, 0]
    keep = np.where(depth > _CORTEX_FROM, 0.5 + 0.5 * np.tanh(1.5 * folds), 1 / _CORTEX_TO_WHITE)
    under = (unit[:, 2] < -0.62) | ((unit[:, 2] < -0.3) & (np.abs(unit[:, 0]) < 0.25) & (unit[:, 1] < 0.5))
    chosen = points[(rng.random(len(points)) < keep) & ~under]
    return chosen[:count]


def _in_ellipsoid(rng: np.random.Generator, count: int, outer: float) -> npt.NDArray[np.float64]:
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * outer * rng.random((count, 1)) ** (1 / 3)


def _upsampling(cells: int, pixels: int, cell_px: int) -> npt.NDArray[np.float32]:
    """(pixels, cells) linear interpolation from cell centres to pixel centres."""
    position = np.clip((np.arange(pixels) + 0.5) / cell_px - 0.5, 0, cells - 1)
    low = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    rest = (position - low).astype(np.float32)
    matrix = np.zeros((pixels, cells), np.float32)
    matrix[np.arange(pixels), low] = 1 - rest
    if cells > 1:
        matrix[np.arange(pixels), low + 1] += rest
    return matrix
