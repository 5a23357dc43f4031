"""From the opacity of a run to the picture the vessel network sees, and its answer back to the run's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.dsa.order_statistics import percentile
from ClaireDSALib.models.errors import ImageRefusedError

MIN_WORK_PX, MAX_WORK_PX = 512, 1024
"""The longer side is brought into this range: vessels of a small picture would be thinner than the network knows."""

MIN_SIDE_PX, MAX_SIDE_PX = 32, 8192
_MULTIPLE = 32
_PEAK_PERCENTILE = 99.5
_CLIP = (-0.5, 1.5)


@dataclass(frozen=True)
class VesselInput:
    """Prepared picture.

    Attributes
    ----------
    image : (1, C, h, w) float32 ndarray
        Relative opacity, and for C = 3 its early and late part, padded to a multiple of 32.
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


def prepare_vessels(
    opacity: npt.NDArray[Any],
    *,
    times: npt.NDArray[np.floating] | None = None,
    n_channels: int = 1,
    valid_region: npt.NDArray[np.bool_] | None = None,
    work_px: tuple[int, int] = (MIN_WORK_PX, MAX_WORK_PX),
) -> VesselInput:
    """Scale to the run's own peak, resize when needed, pad.

    Parameters
    ----------
    opacity : (H, W) float ndarray
        Peak opacity over time, contrast positive, background about zero.
    times : (2, H, W) float ndarray, optional
        Early and late peak opacity in the unit of ``opacity``, for networks of three channels.
    n_channels : int
        1, or 3 for networks that take the early and late parts; they are 0 when ``times`` is not given.
    work_px : (least, most)
        Range into which the longer side is brought.
    valid_region : (H, W) bool ndarray, optional
        True inside the collimator; outside counts as background.

    Raises
    ------
    ImageRefusedError
        For a picture that is no grey picture, too small, too large, not finite or constant.
    """
    _check(opacity)
    parts = [opacity, *(() if times is None or n_channels == 1 else times)]
    work_shape = _work_shape(opacity.shape, *work_px)
    picture, *rest = (_inside(np.asarray(part, np.float32), valid_region, work_shape) for part in parts)
    if n_channels == 1:
        image = relative_opacity(picture)[None]
    else:
        image = relative_channels(picture, np.stack(rest) if rest else None, absolute=True)
    pad = [(0, 0), *((0, -side % _MULTIPLE) for side in work_shape)]
    return VesselInput(np.ascontiguousarray(np.pad(image, pad, mode="edge")[None]), work_shape, opacity.shape)


def relative_channels(
    opacity: npt.NDArray[np.floating], times: npt.NDArray[np.floating] | None, *, absolute: bool = False
) -> npt.NDArray[np.float32]:
    """Peak, early and late opacity relative to a high percentile of the peak: (3, H, W), zeros for unknown times.

    Parameters
    ----------
    opacity : (H, W) float ndarray
    times : (2, H, W) float ndarray or None
    absolute : bool
        ``times`` are in the unit of ``opacity``; otherwise they are relative already.
    """
    channels = np.zeros((3, *opacity.shape), np.float32)
    channels[0] = relative_opacity(opacity)
    if times is not None:
        channels[1:] = np.clip(times / (strongest_opacity(opacity) if absolute else 1.0), *_CLIP)
    return channels


def relative_opacity(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Opacity relative to a high percentile of itself, clipped: dose and concentration cancel."""
    return np.clip(image / strongest_opacity(image), *_CLIP).astype(np.float32)


def strongest_opacity(image: npt.NDArray[np.floating]) -> float:
    """High percentile of a peak opacity, to which all opacity of a run is relative."""
    return max(float(percentile(image, _PEAK_PERCENTILE)), 1e-6)


def _inside(
    image: npt.NDArray[np.float32], valid_region: npt.NDArray[np.bool_] | None, shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    if valid_region is not None:
        image = np.where(valid_region, image, np.float32(0))
    return _resized(image, shape)


def _work_shape(shape: tuple[int, ...], least: int, most: int) -> tuple[int, int]:
    longest = max(shape)
    scale = least / longest if longest < least else min(1.0, most / longest)
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
