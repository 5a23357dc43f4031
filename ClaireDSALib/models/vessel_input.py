"""From the opacity of a run to the picture the vessel network sees, and its answer back to the run's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.models.errors import ImageRefusedError

MIN_WORK_PX, MAX_WORK_PX = 512, 1024
"""The longer side is brought into this range: vessels of a small picture would be thinner than the network knows."""

MIN_SIDE_PX, MAX_SIDE_PX = 32, 8192
_MULTIPLE = 16
_PEAK_PERCENTILE = 99.5
_CLIP = (-0.5, 1.5)


@dataclass(frozen=True)
class VesselInput:
    """Prepared picture.

    Attributes
    ----------
    image : (1, 1, h, w) float32 ndarray
        Relative opacity, padded to a multiple of 16.
    work_shape : (h, w) before padding
    shape : (H, W) of the run
    """

    image: npt.NDArray[np.float32]
    work_shape: tuple[int, int]
    shape: tuple[int, int]

    def to_run(self, maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Maps ``(C, h, w)`` of the padded picture to ``(C, H, W)`` of the run."""
        height, width = self.work_shape
        return np.stack([_resized(one[:height, :width], self.shape) for one in maps])


def prepare_vessels(opacity: npt.NDArray[Any], *, valid_region: npt.NDArray[np.bool_] | None = None) -> VesselInput:
    """Scale to the run's own peak, resize when needed, pad.

    Parameters
    ----------
    opacity : (H, W) float ndarray
        Peak opacity over time, contrast positive, background about zero.
    valid_region : (H, W) bool ndarray, optional
        True inside the collimator; outside counts as background.

    Raises
    ------
    ImageRefusedError
        For a picture that is no grey picture, too small, too large, not finite or constant.
    """
    _check(opacity)
    image = np.asarray(opacity, np.float32)
    if valid_region is not None:
        image = np.where(valid_region, image, np.float32(0))
    work_shape = _work_shape(image.shape)
    if work_shape != image.shape:
        image = _resized(image, work_shape)
    image = relative_opacity(image)
    pad = [(0, -side % _MULTIPLE) for side in image.shape]
    padded = np.pad(image, pad, mode="edge")
    return VesselInput(np.ascontiguousarray(padded[None, None]), work_shape, opacity.shape)


def relative_opacity(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Opacity relative to a high percentile of itself, clipped: dose and concentration cancel."""
    peak = float(np.percentile(image, _PEAK_PERCENTILE))
    return np.clip(image / max(peak, 1e-6), *_CLIP).astype(np.float32)


def _work_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    longest = max(shape)
    scale = MIN_WORK_PX / longest if longest < MIN_WORK_PX else min(1.0, MAX_WORK_PX / longest)
    return (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def _resized(image: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    if image.shape == shape:
        return np.asarray(image, np.float32)
    source = Image.fromarray(np.ascontiguousarray(image, np.float32))
    return np.asarray(source.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def _check(image: npt.NDArray[Any]) -> None:
    if image.ndim != 2 or image.dtype.kind != "f":
        msg = f"vessels are looked for in an opacity picture (H, W) of floats; got {image.shape} {image.dtype}"
        raise ImageRefusedError(msg)
    if min(image.shape) < MIN_SIDE_PX or max(image.shape) > MAX_SIDE_PX:
        size = f"{image.shape[0]}x{image.shape[1]}"
        msg = f"a picture must measure {MIN_SIDE_PX} to {MAX_SIDE_PX} px on each side for segmentation; got {size} px"
        raise ImageRefusedError(msg)
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        msg = "the opacity holds values that are not finite; check the subtraction"
        raise ImageRefusedError(msg)
    if low == high:
        msg = f"the picture is constant (every pixel is {low:g}); there is nothing to segment"
        raise ImageRefusedError(msg)
