"""A run shrunk to the grid of the perfusion maps: small enough to keep, fine enough for tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.area_mean import area_mean
from ClaireDSALib.dsa.exposure_drift import without_drift
from ClaireDSALib.dsa.opacity_frames import Opacity

GRID_PX = 256
"""No side of the grid is longer: deconvolution of noise gains nothing from more pixels."""


@dataclass(frozen=True)
class SmallRun:
    """Opacity of a run on a coarse grid.

    Parameters
    ----------
    opacity : (T, h, w) float32 ndarray
        Log attenuation, contrast positive; means over blocks of ``factor`` x ``factor`` pixels.
    times_s : (T,) float64 ndarray
        Strictly increasing seconds; any frame rate.
    factor : int
        Pixels of the run along one side of a cell.
    shape : (H, W)
        Of the run.
    background : (h, w) float32 ndarray, optional
        Attenuation of the mask frame: bone, by which two runs can be laid over each other.

    Raises
    ------
    ValueError
        When the number of times differs from the number of frames, or an opacity is not finite.
    """

    opacity: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]
    factor: int = 1
    shape: tuple[int, int] = (0, 0)
    background: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.opacity.ndim != 3 or len(self.opacity) != len(self.times_s):
            msg = f"opacity must be (T, h, w) with one time per frame ({len(self.times_s)}); got {self.opacity.shape}"
            raise ValueError(msg)
        if not np.isfinite(self.opacity).all():
            msg = "the opacity of a frame is not finite; check the subtraction"
            raise ValueError(msg)
        if self.shape == (0, 0):
            object.__setattr__(self, "shape", tuple(self.factor * side for side in self.opacity.shape[1:]))

    @property
    def grid(self) -> tuple[int, int]:
        """``(h, w)``."""
        return self.opacity.shape[1], self.opacity.shape[2]

    def smoothed(self, sigma_px: float) -> npt.NDArray[np.float32]:
        """Opacity blurred in the plane, ``(T, h, w)``; ``sigma_px`` in cells of the grid."""
        opacity = np.asarray(self.opacity, np.float32)
        return ndimage.gaussian_filter(opacity, (0, sigma_px, sigma_px), mode="nearest", truncate=3.0)

    def cells_of(self, region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Cells of the grid that a region ``(H, W)`` of the run covers by more than half."""
        return area_mean(region, self.factor) > 0.5


class SmallRunBuilder:
    """Collects the frames of a run one at a time, in order, so that several steps can share one decoding.

    Parameters
    ----------
    shape : (H, W)
        Of the run.
    times_s : (T,) float64 ndarray
    """

    def __init__(self, shape: tuple[int, int], times_s: npt.NDArray[np.float64]) -> None:
        self.factor = max(1, -(-max(shape) // GRID_PX))
        self._shape = shape
        self._times_s = np.asarray(times_s, np.float64)
        self._frames: list[npt.NDArray[np.float32]] = []

    @property
    def complete(self) -> bool:
        """True when every frame has been added."""
        return len(self._frames) == len(self._times_s)

    def add(self, opacity: Opacity) -> None:
        """Take the next frame ``(H, W)``."""
        self._frames.append(area_mean(opacity, self.factor))

    def build(self, background: npt.NDArray[np.float32] | None = None) -> SmallRun:
        """The collected run without exposure drift; ``background`` ``(H, W)`` is the attenuation of its mask.

        Raises
        ------
        ValueError
            When frames are missing, or one is not finite.
        """
        if not self._frames:
            msg = "a run without frames cannot be shrunk"
            raise ValueError(msg)
        small = None if background is None else area_mean(background, self.factor)
        opacity = without_drift(np.stack(self._frames))
        return SmallRun(opacity, self._times_s, self.factor, self._shape, small)
