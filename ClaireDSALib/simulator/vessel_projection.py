"""Vessels of one tree seen in one view, in blocks that are projected when first needed and then kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .geometry import ViewGeometry
from .resample import resample
from .splat import projection_matrix
from .vessel_tree import VesselTree

_STEP_PX = 0.75
_MARGIN_PX = 12.0

_BLOCKS = {
    "ICA": ("ICA_C1", "ICA", "OPHTHALMIC", "PCOM", "ACHA", "A1", "ACOM", "M1", "M2S", "M2I", "M2T", "M3", "M4", "LSA"),
    "ACA": ("A2", "A3"),
    "VA": ("VA", "SPINAL", "PICA"),
    "BA": ("BA", "P1", "SCA", "AICA", "PONTINE"),
    "PCA": ("P2", "P3"),
    "ECA": ("ECA", "LINGUAL", "FACIAL", "OCCIPITAL", "ASCENDING", "MAXILLARY", "MMA", "STA"),
    "CCA": ("CCA",),
    "ARCH": ("AO", "BCT", "SCA_SUB", "THYROID"),
}  # fmt: skip
"""Segments that are usually filled together; one block per side."""


@dataclass(frozen=True)
class _Block:
    """Rows and columns of the projection that are not empty."""

    pixels: npt.NDArray[np.intp]
    nodes: npt.NDArray[np.intp]
    matrix: sp.csr_matrix


class VesselProjection:
    """Projection of a tree: millimetres of vessel per pixel for every node, each node standing for half its edges."""

    def __init__(self, tree: VesselTree, view: ViewGeometry) -> None:
        self.tree = tree
        self.view = view
        self._block_of_node = _block_numbers(tree)
        self._visible = _near_picture(tree, view)
        self._blocks: dict[int, _Block] = {}

    def add_to(self, image: npt.NDArray[np.float32], values: npt.NDArray[np.float32], scale: float = 1.0) -> None:
        """Add ``scale * S @ values`` to ``image``.

        Parameters
        ----------
        image : (T, H * W) float32 ndarray
        values : (N, T) float32 ndarray
            One row per node of the tree.
        """
        for number in self._needed(values):
            block = self._block(int(number))
            if len(block.pixels):
                image[:, block.pixels] += scale * (block.matrix @ values[block.nodes]).T

    def thickness_mm(self, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """(H, W) path through the vessels whose nodes are ``shown``."""
        image = np.zeros((1, self.view.shape[0] * self.view.shape[1]), np.float32)
        self.add_to(image, shown.astype(np.float32)[:, None])
        return image.reshape(self.view.shape)

    def _needed(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        return np.unique(self._block_of_node[values.any(1) & self._visible])

    def _block(self, number: int) -> _Block:
        if number not in self._blocks:
            self._blocks[number] = self._project(number)
        return self._blocks[number]

    def _project(self, number: int) -> _Block:
        tree = self.tree
        edges = (self._block_of_node == number) & self._visible & ~tree.inside_other
        step = self.view.isocentre_spacing_mm * _STEP_PX
        pieces = resample(tree, step, edges)
        nodes, inverse = np.unique(np.concatenate([pieces.parent, pieces.edge]), return_inverse=True)
        weights = pieces.node_weights(len(tree))[:, nodes] if len(pieces) else sp.csr_matrix((0, 0), dtype=np.float32)
        del inverse
        full = projection_matrix(pieces, self.view)
        pixels = np.flatnonzero(np.diff(full.indptr))
        return _Block(pixels, nodes, (full[pixels] @ weights).tocsr())


def _block_numbers(tree: VesselTree) -> npt.NDArray[np.intp]:
    names = tree.segment_names
    family = np.zeros(len(names), np.intp)
    for number, members in enumerate(_BLOCKS.values(), start=1):
        for member in members:
            if member in names:
                family[names.index(member)] = number
    return 3 * family[tree.segment] + tree.side + 1


def _near_picture(tree: VesselTree, view: ViewGeometry) -> npt.NDArray[np.bool_]:
    where, _ = view.project(tree.position_mm)
    margin = _MARGIN_PX + tree.radius_mm / view.isocentre_spacing_mm * 2
    size = np.array(view.shape)
    return np.all((where > -margin[:, None]) & (where < size - 1 + margin[:, None]), axis=1)
