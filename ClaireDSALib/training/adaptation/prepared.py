"""Pictures as a network sees them, kept small in memory, and their random small movements."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.augment import plain
from ClaireDSALib.training.samples import LabelledPictures

ANGLE_DEG, SCALE, SHIFT = 6.0, 0.04, 0.03
"""Largest random rotation, zoom and shift (share of the side), as in training; none of them changes a label."""
VECTOR_NOISE = 0.05
"""Deviation of the noise on vectors, relative."""


@dataclass(frozen=True)
class Prepared:
    """Pictures of one domain, ready for a network.

    Parameters
    ----------
    images : (N, C, S, S) uint8 ndarray
        Views times 255; a quarter of the memory of floats, and finer than any picture's noise.
    targets : (N, L) int64 ndarray
        Class index per label, -1 where unknown.
    patients : (N,) str ndarray
    """

    images: npt.NDArray[np.generic]
    targets: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> npt.NDArray[np.int64]:
        """Indices of pictures with at least one known label."""
        return np.flatnonzero((self.targets >= 0).any(axis=1))

    def subset(self, indices: npt.NDArray[np.integer]) -> Prepared:
        """The pictures at some indices."""
        return replace(
            self, images=self.images[indices], targets=self.targets[indices], patients=self.patients[indices]
        )

    def tensor(self, indices: npt.NDArray[np.integer]) -> torch.Tensor:
        """Pictures ``(B, C, S, S)`` float32, 0 to 1."""
        return torch.from_numpy(self.images[indices].astype(np.float32) / 255)

    def moved(self, indices: npt.NDArray[np.integer], generator: torch.Generator) -> torch.Tensor:
        """Pictures as training sees them, each turned, zoomed and moved a little."""
        return jittered(self.tensor(indices), generator)


@dataclass(frozen=True)
class Vectors(Prepared):
    """What a fixed backbone makes of pictures, in place of the pictures: ``images`` is (N, F) float32."""

    def tensor(self, indices: npt.NDArray[np.integer]) -> torch.Tensor:
        """Vectors ``(B, F)``."""
        return torch.from_numpy(np.asarray(self.images[indices], np.float32))

    def moved(self, indices: npt.NDArray[np.integer], generator: torch.Generator) -> torch.Tensor:
        """Vectors with a little noise: a small head on fixed features learns them by heart."""
        vectors = self.tensor(indices)
        return vectors * (1 + VECTOR_NOISE * torch.randn(vectors.shape, generator=generator))


def prepare_pictures(pictures: LabelledPictures, spec: InputSpec) -> Prepared:
    """Views of cached pictures, as at inference up to rounding to 8 bits."""
    side, views = spec.size_px, len(spec.views)
    images = np.empty((len(pictures), views, side, side), np.uint8)
    for k, image in enumerate(pictures.images):
        images[k] = np.round(255 * plain(image, spec))
    return Prepared(images, pictures.targets, pictures.patients)


def jittered(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each picture of ``(B, C, S, S)`` turned, zoomed and moved a little; edges are continued."""
    n = len(batch)

    def spread(limit: float) -> torch.Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * limit

    angle, zoom = spread(float(np.deg2rad(ANGLE_DEG))), 1 + spread(SCALE)
    rows = [torch.cos(angle) * zoom, -torch.sin(angle) * zoom, 2 * spread(SHIFT)]
    columns = [torch.sin(angle) * zoom, torch.cos(angle) * zoom, 2 * spread(SHIFT)]
    matrix = torch.stack([torch.stack(rows, 1), torch.stack(columns, 1)], 1)
    grid = functional.affine_grid(matrix, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
