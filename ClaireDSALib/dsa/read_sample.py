"""A few decoded frames of a run, from which its pixels are judged while it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import reduce_frames
from ClaireDSALib.dsa.series import Frame, FrameSource

SAMPLED_FRAMES = 5
"""Enough for a median over time; few enough to cost little beside one pass over a run."""

_CONSTANT_EDGE_SHARE = 0.02
_Extremes = tuple[Frame, Frame]
_LONGEST_SIDE_PX = 128
"""The judgement is made on frames shrunk to this: it is about anatomy and vessels, not about noise."""


@dataclass(frozen=True)
class Sample:
    """Evenly spaced frames, the first and the last among them.

    Parameters
    ----------
    small : (S, h, w) float32 ndarray
        Block means of normalised frames.
    factor : int
        Pixels per block, along rows and columns.
    darkest, brightest : (H, W) ndarray of uint8 or uint16, or None
        Extremes over the sampled frames; equal where nothing changes. None when the edge of the
        first frame shows no constant value, so that nothing can be a shutter.
    """

    small: npt.NDArray[np.float32]
    factor: int
    darkest: Frame | None = None
    brightest: Frame | None = None


def take_sample(frames: FrameSource, count: int = SAMPLED_FRAMES, *, extremes: bool = False) -> Sample:
    """Decode up to ``count`` frames; ``extremes`` asks for the extremes whatever the edge looks like.

    Raises
    ------
    DecodeError
        When one of them is damaged.
    """
    n, height, width = frames.shape
    factor = max(1, -(-max(height, width) // _LONGEST_SIDE_PX))
    indices = sorted({round(k) for k in np.linspace(0, n - 1, min(n, count))})
    place = {index: k for k, index in enumerate(indices)}
    small = np.empty((len(indices), max(1, height // factor), max(1, width // factor)), np.float32)
    first = frames.read(0)
    small[0] = _block_means(first, factor)
    wanted = extremes or _has_constant_edge(first)

    def update(found: _Extremes | None, index: int, frame: Frame) -> _Extremes | None:
        small[place[index]] = _block_means(frame, factor)
        if not wanted:
            return None
        if found is None:
            return frame.copy(), frame.copy()
        return np.minimum(found[0], frame, out=found[0]), np.maximum(found[1], frame, out=found[1])

    found = reduce_frames(frames, lambda: None, update, _merged, indices=indices[1:]) if len(indices) > 1 else None
    if not wanted:
        return Sample(small, factor)
    both = _merged((first, first), found)
    return Sample(small, factor, *(both or (first, first)))


def edges(image: npt.NDArray) -> npt.NDArray:
    """Return the outermost pixels of an image, corners twice."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _has_constant_edge(frame: Frame) -> bool:
    """Whether one value is much more frequent on the edge than noise lets any be."""
    _, counts = np.unique(edges(frame), return_counts=True)
    return bool(counts.max() >= _CONSTANT_EDGE_SHARE * counts.sum())


def median_over_time(stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median over the first axis of a few frames, by exchanging whole frames: ten times faster than `numpy.median`."""
    frames = list(stack)
    for turn in range(len(frames)):
        for k in range(turn % 2, len(frames) - 1, 2):
            frames[k], frames[k + 1] = np.minimum(frames[k], frames[k + 1]), np.maximum(frames[k], frames[k + 1])
    middle = len(frames) // 2
    return frames[middle] if len(frames) % 2 else (frames[middle - 1] + frames[middle]) / 2


def shrink(mask: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Shrink a mask like the sample: a block counts when all its pixels do."""
    height, width = (max(1, side // factor) for side in mask.shape)
    rows, columns = min(factor, mask.shape[0]), min(factor, mask.shape[1])
    return mask[: height * rows, : width * columns].reshape(height, rows, width, columns).min(axis=(1, 3))


def _merged(a: _Extremes | None, b: _Extremes | None) -> _Extremes | None:
    if a is None or b is None:
        return b if a is None else a
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _block_means(frame: npt.NDArray, factor: int) -> npt.NDArray[np.float32]:
    """Average every other row of each block, adding whole rows: much faster in numpy than reducing small tiles."""
    height, width = (max(1, side // factor) for side in frame.shape)
    rows, columns = min(factor, frame.shape[0]), min(factor, frame.shape[1])
    strips = np.zeros((height, width * columns), np.uint32)
    for row in range(0, rows, 2):
        strips += frame[row : height * rows : rows, : width * columns]
    blocks = np.zeros((height, width), np.uint32)
    for column in range(columns):
        blocks += strips[:, column::columns]
    return blocks.astype(np.float32) / (-(-rows // 2) * columns)
