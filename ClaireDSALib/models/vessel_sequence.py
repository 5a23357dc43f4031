"""Frames of a run for a sequence network: one a second on true times, streamed, the end with less contrast left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.frame_noise import detection_limit, mean_and_noise
from ClaireDSALib.dsa.opacity_frames import OpacityFrames, PixelFrames, held, iter_opacity, peak_opacity
from ClaireDSALib.dsa.order_statistics import percentile
from ClaireDSALib.models.longer_side import resized

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
    samples = [np.asarray(frame, np.float16) for frame in frames]
    if not samples:
        msg = "early and late parts need at least one frame; got none"
        raise ValueError(msg)
    early, late = _parts(np.array([_strength(sample[::2, ::2]) for sample in samples]))
    after = samples[late] or [np.zeros_like(samples[0])]
    return np.stack([np.max(samples[early], axis=0), np.max(after, axis=0)]).astype(np.float32)


def early_and_late_of_run(frames: OpacityFrames, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Early and late peak opacity of a run: :func:`early_and_late` of :func:`one_per_second`, to the last bit.

    Frames that lie in memory are not put together one by one: when contrast arrives is read off every other row and
    column, and the peak over samples that are frames of the run needs no subtraction of each.

    Parameters
    ----------
    frames : OpacityFrames
        Opacity of every frame, contrast positive.
    times_s : (T,) float ndarray
        True times, increasing.

    Returns
    -------
    (2, H, W) float32 ndarray

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    times = np.asarray(times_s, np.float64)
    there = held(frames)
    if there is None or len(times) < 2 or len(grid := sample_times(times)) > MAX_FRAMES:
        return early_and_late(one_per_second(frames, times_s))
    strength = np.array(
        [_strength(np.asarray(thin, np.float16)) for thin in _interpolated(_Thinned(there), times, grid)]
    )
    early, late = _parts(strength)
    pictures = [_peak_of_samples(frames, times, grid[part]) for part in (early, late)]
    return np.stack(pictures).astype(np.float16).astype(np.float32)


def course_of_run(
    frames: OpacityFrames, times_s: npt.NDArray[np.float64], parts: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """All pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE`: (4, H, W) float32.

    Parameters
    ----------
    frames, times_s
        As in :func:`one_per_second`.
    parts : (2, H, W) float32 ndarray, optional
        What :func:`early_and_late_of_run` returned for them, when it is there already.

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    early_late = early_and_late_of_run(frames, times_s) if parts is None else parts
    mean, noise = mean_and_noise(frames)
    return np.stack([*early_late, mean, detection_limit(noise)])


def parts_and_samples(
    frames: OpacityFrames, times_s: npt.NDArray[np.float64], size_px: int
) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
    """:func:`early_and_late_of_run`, and small frames one second apart for a network that sees ``size_px``.

    Parameters
    ----------
    frames, times_s
        As in :func:`one_per_second`.
    size_px : int
        Longer side of the samples; large frames in memory are read at every other row and column.

    Returns
    -------
    parts : (2, H, W) float32 ndarray
    samples : list of (h, w) float32 ndarray

    Raises
    ------
    ValueError
        For fewer than two frames.
    """
    there = held(frames)
    if there is None:  # every frame costs, so each is made once
        samples: list[npt.NDArray[np.float32]] = []
        return early_and_late(_keeping(one_per_second(frames, times_s), samples, size_px)), samples
    return early_and_late_of_run(frames, times_s), small_samples(frames, times_s, size_px)


def small_samples(
    frames: OpacityFrames, times_s: npt.NDArray[np.float64], size_px: int
) -> list[npt.NDArray[np.float32]]:
    """The frames of :func:`one_per_second` with a longer side of ``size_px``; large ones in memory are thinned."""
    there = held(frames)
    thin = there is not None and max(frames.shape[1:]) >= 4 * size_px
    source = _Thinned(there) if there is not None and thin else frames
    return [resized(sample, size_px) for sample in one_per_second(source, times_s)]


def _keeping(
    stream: Iterable[npt.NDArray[np.float32]], samples: list[npt.NDArray[np.float32]], size_px: int
) -> Iterator[npt.NDArray[np.float32]]:
    for frame in stream:
        samples.append(resized(frame, size_px))
        yield frame


def sample_times(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Times of the samples: from the second frame to the last, ``STEP_S`` apart."""
    first, last = float(times_s[1]), float(times_s[-1])
    count = int(np.floor((last - first) / STEP_S + 1e-6)) + 1
    return np.asarray(first + STEP_S * np.arange(count), np.float64)


def _interpolated(
    frames: OpacityFrames, times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> Iterator[npt.NDArray[np.float32]]:
    left, right, weights = _between(times, grid)
    right = np.where(weights > 0, right, left)
    needed = np.unique(np.concatenate([left, right]))
    stream = zip(needed, iter_opacity(frames, needed.tolist()), strict=True)
    there: dict[int, npt.NDArray[np.float32]] = {}
    for weight, a, b in zip(weights, left, right, strict=True):
        while b not in there:
            number, frame = next(stream)
            there[int(number)] = frame
        for old in [number for number in there if number < a]:
            del there[old]
        yield there[a] if weight <= 0 else there[a] * (1 - weight) + there[b] * weight


def _between(
    times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Frames on both sides of every sample, and the weight of the later one; 0 where the sample is a frame."""
    left = np.clip(np.searchsorted(times, grid, side="right") - 1, 1, len(times) - 1)
    right = np.minimum(left + 1, len(times) - 1)
    gap = times[right] - times[left]
    share = np.divide(grid - times[left], gap, out=np.zeros(len(grid)), where=gap > 0)
    return left, right, share.astype(np.float32)


def _parts(strength: npt.NDArray[np.floating]) -> tuple[slice, slice]:
    """Samples of the early and of the late part, from the strongest opacity of each sample."""
    arrival = int(np.argmax(strength >= _ARRIVED_SHARE * strength.max()))
    return slice(0, arrival + int(EARLY_UNTIL_S / STEP_S) + 1), slice(arrival + int(LATE_FROM_S / STEP_S), None)


def _strength(thinned: npt.NDArray[np.float16]) -> float:
    return float(percentile(thinned.astype(np.float32), _STRONGEST_PERCENTILE))


def _peak_of_samples(
    frames: OpacityFrames, times: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Largest opacity over samples; those that are frames together, the others one by one."""
    if not len(grid):
        return np.zeros(frames.shape[1:], np.float32)
    left, _, weights = _between(times, grid)
    pictures = list(left[weights <= 0])
    peaks = [peak_opacity(frames, pictures)] if pictures else []
    for sample in _interpolated(frames, times, grid[weights > 0]):
        peaks = [np.maximum(peaks[0], sample) if peaks else sample]
    return peaks[0]


class _Thinned:
    """Every other row and column of frames in memory."""

    dtype = np.dtype(np.float32)

    def __init__(self, frames: PixelFrames) -> None:
        height, width = frames.shape[1:]
        self._frames = frames
        places = np.arange(height * width).reshape(height, width)[::2, ::2]
        self._pixels = places.reshape(-1)
        self.shape = (frames.shape[0], *places.shape)

    def read(self, index: int) -> npt.NDArray[np.float32]:
        """Thinned opacity of frame ``index``."""
        return self._frames.courses(self._pixels, slice(index, index + 1)).reshape(self.shape[1:])


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
