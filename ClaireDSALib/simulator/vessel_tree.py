"""A tree of vessels: positions, radii, who feeds whom, and which named segment each node belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["artery", "vein"]

LEFT, MIDLINE, RIGHT = 1, 0, -1
"""Signs of ``VesselTree.side``: the sign of x in the head frame."""

ARTERY_SEGMENTS = (
    "AO", "BCT", "SCA_SUB", "CCA", "ICA_C1", "ICA", "OPHTHALMIC", "PCOM", "ACHA",
    "A1", "ACOM", "A2", "A3", "M1", "M2S", "M2I", "M2T", "M3", "M4", "LSA",
    "VA", "BA", "P1", "P2", "P3", "SCA", "AICA", "PICA", "PONTINE", "SPINAL",
    "ECA", "THYROID", "LINGUAL", "FACIAL", "OCCIPITAL", "ASCENDING", "MAXILLARY", "MMA", "STA",
    "ILIAC", "FEMORAL", "PROFUNDA",
)  # fmt: skip
"""Names of arterial segments; ``VesselTree.segment`` holds indices into this tuple."""

VEIN_SEGMENTS = (
    "SSS", "TS", "SIGMOID", "JUGULAR", "STRAIGHT", "GALEN", "ICV", "THALAMOSTRIATE", "BVR",
    "CORTICAL", "TROLARD", "LABBE", "SMCV", "CAVERNOUS", "IPS", "PTERYGOID", "FACIAL_V", "FEMORAL_V",
)  # fmt: skip
"""Names of venous segments."""

TERRITORY = {
    "A1": "ACA", "A2": "ACA", "A3": "ACA", "ACOM": "ACA",
    "M1": "MCA", "M2S": "MCA", "M2I": "MCA", "M2T": "MCA", "M3": "MCA", "M4": "MCA", "LSA": "MCA",
    "P1": "PCA", "P2": "PCA", "P3": "PCA",
    "SCA": "CEREBELLUM", "AICA": "CEREBELLUM", "PICA": "CEREBELLUM", "PONTINE": "BRAINSTEM", "BA": "BRAINSTEM",
}  # fmt: skip
"""Cerebral territory fed by a segment; segments not named here feed none."""

_WIDEST_END_MM = 0.45
_HIDES_ORIGINS_MM = 0.6
_END_RADII_MM = (0.05, 0.15)
"""Ends fade out to nothing in the picture, so their drawn radius says little: compress its range."""


@dataclass(frozen=True)
class VesselTree:
    """Vessels as a forest, parents before children.

    Parameters
    ----------
    position_mm : (N, 3) ndarray of float
        Head frame (LPS).
    radius_mm : (N,) ndarray of float
        Inner radius, positive.
    parent : (N,) ndarray of int
        Index of the neighbour nearer the root, -1 for a root; always smaller than the own index. Blood flows from
        parent to child in arteries and from child to parent in veins.
    segment : (N,) ndarray of int
        Index into ``ARTERY_SEGMENTS`` or ``VEIN_SEGMENTS``: the edge from the parent to the node.
    side : (N,) ndarray of int
        1 left, -1 right, 0 midline.
    kind : "artery" or "vein"

    Raises
    ------
    ValueError
        When lengths differ, a radius is not positive or a parent does not come before its child.
    """

    position_mm: npt.NDArray[np.floating]
    radius_mm: npt.NDArray[np.floating]
    parent: npt.NDArray[np.integer]
    segment: npt.NDArray[np.integer]
    side: npt.NDArray[np.integer]
    kind: Kind = "artery"

    def __post_init__(self) -> None:
        n = len(self.parent)
        if self.position_mm.shape != (n, 3) or {len(self.radius_mm), len(self.segment), len(self.side)} != {n}:
            msg = f"every array needs one entry per node ({n}); got positions {self.position_mm.shape}"
            raise ValueError(msg)
        if not np.all(np.isfinite(self.position_mm)) or not np.all(self.radius_mm > 0):
            msg = f"positions must be finite and radii positive; smallest radius {np.min(self.radius_mm)} mm"
            raise ValueError(msg)
        if np.any(self.parent >= np.arange(n)) or np.any(self.parent < -1):
            msg = "every parent must come before its child; sort the nodes from the root outwards"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def segment_names(self) -> tuple[str, ...]:
        """Names that ``segment`` indexes."""
        return ARTERY_SEGMENTS if self.kind == "artery" else VEIN_SEGMENTS

    @cached_property
    def edge_length_mm(self) -> npt.NDArray[np.float64]:
        """(N,) distance to the parent; 0 for roots."""
        length = np.zeros(len(self))
        child = self.parent >= 0
        length[child] = np.linalg.norm(self.position_mm[child] - self.position_mm[self.parent[child]], axis=1)
        return length

    @cached_property
    def child_count(self) -> npt.NDArray[np.intp]:
        """(N,) number of children."""
        return np.bincount(self.parent[self.parent >= 0], minlength=len(self))

    @cached_property
    def is_terminal(self) -> npt.NDArray[np.bool_]:
        """(N,) nodes without children."""
        return self.child_count == 0

    @cached_property
    def terminal_flow(self) -> npt.NDArray[np.float64]:
        """(N,) relative flow through fine ends, proportional to radius squared; 0 elsewhere.

        Wide ends are communicating arteries or cut vessels and feed no tissue.
        """
        fine = self.is_terminal & (self.radius_mm < _WIDEST_END_MM)
        return np.where(fine, np.clip(self.radius_mm, *_END_RADII_MM) ** 2, 0.0)

    @cached_property
    def main_child(self) -> npt.NDArray[np.intp]:
        """(N,) the widest child, which continues the vessel; -1 for terminals."""
        main = np.full(len(self), -1, np.intp)
        order = np.argsort(self.radius_mm, kind="stable")
        order = order[self.parent[order] >= 0]
        main[self.parent[order]] = order
        return main

    @cached_property
    def inside_other(self) -> npt.NDArray[np.bool_]:
        """(N,) first nodes of branches that still lie inside the wider vessel they leave: not to be counted twice."""
        inside = np.zeros(len(self), bool)
        main, parent = self.main_child, self.parent
        branch = np.flatnonzero(parent >= 0)
        branch = branch[(main[parent[branch]] != branch) & (self.radius_mm[parent[branch]] > _HIDES_ORIGINS_MM)]
        for node in branch.tolist():
            # A neighbour of like calibre may be empty while the branch is filled: only a true trunk hides it.
            trunk = [t for t in self._stretch(int(parent[node])) if self.radius_mm[t] > 1.2 * self.radius_mm[node]]
            if not trunk:
                continue
            place, reach = self.position_mm[trunk], 0.9 * self.radius_mm[trunk]
            while node >= 0:
                distance = np.linalg.norm(place - self.position_mm[node], axis=1)
                nearest = int(np.argmin(distance))
                if distance[nearest] >= reach[nearest] or nearest == len(trunk) - 1:  # outside, or past its end
                    break
                inside[node] = True
                node = int(main[node])
        return inside

    def _stretch(self, node: int) -> list[int]:
        """The vessel around a node: a few nodes back and many ahead."""
        back = [node]
        for _ in range(8):
            if self.parent[back[-1]] >= 0:
                back.append(int(self.parent[back[-1]]))
        ahead = [node]
        for _ in range(30):
            if self.main_child[ahead[-1]] >= 0:
                ahead.append(int(self.main_child[ahead[-1]]))
        return back[:0:-1] + ahead

    @cached_property
    def _tour(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Depth-first numbering: (rank, number of nodes at or below, depth in edges) of every node.

        With it, sums along paths and over subtrees are single cumulative sums instead of walks.
        """
        n = len(self)
        parent = self.parent.tolist()
        size, rank, depth = [1] * n, [0] * n, [0] * n
        for node in range(n - 1, -1, -1):
            if parent[node] >= 0:
                size[parent[node]] += size[node]
        free = [0] * n
        next_root = 0
        for node in range(n):
            p = parent[node]
            if p < 0:
                rank[node] = next_root
                next_root += size[node]
            else:
                rank[node] = free[p]
                free[p] += size[node]
                depth[node] = depth[p] + 1
            free[node] = rank[node] + 1
        return np.array(rank, np.intp), np.array(size, np.intp), np.array(depth, np.intp)

    def path_sum(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N,) sum of ``values`` over the nodes from the root to each node, both included."""
        rank, size, depth = self._tour
        steps = np.zeros(2 * len(self))
        enter = 2 * rank - depth
        steps[enter] = values
        steps[enter + 2 * size - 1] = -np.asarray(values, np.float64)
        return np.cumsum(steps)[enter]

    def subtree_sum(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(N,) sum of ``values`` over each node and everything further from the root."""
        rank, size, _ = self._tour
        ordered = np.zeros(len(self) + 1)
        ordered[rank + 1] = values
        total = np.cumsum(ordered)
        return total[rank + size] - total[rank]

    def select(self, *names: str, side: int | None = None) -> npt.NDArray[np.bool_]:
        """(N,) nodes of the named segments, of one side when asked."""
        codes = [self.segment_names.index(name) for name in names]
        chosen = np.isin(self.segment, codes)
        return chosen if side is None else chosen & (self.side == side)

    def downstream(self, node: int) -> npt.NDArray[np.bool_]:
        """(N,) ``node`` and everything further from the root."""
        rank, size, _ = self._tour
        return (rank >= rank[node]) & (rank < rank[node] + size[node])

    def path_to_root(self, node: int) -> npt.NDArray[np.intp]:
        """(K,) nodes from the root to ``node``."""
        path = [node]
        while self.parent[path[-1]] >= 0:
            path.append(int(self.parent[path[-1]]))
        return np.array(path[::-1], np.intp)
