"""Decode a run once for all steps, as long as its frames fit into a fixed amount of memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import reduce_frames
from ClaireDSALib.dsa.projection import minip
from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, Frame

LIMIT_BYTES = 256 * 2**20
"""Of the frames of one run: 128 frames of 1024 x 1024 in 16 bits. Longer runs are decoded anew by every step."""


def hold_frames(
    series: DsaSeries, *, limit_bytes: int = LIMIT_BYTES
) -> tuple[DsaSeries, npt.NDArray[np.unsignedinteger]]:
    """Decode every frame, project them on the way, and keep them when they are few enough.

    Parameters
    ----------
    series : DsaSeries
    limit_bytes : int
        Most memory that the frames may take; a larger run is only projected, with memory for a few frames.

    Returns
    -------
    series : DsaSeries
        The same run; its frames lie in memory, read-only, when they fit.
    minip : (H, W) ndarray of the stored dtype

    Raises
    ------
    ValueError
        When the run has no frame.
    DecodeError
        When a frame is damaged.
    """
    n_bytes = int(np.prod(series.frames.shape, dtype=np.int64)) * series.frames.dtype.itemsize
    if isinstance(series.frames, ArrayFrames) or not 0 < n_bytes <= limit_bytes:
        return series, minip(series)
    frames = np.empty(series.frames.shape, series.frames.dtype)

    def keep(darkest: Frame, index: int, frame: Frame) -> Frame:
        frames[index] = frame
        return np.minimum(darkest, frame, out=darkest)

    white = np.iinfo(frames.dtype).max
    darkest = reduce_frames(series, lambda: np.full(series.shape, white, frames.dtype), keep, np.minimum)
    frames.flags.writeable = False
    return dataclasses.replace(series, frames=ArrayFrames(frames)), darkest
