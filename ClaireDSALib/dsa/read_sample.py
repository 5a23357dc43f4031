"""A few decoded frames of a run, from which its pixels are judged while it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import iter_frames
from ClaireDSALib.dsa.series import FrameSource

SAMPLED_FRAMES = 7
"""Enough for a median over time; few enough to cost little beside one pass over a run."""

_LONGEST_SIDE_PX = 256
"""The judgement is made on frames shrunk to this: it is about anatomy and vessels, not about noise."""


@dataclass(frozen=True)
class Sample:
    """Evenly spaced frames, the first and the last among them.

    Parameters
    ----------
    small : (S, h, w) float32 ndarray
        Block means of normalised frames.
    darkest, brightest : (H, W) ndarray of uint8 or uint16
        Extremes over the sampled frames; equal where nothing changes.
    factor : int
        Pixels per block, along rows and columns.
    """

    small: npt.NDArray[np.float32]
    darkest: npt.NDArray[np.unsignedinteger]
    brightest: npt.NDArray[np.unsignedinteger]
    factor: int


def take_sample(frames: FrameSource, count: int = SAMPLED_FRAMES) -> Sample:
    """Decode up to ``count`` frames.

    Raises
    ------
    DecodeError
        When one of them is damaged.
    """
    n, height, width = frames.shape
    factor = max(1, -(-max(height, width) // _LONGEST_SIDE_PX))
    indices = sorted({round(k) for k in np.linspace(0, n - 1, min(n, count))})
    sampled = iter_frames(frames, indices=indices)
    darkest = next(sampled)
    brightest = darkest.copy()
    small = [_block_means(darkest, factor)]
    for frame in sampled:
        np.minimum(darkest, frame, out=darkest)
        np.maximum(brightest, frame, out=brightest)
        small.append(_block_means(frame, factor))
    return Sample(np.stack(small), darkest, brightest, factor)


def shrink(mask: npt.NDArray[np.bool_], factor: int) -> npt.NDArray[np.bool_]:
    """Shrink a mask like the sample: a block counts when all its pixels do."""
    return _block_means(mask.astype(np.uint8), factor) == 1


def _block_means(frame: npt.NDArray, factor: int) -> npt.NDArray[np.float32]:
    height, width = (max(1, side // factor) for side in frame.shape)
    rows, columns = min(factor, frame.shape[0]), min(factor, frame.shape[1])
    blocks = frame[: height * rows, : width * columns].reshape(height, rows, width, columns)
    return blocks.mean(axis=(1, 3), dtype=np.float32)
