"""Temporal maps of frames that lie in memory: only pixels that hold contrast are looked at, many at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import worker_count
from ClaireDSALib.dsa.maps_course import NOISE_PAIRS, SAMPLE_STEP, Courses, noise_of, trapezoid_weights, vertex_s
from ClaireDSALib.dsa.opacity_frames import PixelFrames

_PIXELS_AT_ONCE = 16384
"""Forty frames of so many pixels fit into the second cache of a core."""

Floats = npt.NDArray[np.float32]


def held_courses(
    frames: PixelFrames,
    times_s: npt.NDArray[np.float64],
    contrast_of: Callable[[Floats, float], tuple[npt.NDArray[np.bool_], Floats]],
) -> Courses:
    """What :func:`~ClaireDSALib.dsa.maps_streamed.streamed_courses` finds, to the last bit, without reading frames.

    Parameters
    ----------
    frames : PixelFrames
        In memory.
    times_s : (T,) float64 ndarray
    contrast_of : callable
        ``(peak, noise) -> (contrast, level)``, each ``(H, W)``: which pixels count, and what arrival has to cross.

    Returns
    -------
    Courses
        NaN where there is no contrast.
    """
    shape = frames.shape[1:]
    noise = _noise(frames)
    peak = frames.peak(range(frames.shape[0]))
    contrast, level = contrast_of(peak, noise)
    pixels = np.flatnonzero(contrast)
    found = {name: np.full(peak.size, np.nan, np.float32) for name in ("peak_time", "arrival", "area", "moment")}
    flat_peak, flat_level = peak.reshape(-1), level.reshape(-1)

    def measure(first: int) -> None:
        some = pixels[first : first + _PIXELS_AT_ONCE]
        measured = _measured(frames.courses(some), times_s, flat_peak[some], flat_level[some])
        for name, values in zip(found, measured, strict=True):
            found[name][some] = values

    parts = range(0, len(pixels), _PIXELS_AT_ONCE)
    with ThreadPoolExecutor(worker_count(max(len(parts), 1)), thread_name_prefix="maps") as pool:
        for done in [pool.submit(measure, first) for first in parts]:
            done.result()
    return Courses(peak, contrast, noise, **{name: values.reshape(shape) for name, values in found.items()})


def _noise(frames: PixelFrames) -> float:
    height, width = frames.shape[1:]
    places = np.arange(height * width).reshape(height, width)[::SAMPLE_STEP, ::SAMPLE_STEP]
    sampled = frames.courses(places.reshape(-1), slice(NOISE_PAIRS + 1)).reshape(-1, *places.shape)
    return noise_of([later - earlier for earlier, later in pairwise(sampled)])


def _measured(
    courses: Floats, times_s: npt.NDArray[np.float64], peak: Floats, level: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Refined time of the peak, arrival, area and moment of ``(T, n)`` courses: each ``(n,)``."""
    index = (courses == peak).argmax(axis=0)
    before, after = (_neighbour(courses, index, step) for step in (-1, 1))
    peak_time = vertex_s(times_s, index, before, peak, after)
    arrival = _arrival_s(courses, times_s, index, level)
    return peak_time, arrival, *_sums(courses, times_s)


def _neighbour(courses: Floats, index: npt.NDArray[np.intp], step: int) -> Floats:
    """Opacity one frame before or after the peak; NaN where there is no such frame."""
    place = index + step
    inside = (place >= 0) & (place < len(courses))
    values = np.take_along_axis(courses, np.where(inside, place, 0)[None], axis=0)[0]
    return np.where(inside, values, np.float32(np.nan))


def _sums(courses: Floats, times_s: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Area and first moment, added frame by frame as a stream would."""
    area, moment = np.zeros(courses.shape[1], np.float32), np.zeros(courses.shape[1], np.float32)
    part = np.empty_like(area)
    for positive, weight, lever in zip(np.maximum(courses, 0.0), *trapezoid_weights(times_s), strict=True):
        area += np.multiply(positive, weight, out=part)
        moment += np.multiply(positive, lever, out=part)
    return area, moment


def _arrival_s(
    courses: Floats, times_s: npt.NDArray[np.float64], peak_index: npt.NDArray[np.intp], level: Floats
) -> Floats:
    """First crossing of a level that lasts for a second frame, or is the peak itself; NaN where it was not seen."""
    n_frames, n_pixels = courses.shape
    if n_frames < 2:
        return np.full(n_pixels, np.nan, np.float32)
    above = courses >= level
    lasting = np.zeros((n_frames - 1, n_pixels), bool)
    lasting[:-1] = above[2:]
    np.put_along_axis(lasting, np.maximum(peak_index - 1, 0)[None], True, axis=0)
    crossed = above[1:] & ~above[:-1] & lasting
    from_start = above[0] & (above[1] | (peak_index == 0))
    seen = np.flatnonzero(crossed.any(axis=0) & ~from_start)
    right = crossed[:, seen].argmax(axis=0) + 1
    low, high = courses[right - 1, seen], courses[right, seen]
    t0, t1 = times_s[right - 1], times_s[right]
    arrival = np.full(n_pixels, np.nan, np.float32)
    arrival[seen] = t0 + (t1 - t0) * (level[seen] - low) / (high - low)
    return arrival
