"""Cut every edge of a tree into short pieces of nearly one pixel: the columns of the projection matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .vessel_tree import VesselTree


@dataclass(frozen=True)
class Samples:
    """Short vessel pieces, each a little cylinder.

    ``edge`` is the node at the far end of the piece's edge and ``fraction`` how far along the edge, 0 to 1, the middle
    of the piece lies: any quantity of the nodes can be carried to the pieces with :meth:`carry`.
    """

    position_mm: npt.NDArray[np.float64]
    half_step_mm: npt.NDArray[np.float64]
    """(N, 3) vector from the middle to the far end of the piece."""
    radius_mm: npt.NDArray[np.float64]
    edge: npt.NDArray[np.intp]
    parent: npt.NDArray[np.intp]
    fraction: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.edge)

    def node_weights(self, nodes: int) -> sp.csr_matrix:
        """(N, nodes) linear interpolation from nodes to pieces."""
        rows = np.concatenate([np.arange(len(self))] * 2)
        columns = np.concatenate([self.parent, self.edge])
        values = np.concatenate([1 - self.fraction, self.fraction]).astype(np.float32)
        return sp.csr_matrix((values, (rows, columns)), shape=(len(self), nodes))


def resample(
    tree: VesselTree, step_mm: float | npt.NDArray[np.floating], edges: npt.NDArray[np.bool_] | None = None
) -> Samples:
    """Cut the edges that end at the chosen nodes into pieces no longer than ``step_mm``.

    Parameters
    ----------
    tree : VesselTree
    step_mm : float or (N,) ndarray
        One step for all, or one per node.
    edges : (N,) bool ndarray or None
        Which nodes' incoming edges; None for all.

    Returns
    -------
    Samples
        The first edge of a branch starts with the branch's own radius, not with that of the parent vessel, so that
        a thin branch does not flare at its origin.
    """
    wanted = tree.parent >= 0
    if edges is not None:
        wanted = wanted & edges
    child = np.flatnonzero(wanted)
    parent = tree.parent[child].astype(np.intp)
    step = np.broadcast_to(step_mm, len(tree))[child]
    pieces = np.maximum(1, np.ceil(tree.edge_length_mm[child] / step)).astype(np.intp)
    index = np.repeat(np.arange(len(child)), pieces)
    within = np.arange(len(index)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    fraction = (within + 0.5) / pieces[index]
    position, velocity = _along_cubic(tree, parent, child, index, fraction)
    first_radius = np.minimum(tree.radius_mm[parent], 1.15 * tree.radius_mm[child])
    radius = first_radius[index] * (1 - fraction) + tree.radius_mm[child][index] * fraction
    half_step = 0.5 * velocity / pieces[index][:, None]
    return Samples(position, half_step, radius, child[index], parent[index], fraction)


def _along_cubic(
    tree: VesselTree,
    parent: npt.NDArray[np.intp],
    child: npt.NDArray[np.intp],
    index: npt.NDArray[np.intp],
    fraction: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Position and derivative on the cubic through the two ends whose tangents follow the vessel on either side."""
    before, after = tree.parent, tree.main_child
    position = tree.position_mm
    edge = position[child] - position[parent]
    continues = after[parent] == child
    has_before = continues & (before[parent] >= 0)
    start_tangent = np.where(has_before[:, None], 0.5 * (edge + position[parent] - position[before[parent]]), edge)
    has_after = after[child] >= 0
    end_tangent = np.where(has_after[:, None], 0.5 * (edge + position[after[child]] - position[child]), edge)
    length = np.linalg.norm(edge, axis=1, keepdims=True)
    start_tangent, end_tangent = (
        t * np.minimum(1.0, 1.5 * length / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-9))
        for t in (start_tangent, end_tangent)
    )
    u = fraction[:, None]
    a, d, t0, t1 = (x[index] for x in (position[parent], edge, start_tangent, end_tangent))
    where = a + (3 * u**2 - 2 * u**3) * d + (u**3 - 2 * u**2 + u) * t0 + (u**3 - u**2) * t1
    velocity = (6 * u - 6 * u**2) * d + (3 * u**2 - 4 * u + 1) * t0 + (3 * u**2 - 2 * u) * t1
    return where, velocity
