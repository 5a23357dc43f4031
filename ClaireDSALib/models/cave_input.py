"""CAVE's preprocessing: times, frames and intensities as its networks were trained.

The published ``predict.py`` scales differently from the training code; the training's way is the default here and
the other is offered, because which one the authors used for their figures is not known.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

MAX_FRAMES = 20
STEP_S = 1.0


def cave_sequence(
    frames: npt.NDArray[np.unsignedinteger],
    times_s: npt.NDArray[np.float64],
    *,
    bits_stored: int = 12,
    scaling: Literal["training", "predict"] = "training",
) -> npt.NDArray[np.float32]:
    """Frames ``(T, H, W)``, contrast dark, as CAVE's sequence network wants them: ``(N, H, W)`` in 0..1, N <= 20.

    The first frame is dropped, time is resampled linearly to one frame a second with the end left out, and while
    more than 20 remain the end frame with the larger pixel sum, hence less contrast, is dropped.

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    if len(frames) < 2:
        msg = f"CAVE drops the first frame and needs another; got {len(frames)}"
        raise ValueError(msg)
    kept, times = frames[1:].astype(np.float32), np.asarray(times_s, np.float64)[1:]
    grid = np.arange(times[0], times[-1], STEP_S) if len(times) > 1 else times
    sampled = _trim(_interpolate(kept, times, grid if len(grid) else times[:1]))
    if scaling == "predict":
        return sampled / np.float32(2**bits_stored - 1)
    return _min_max_8_bit(sampled)


def cave_minip(sequence: npt.NDArray[np.float32], *, scaling: str = "training") -> npt.NDArray[np.float32]:
    """MinIP ``(H, W)`` in 0..1 of what :func:`cave_sequence` gave; stretched once more in the training's way."""
    lowest = sequence.min(0)
    return _min_max_8_bit(lowest) if scaling == "training" else lowest


def _interpolate(
    frames: npt.NDArray[np.float32], times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    if len(times) == 1:
        return frames
    right = np.clip(np.searchsorted(times, grid, side="right"), 1, len(times) - 1)
    weight = ((grid - times[right - 1]) / (times[right] - times[right - 1]))[:, None, None].astype(np.float32)
    return frames[right - 1] * (1 - weight) + frames[right] * weight


def _trim(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    sums = frames.sum((1, 2), dtype=np.float64)
    first, last = 0, len(frames)
    while last - first > MAX_FRAMES:
        if sums[first] > sums[last - 1]:
            first += 1
        else:
            last -= 1
    return frames[first:last]


def _min_max_8_bit(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros_like(values)
    return np.floor((values - low) / (high - low) * 255).astype(np.float32) / 255
