"""Frames of a run for a sequence network: one a second on true times, streamed, the end with less contrast left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.opacity_frames import OpacityFrames, iter_opacity

STEP_S = 1.0
MAX_FRAMES = 20

EARLY_UNTIL_S, LATE_FROM_S = 2.0, 5.0
"""After the arrival of contrast: by then arteries have filled, and from then on veins carry what they held (contrast
passes the brain in four to six seconds)."""
_ARRIVED_SHARE = 0.5
_STRONGEST_PERCENTILE = 99.5


def one_per_second(
    frames: OpacityFrames, times_s: npt.NDArray[np.float64], *, with_end: bool = True
) -> Iterator[npt.NDArray[np.float32]]:
    """Opacity resampled linearly to one frame a second, at most ``MAX_FRAMES``; memory stays at a few frames.

    The first frame, as a rule the mask, is left out; of a run that is longer, the end with less contrast.

    Parameters
    ----------
    frames : OpacityFrames
        Opacity of every frame, contrast positive.
    times_s : (T,) float ndarray
        True times, increasing.
    with_end : bool
        Keep a sample that falls on the last frame; CAVE leaves it out.

    Yields
    ------
    (H, W) float32 ndarray

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    times = np.asarray(times_s, np.float64)
    if len(times) < 2:
        msg = f"a sequence needs two frames or more, of which the first is left out; got {len(times)}"
        raise ValueError(msg)
    grid = sample_times(times)
    if not with_end and len(grid) > 1 and grid[-1] >= times[-1] - 1e-6:
        grid = grid[:-1]
    if len(grid) > MAX_FRAMES:
        grid = _with_most_contrast(frames, times, grid)
    yield from _interpolated(frames, times, grid)


def early_and_late(frames: Iterable[npt.NDArray[np.floating]]) -> npt.NDArray[np.float32]:
    """Peak opacity of the early and of the late part of a passage, from frames one second apart.

    Contrast has arrived when the strongest opacity of a frame first reaches half of what it is at most. Early is up
    to ``EARLY_UNTIL_S`` after that, late from ``LATE_FROM_S`` on.

    Parameters
    ----------
    frames : iterable of (H, W) float ndarray
        Opacity, as :func:`one_per_second` gives it.

    Returns
    -------
    (2, H, W) float32 ndarray
        Early and late; late is 0 everywhere when the run ends before.

    Raises
    ------
    ValueError
        Without a frame.
    """
    held = [np.asarray(frame, np.float16) for frame in frames]
    if not held:
        msg = "early and late parts need at least one frame; got none"
        raise ValueError(msg)
    strength = np.array(
        [float(np.percentile(frame[::2, ::2].astype(np.float32), _STRONGEST_PERCENTILE)) for frame in held]
    )
    arrival = int(np.argmax(strength >= _ARRIVED_SHARE * strength.max()))
    early = held[: arrival + int(EARLY_UNTIL_S / STEP_S) + 1]
    late = held[arrival + int(LATE_FROM_S / STEP_S) :] or [np.zeros_like(held[0])]
    return np.stack([np.max(early, axis=0), np.max(late, axis=0)]).astype(np.float32)


def sample_times(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Times of the samples: from the second frame to the last, ``STEP_S`` apart."""
    first, last = float(times_s[1]), float(times_s[-1])
    count = int(np.floor((last - first) / STEP_S + 1e-6)) + 1
    return np.asarray(first + STEP_S * np.arange(count), np.float64)


def _interpolated(
    frames: OpacityFrames, times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> Iterator[npt.NDArray[np.float32]]:
    left = np.clip(np.searchsorted(times, grid, side="right") - 1, 1, len(times) - 1)
    right = np.minimum(left + 1, len(times) - 1)
    needed = np.unique(np.concatenate([left, right]))
    stream = zip(needed, iter_opacity(frames, needed.tolist()), strict=True)
    held: dict[int, npt.NDArray[np.float32]] = {}
    for sample, a, b in zip(grid, left, right, strict=True):
        while b not in held:
            number, frame = next(stream)
            held[int(number)] = frame
        for old in [number for number in held if number < a]:
            del held[old]
        gap = times[b] - times[a]
        weight = np.float32((sample - times[a]) / gap) if gap > 0 else np.float32(0)
        yield held[a] if weight <= 0 else held[a] * (1 - weight) + held[b] * weight


def _with_most_contrast(
    frames: OpacityFrames, times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Drop the end with less contrast until ``MAX_FRAMES`` remain."""
    sums = [float(frame.sum(dtype=np.float64)) for frame in _interpolated(frames, times, grid)]
    first, last = 0, len(grid)
    while last - first > MAX_FRAMES:
        if sums[first] < sums[last - 1]:
            first += 1
        else:
            last -= 1
    return grid[first:last]
