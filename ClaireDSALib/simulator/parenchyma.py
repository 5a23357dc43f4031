"""The capillary blush: each terminal artery feeds a patch of cortex and white matter, seen as a soft cloud."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from .geometry import ViewGeometry
from .vessel_tree import VesselTree

_CELL_MM = 2.2
"""Side of a cell of the coarse grid, at the isocentre."""

_PATCHES = 14
_PATCH_SPREAD_MM = 6.0
_SOFTNESS_CELLS = 1.35
_BRAIN_VOLUME_MM3 = 1.25e6
_BLOOD_SHARE = 0.032
"""Microvascular blood volume of brain tissue (Leenders 1990: about 4 ml per 100 ml with larger vessels)."""


class Blush:
    """Projection of the parenchyma fed by each terminal artery onto a coarse grid.

    Parameters
    ----------
    arteries : VesselTree
    terminals : (M,) ndarray of int
        Terminal nodes that feed brain.
    view : ViewGeometry
    centre_mm : (3,) ndarray
        Middle of the brain; patches reach from the surface towards it.
    rng : Generator
        Texture of gyri and sulci; seed it by the anatomy, so that all views agree.
    """

    def __init__(
        self,
        arteries: VesselTree,
        terminals: npt.NDArray[np.intp],
        view: ViewGeometry,
        centre_mm: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self.terminals = terminals
        h, w = view.shape
        cells = max(1, round(_CELL_MM / view.isocentre_spacing_mm))
        self._grid = (-(-h // cells), -(-w // cells))
        self._cell_px = cells
        self._shape = view.shape
        weight = arteries.terminal_flow[terminals]
        self.volume_mm3 = _BRAIN_VOLUME_MM3 * weight / weight.sum()
        self._project(arteries.position_mm[terminals], view, centre_mm, rng)

    def render(self, concentration: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Iodine of the blush, (T, H, W) in mm x the unit of ``concentration`` (M, T)."""
        coarse = self._coarse(concentration)
        rows = _upsampling(self._grid[0], self._shape[0], self._cell_px)
        columns = _upsampling(self._grid[1], self._shape[1], self._cell_px)
        return np.matmul(np.matmul(rows, coarse), columns.T)

    def missing_share(self, blocked: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """(H, W) share of the blush's volume per pixel that belongs to ``blocked`` (M,) terminals, 0 where no brain."""
        both = self.render(np.column_stack([blocked, np.ones(len(self.terminals))]).astype(np.float32))
        floor = 0.02 * max(float(both[1].max()), 1e-9)
        return np.where(both[1] > floor, both[0] / np.maximum(both[1], floor), 0).astype(np.float32)

    def _coarse(self, concentration: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        frames = np.asarray(self._matrix @ concentration).T.reshape(-1, *self._grid)
        return gaussian_filter(frames, (0, _SOFTNESS_CELLS, _SOFTNESS_CELLS), mode="constant").astype(np.float32)

    def _project(
        self,
        ends: npt.NDArray[np.float64],
        view: ViewGeometry,
        centre: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        count = len(ends)
        owner = np.repeat(np.arange(count), _PATCHES)
        inward = rng.uniform(0.62, 1.0, (len(owner), 1))
        place = centre + (ends[owner] - centre) * inward + rng.normal(0, _PATCH_SPREAD_MM, (len(owner), 3))
        share = rng.lognormal(0, 0.8, len(owner))
        share /= np.bincount(owner, share, count)[owner]
        where, magnification = view.project(place)
        cell = (where + 0.5) / self._cell_px - 0.5
        pixel_mm = view.detector_pitch_mm * self._cell_px / magnification
        path_mm = (share * self.volume_mm3[owner] * _BLOOD_SHARE / pixel_mm**2)[:, None]
        low = np.floor(cell).astype(np.intp)
        rest = cell - low
        rows, columns, values = [], [], []
        for dr in (0, 1):
            for dc in (0, 1):
                r, c = low[:, 0] + dr, low[:, 1] + dc
                weight = np.abs(1 - dr - rest[:, 0]) * np.abs(1 - dc - rest[:, 1])
                seen = (r >= 0) & (r < self._grid[0]) & (c >= 0) & (c < self._grid[1])
                rows.append((r * self._grid[1] + c)[seen])
                columns.append(owner[seen])
                values.append((weight * path_mm[:, 0])[seen])
        data = np.concatenate(values).astype(np.float32)
        index = (np.concatenate(rows), np.concatenate(columns))
        self._matrix = sp.csr_matrix((data, index), shape=(self._grid[0] * self._grid[1], count))


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
