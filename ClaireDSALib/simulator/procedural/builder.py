"""Collects paths into a tree."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from ..vessel_tree import ARTERY_SEGMENTS, VEIN_SEGMENTS, Kind, VesselTree
from .curves import Points, WanderField, spline

_WANDER_FADE_PER_NODE = 0.16
"""Share of the wander amplitude gained or lost from one node to the next: keeps junctions smooth."""

MIN_RADIUS_MM = 0.04


class TreeBuilder:
    """Append-only tree; every method that adds returns node numbers.

    Each path carries its own wander amplitude: how far, in mm, random tortuosity may push it in the end.
    """

    def __init__(self, kind: Kind = "artery") -> None:
        self.kind: Kind = kind
        self._names = ARTERY_SEGMENTS if kind == "artery" else VEIN_SEGMENTS
        self._position: list[Points] = []
        self._radius: list[npt.NDArray[np.float64]] = []
        self._parent: list[npt.NDArray[np.intp]] = []
        self._segment: list[npt.NDArray[np.int16]] = []
        self._side: list[npt.NDArray[np.int8]] = []
        self._wander: list[npt.NDArray[np.float64]] = []
        self._starts: list[int] = []
        self._count = 0
        self._flat: Points = np.empty((4096, 3))
        self._flat_radius = np.empty(4096)

    def __len__(self) -> int:
        return self._count

    def position(self, node: int) -> Points:
        """(3,) position of one node."""
        return self._flat[node].copy()

    def radius(self, node: int) -> float:
        return float(self._flat_radius[node])

    def segment_name(self, node: int) -> str:
        """Name of the segment that a node belongs to."""
        return self._names[int(self._segment[bisect_right(self._starts, node) - 1][0])]

    def nodes_of(self, segment: str, side: int) -> npt.NDArray[np.intp]:
        """Numbers of all nodes of one segment and side so far."""
        code = self._names.index(segment)
        found = (np.concatenate(self._segment) == code) & (np.concatenate(self._side) == side)
        return np.flatnonzero(found)

    def direction(self, nodes: npt.NDArray[np.intp], index: int) -> Points:
        """Unit direction along a path at one of its nodes."""
        a = max(0, index - 2) if index >= 0 else index - 2
        step = self._flat[nodes[index]] - self._flat[nodes[a]]
        return step / max(float(np.linalg.norm(step)), 1e-9)

    def add_points(
        self,
        points_mm: Points,
        radius_mm: npt.NDArray[np.float64],
        segment: str,
        side: int,
        parent: int = -1,
        wander_mm: float = 0.0,
    ) -> npt.NDArray[np.intp]:
        """Append a polyline that continues from ``parent`` (not repeated in ``points_mm``)."""
        n = len(points_mm)
        ids = np.arange(self._count, self._count + n, dtype=np.intp)
        parents = ids - 1
        parents[0] = parent
        self._position.append(np.asarray(points_mm, np.float64))
        self._radius.append(np.maximum(radius_mm, MIN_RADIUS_MM))
        self._parent.append(parents)
        self._segment.append(np.full(n, self._names.index(segment), np.int16))
        self._side.append(np.full(n, side, np.int8))
        self._wander.append(np.full(n, wander_mm))
        self._starts.append(self._count)
        self._count += n
        while self._count > len(self._flat):
            self._flat = np.vstack([self._flat, np.empty_like(self._flat)])
            self._flat_radius = np.concatenate([self._flat_radius, np.empty_like(self._flat_radius)])
        self._flat[ids] = points_mm
        self._flat_radius[ids] = self._radius[-1]
        return ids

    def add_path(
        self,
        control_mm: npt.ArrayLike,
        radii_mm: tuple[float, ...],
        segment: str,
        side: int,
        parent: int = -1,
        wander_mm: float = 0.0,
        step_mm: float = 1.0,
    ) -> npt.NDArray[np.intp]:
        """Append a spline through control points; ``radii_mm`` are spread evenly along it.

        With a parent the curve starts at the parent's position, which must not be among the control points.
        The returned ids then start with the parent.
        """
        control = np.asarray(control_mm, np.float64)
        if parent >= 0:
            control = np.vstack([self.position(parent), control])
        points = spline(control, step_mm)
        radius = np.interp(np.linspace(0, 1, len(points)), np.linspace(0, 1, len(radii_mm)), radii_mm)
        if parent < 0:
            return self.add_points(points, radius, segment, side, -1, wander_mm)
        ids = self.add_points(points[1:], radius[1:], segment, side, parent, wander_mm)
        return np.concatenate([[parent], ids])

    def finish(self, wander: WanderField | None = None, fine_wander: WanderField | None = None) -> VesselTree:
        """Apply the wandering and freeze.

        Parameters
        ----------
        wander, fine_wander : WanderField or None
            Long and short wavelengths; the short ones get 0.45 of the amplitude.
        """
        position = np.concatenate(self._position)
        parent = np.concatenate(self._parent)
        amplitude = _fade(np.concatenate(self._wander), parent)[:, None]
        radius = np.concatenate(self._radius)
        position = _smooth(position, parent, radius)
        moved = position.copy()
        if wander is not None:
            moved += amplitude * wander(position)
        if fine_wander is not None:
            moved += 0.45 * amplitude * fine_wander(position)
        return VesselTree(
            position_mm=moved,
            radius_mm=radius,
            parent=parent,
            segment=np.concatenate(self._segment),
            side=np.concatenate(self._side),
            kind=self.kind,
        )


_SMOOTHING_PASSES = 3


def _smooth(position: Points, parent: npt.NDArray[np.intp], radius: npt.NDArray[np.float64]) -> Points:
    """Round off junctions: average every node with its neighbours along the vessel."""
    main = np.full(len(parent), -1, np.intp)
    order = np.argsort(radius, kind="stable")
    order = order[parent[order] >= 0]
    main[parent[order]] = order
    inner = np.flatnonzero((parent >= 0) & (main >= 0))
    before, after = parent[inner], main[inner]
    # A branch starts on its parent vessel but leaves at its own angle: its first node is not drawn into the parent.
    inner_main = main[before] == inner
    inner, before, after = inner[inner_main], before[inner_main], after[inner_main]
    for _ in range(_SMOOTHING_PASSES):
        position[inner] = 0.5 * position[inner] + 0.25 * (position[before] + position[after])
    return position


def _fade(amplitude: npt.NDArray[np.float64], parent: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Let the amplitude change only gradually from parent to child."""
    out = amplitude.tolist()
    for node, p in enumerate(parent.tolist()):
        before = out[p] if p >= 0 else 0.0
        room = _WANDER_FADE_PER_NODE * max(amplitude[node], before, 0.3)
        out[node] = min(max(out[node], before - room), before + room)
    return np.asarray(out)
