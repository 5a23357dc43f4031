"""From the opacity of a run, of any size, length and frame rate, to what the sequence network sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.dsa.order_statistics import percentile
from ClaireDSALib.models.sequence_maps import course_features, temporal_channels

MAX_FRAMES = 24
"""Longer runs are thinned evenly in time; a cerebral run rarely needs more to show its phases."""

_PEAK_PERCENTILE = 99.5
"""Percentile of the peak opacity that becomes 1, so that dose, concentration and vendor cancel."""

_CLIP = (-0.5, 1.5)


@dataclass(frozen=True)
class SequenceInput:
    """Prepared run.

    Attributes
    ----------
    maps : (C, S, S) float32 ndarray
        Temporal channels of the whole run, see :mod:`ClaireDSALib.models.sequence_maps`.
    frames : (T, 3, S/2, S/2) float32 ndarray
        Relative opacity of the frame before, the frame and the frame after; ends are repeated.
    course : (T, F) float32 ndarray
        Features of the whole picture per frame, see :func:`~ClaireDSALib.models.sequence_maps.course_features`.
    kept : (T,) int ndarray
        Which frames of the run these are.
    side_px, top_px, left_px : int
        Side of the square the run was padded to, and where the run lies in it.
    """

    maps: npt.NDArray[np.float32]
    frames: npt.NDArray[np.float32]
    course: npt.NDArray[np.float32]
    kept: npt.NDArray[np.intp]
    side_px: int
    top_px: int
    left_px: int

    def to_run_px(self, row: float, column: float, map_size: int) -> tuple[float, float]:
        """Cell coordinates of a square map (0 = centre of the first cell) to pixels of the run."""
        scale = self.side_px / map_size
        return (row + 0.5) * scale - 0.5 - self.top_px, (column + 0.5) * scale - 0.5 - self.left_px

    def to_map(self, row_px: float, column_px: float, map_size: int) -> tuple[float, float]:
        """Inverse of :meth:`to_run_px`."""
        scale = map_size / self.side_px
        return (row_px + self.top_px + 0.5) * scale - 0.5, (column_px + self.left_px + 0.5) * scale - 0.5

    def crop_map(self, square: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Part of a square map that covers the run of ``shape`` (H, W); rounded to whole cells."""
        cell = self.side_px / square.shape[0]
        rows = slice(round(self.top_px / cell), max(1, round((self.top_px + shape[0]) / cell)))
        columns = slice(round(self.left_px / cell), max(1, round((self.left_px + shape[1]) / cell)))
        return square[rows, columns]


def prepare_sequence(
    frames: Iterable[npt.NDArray[np.floating]], times_s: npt.NDArray[np.float64], size_px: int = 160
) -> SequenceInput:
    """Thin, shrink, normalise and stack a run; full-size frames are held one at a time.

    Parameters
    ----------
    frames : iterable of (H, W) float ndarray
        Opacity of every frame, contrast positive.
    times_s : (T,) float64 ndarray
        Strictly increasing seconds.
    size_px : int
        Side of the square of the temporal channels; a multiple of 32.

    Raises
    ------
    ValueError
        When there is no frame, or an opacity is not finite.
    """
    kept = choose_frames(times_s)
    wanted = set(kept.tolist())
    small, shape = [], (0, 0)
    for index, frame in enumerate(frames):
        if index in wanted:
            shape = frame.shape
            small.append(shrink(frame, size_px))
    if not small:
        msg = "a sequence needs at least one frame; got none"
        raise ValueError(msg)
    stack = np.stack(small)  # (T, S, S)
    if not np.isfinite(stack).all():
        msg = "the opacity of a frame is not finite; check the subtraction"
        raise ValueError(msg)
    side = max(shape)
    stack = normalise(stack)
    kept_s = np.asarray(times_s, np.float64)[kept]
    return SequenceInput(
        maps=temporal_channels(stack, kept_s),
        frames=with_neighbours(half_size(stack)),
        course=course_features(stack, kept_s),
        kept=kept,
        side_px=side,
        top_px=(side - shape[0]) // 2,
        left_px=(side - shape[1]) // 2,
    )


def shrink(frame: npt.NDArray[np.floating], size_px: int) -> npt.NDArray[np.float32]:
    """Pad to a square with zero opacity and shrink with anti-aliasing."""
    height, width = frame.shape
    side = max(height, width)
    if height == width:
        square = np.ascontiguousarray(frame, np.float32)
    else:
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side), np.float32)
        square[top : top + height, left : left + width] = frame
    return np.asarray(Image.fromarray(square).resize((size_px, size_px), Image.Resampling.BOX), np.float32)


def choose_frames(times_s: npt.NDArray[np.float64], limit: int = MAX_FRAMES) -> npt.NDArray[np.intp]:
    """At most ``limit`` frames, evenly spread over time, first and last among them."""
    times = np.asarray(times_s, np.float64)
    if len(times) <= limit:
        return np.arange(len(times))
    targets = np.linspace(times[0], times[-1], limit)
    return np.unique(np.abs(times[None] - targets[:, None]).argmin(1))


def normalise(stack: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Opacity (T, S, S) relative to the run's own peak, clipped."""
    peak = float(percentile(stack.max(0), _PEAK_PERCENTILE))
    return np.clip(stack / max(peak, 1e-3), *_CLIP).astype(np.float32)


def with_neighbours(stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(T, S, S) -> (T, 3, S, S): the frame before, the frame, the frame after."""
    padded = np.concatenate([stack[:1], stack, stack[-1:]])
    return np.stack([padded[:-2], padded[1:-1], padded[2:]], 1)


def half_size(stack: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(T, S, S) to (T, S/2, S/2) by means over 2 x 2 pixels."""
    frames, size = len(stack), stack.shape[1] // 2
    blocks = stack[:, : 2 * size, : 2 * size].reshape(frames, size, 2, size, 2)
    return np.asarray(blocks.mean((2, 4)), np.float32)
