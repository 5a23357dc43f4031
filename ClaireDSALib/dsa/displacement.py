"""Displacements of a picture's content, and moving it back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage


class Displacement(Protocol):
    """Where the content of a picture went: ``picture(x + d(x)) = reference(x)``, pixels as (row, column)."""

    def mean_px(self) -> tuple[float, float]:
        """Mean displacement."""

    def largest_px(self) -> float:
        """Length of the largest displacement in the picture."""

    def angle_deg(self) -> float:
        """Rotation about the centre, positive from the row axis towards the column axis."""

    def scaled(self, factor: int, shape: tuple[int, ...]) -> Displacement:
        """The same for the picture of full size ``shape`` that was averaged down by ``factor``."""

    def pull(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Fetch every pixel from where it went."""


@dataclass(frozen=True)
class Rigid:
    """Translation and rotation about the centre of a picture of ``shape``."""

    shift_px: tuple[float, float]
    rotation_deg: float
    shape: tuple[int, ...]

    def mean_px(self) -> tuple[float, float]:
        return float(self.shift_px[0]), float(self.shift_px[1])

    def largest_px(self) -> float:
        reach = math.hypot(*self.shape) / 2
        return math.hypot(*self.shift_px) + reach * abs(2 * math.sin(math.radians(self.rotation_deg) / 2))

    def angle_deg(self) -> float:
        return self.rotation_deg

    def scaled(self, factor: int, shape: tuple[int, ...]) -> Rigid:
        return Rigid((self.shift_px[0] * factor, self.shift_px[1] * factor), self.rotation_deg, tuple(shape))

    def pull(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.rotation_deg == 0.0:
            return _pull_shift(_pull_shift(picture, self.shift_px[0], 0), self.shift_px[1], 1)
        angle = math.radians(self.rotation_deg)
        matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = (np.array(self.shape) - 1) / 2
        offset = centre + np.array(self.shift_px) - matrix @ centre
        return ndimage.affine_transform(picture, matrix, offset, order=3, mode="nearest", output=np.float32)


@dataclass(frozen=True)
class Field:
    """Displacement of every pixel: ``(2, h, w)`` float32, row and column, possibly on a coarser grid."""

    field_px: npt.NDArray[np.float32]

    def mean_px(self) -> tuple[float, float]:
        return float(self.field_px[0].mean()), float(self.field_px[1].mean())

    def largest_px(self) -> float:
        return float(np.hypot(self.field_px[0], self.field_px[1]).max())

    def angle_deg(self) -> float:
        """Half the mean curl of the field."""
        curl = np.gradient(self.field_px[1], axis=0) - np.gradient(self.field_px[0], axis=1)
        return float(np.rad2deg(curl.mean() / 2))

    def scaled(self, factor: int, shape: tuple[int, ...]) -> Field:
        if factor == 1 and self.field_px.shape[1:] == tuple(shape):
            return self
        rows = (np.arange(shape[0]) + 0.5) / factor - 0.5
        columns = (np.arange(shape[1]) + 0.5) / factor - 0.5
        grid = np.meshgrid(rows, columns, indexing="ij")
        full = [ndimage.map_coordinates(axis, grid, order=1, mode="nearest") for axis in self.field_px]
        return Field((np.stack(full) * factor).astype(np.float32))

    def pull(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        grid = np.indices(picture.shape, dtype=np.float32) + self.field_px
        return ndimage.map_coordinates(picture, grid, order=3, mode="nearest", output=np.float32)


def resample(picture: npt.NDArray[np.float32], displacement: Displacement) -> npt.NDArray[np.float32]:
    """Move a picture's content back to where it was in the reference: (H, W) float32."""
    return displacement.pull(np.asarray(picture, np.float32))


def _pull_shift(picture: npt.NDArray[np.float32], shift_px: float, axis: int) -> npt.NDArray[np.float32]:
    """``out[i] = picture[i + shift]`` along one axis by cubic convolution (Keys 1981), ends repeated.

    Four shifted additions of whole pictures: ten times faster than a spline, and as sharp.
    """
    whole = math.floor(shift_px)
    t = shift_px - whole
    if t == 0.0 and whole == 0:
        return picture
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    n = picture.shape[axis]
    out = np.zeros_like(picture)
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        if weight == 0.0:
            continue
        source = np.clip(np.arange(n) + whole + step, 0, n - 1)
        out += np.float32(weight) * np.take(picture, source, axis=axis)
    return out
