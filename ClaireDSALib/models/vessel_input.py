"""From the opacity of a run to the picture the vessel network sees, and its answer back to the run's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.dsa.order_statistics import percentile
from ClaireDSALib.models.errors import ImageRefusedError

MIN_WORK_PX, MAX_WORK_PX = 512, 768
"""The longer side is brought into this range: vessels of a small picture would be thinner than the network knows, and
those of a large one are wide enough at 768 px."""

MIN_SIDE_PX, MAX_SIDE_PX = 32, 8192
COURSE = ("early", "late", "mean", "limit")
"""Pictures that a run's frames add to its peak opacity, in this order: the peak of the early and of the late part of
the passage, the opacity of the mean frame, and the opacity from which a vessel can be told from noise."""

_MULTIPLE = 32
_PEAK_PERCENTILE = 99.5
RELATIVE_RANGE = (-0.5, 1.5)
"""Relative opacity is clipped to it."""


@dataclass(frozen=True)
class VesselInput:
    """Prepared picture.

    Attributes
    ----------
    image : (1, C, h, w) float32 ndarray
        Relative opacity and, for C = 3 or 5, what its frames tell (see ``COURSE``), padded to a multiple of 32.
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
    times : (2, H, W) or (4, H, W) float ndarray, optional
        The first two or all pictures of ``COURSE`` in the unit of ``opacity``, for networks of three or five channels.
    n_channels : int
        1, 3 or 5, of which those beyond ``times`` are 0.
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
    parts = [opacity, *(() if times is None else times[: n_channels - 1])]
    work_shape = _work_shape(opacity.shape, *work_px)
    picture, *rest = (_inside(np.asarray(part, np.float32), valid_region, work_shape) for part in parts)
    image = relative_channels(picture, np.stack(rest) if rest else None, n_channels=n_channels, absolute=True)
    pad = [(0, 0), *((0, -side % _MULTIPLE) for side in work_shape)]
    return VesselInput(np.ascontiguousarray(np.pad(image, pad, mode="edge")[None]), work_shape, opacity.shape)


def relative_channels(
    opacity: npt.NDArray[np.floating],
    times: npt.NDArray[np.floating] | None,
    *,
    n_channels: int = 1 + len(COURSE),
    absolute: bool = False,
) -> npt.NDArray[np.float32]:
    """Peak opacity and ``COURSE`` relative to a high percentile of the peak: (C, H, W), zeros for what is not known.

    Parameters
    ----------
    opacity : (H, W) float ndarray
    times : (n, H, W) float ndarray or None
        Pictures of ``COURSE``, fewer than ``n_channels``.
    n_channels : int
    absolute : bool
        ``times`` are in the unit of ``opacity``; otherwise they are relative already.
    """
    channels = np.zeros((n_channels, *opacity.shape), np.float32)
    channels[0] = relative_opacity(opacity)
    if times is not None:
        channels[1 : 1 + len(times)] = np.clip(
            times / (strongest_opacity(opacity) if absolute else 1.0), *RELATIVE_RANGE
        )
    return channels


def relative_opacity(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Opacity relative to a high percentile of itself, clipped: dose and concentration cancel."""
    return np.clip(image / strongest_opacity(image), *RELATIVE_RANGE).astype(np.float32)


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
