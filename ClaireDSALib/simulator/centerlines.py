"""Centre lines of projected vessels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .geometry import ViewGeometry
from .vessel_tree import VesselTree

_SMALLEST_RADIUS_MM = 0.12
_SHORTEST_PX = 3.0

Lines = tuple[npt.NDArray[np.float32], ...]


def projected_centerlines(tree: VesselTree, view: ViewGeometry, shown: npt.NDArray[np.bool_]) -> tuple[Lines, Lines]:
    """Follow every vessel from its origin to its end and keep what lies inside the picture.

    Parameters
    ----------
    tree : VesselTree
    view : ViewGeometry
    shown : (N,) bool ndarray

    Returns
    -------
    lines : tuple of (K, 2) float32 ndarray
        Row, column.
    radii : tuple of (K,) float32 ndarray
        Projected radius, px.
    """
    where, magnification = view.project(tree.position_mm)
    radius = tree.radius_mm * magnification / view.detector_pitch_mm
    size = np.array(view.shape)
    usable = shown & (tree.radius_mm >= _SMALLEST_RADIUS_MM) & np.all((where >= 0) & (where <= size - 1), axis=1)
    lines: list[npt.NDArray[np.float32]] = []
    radii: list[npt.NDArray[np.float32]] = []
    where32, radius32 = where.astype(np.float32), radius.astype(np.float32)
    for nodes in _vessels(tree, usable):
        line = where32[nodes]
        if np.abs(line[-1] - line[0]).sum() + np.abs(line[len(line) // 2] - line[0]).sum() >= _SHORTEST_PX:
            lines.append(line)
            radii.append(radius32[nodes])
    return tuple(lines), tuple(radii)


def _vessels(tree: VesselTree, usable: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Chains of usable nodes along the widest way, each starting with the node it branches from."""
    parent, main = tree.parent.tolist(), tree.main_child.tolist()
    good = usable.tolist()
    chains = []
    for node in np.flatnonzero(usable).tolist():
        before = parent[node]
        if before >= 0 and good[before] and main[before] == node:
            continue
        chain = [before, node] if before >= 0 and good[before] else [node]
        while main[chain[-1]] >= 0 and good[main[chain[-1]]]:
            chain.append(main[chain[-1]])
        if len(chain) > 1:
            chains.append(chain)
    return chains
