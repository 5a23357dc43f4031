"""Temporal maps of frames that are computed one by one, with memory for about a dozen pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.maps_course import NOISE_PAIRS, SAMPLE_STEP, Courses, noise_of, trapezoid_weights, vertex_s
from ClaireDSALib.dsa.opacity_frames import OpacityFrames, iter_opacity


def streamed_courses(
    frames: OpacityFrames,
    times_s: npt.NDArray[np.float64],
    contrast_of: Callable[[npt.NDArray[np.float32], float], tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]],
) -> Courses:
    """Read the frames twice: the second time the peak of every pixel is known, and with it its neighbours in time.

    Parameters
    ----------
    frames : OpacityFrames
    times_s : (T,) float64 ndarray
    contrast_of : callable
        ``(peak, noise) -> (contrast, level)``, each ``(H, W)``: which pixels count, and what arrival has to cross.
    """
    totals, noise = _first_pass(frames, times_s)
    contrast, level = contrast_of(totals.peak, noise)
    peak_time, arrival = _second_pass(frames, times_s, totals.peak_index, totals.peak, level)
    return Courses(totals.peak, contrast, noise, peak_time, arrival, totals.area, totals.moment)


@dataclass(frozen=True)
class _Totals:
    """Per pixel, over the whole run."""

    peak: npt.NDArray[np.float32]
    peak_index: npt.NDArray[np.int32]
    area: npt.NDArray[np.float32]
    moment: npt.NDArray[np.float32]


def _first_pass(frames: OpacityFrames, times_s: npt.NDArray[np.float64]) -> tuple[_Totals, float]:
    shape = frames.shape[1:]
    totals = _Totals(
        np.full(shape, -np.inf, np.float32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    weights, moments = trapezoid_weights(times_s)
    differences: list[npt.NDArray[np.float32]] = []
    previous: npt.NDArray[np.float32] | None = None
    for index, opacity in enumerate(iter_opacity(frames)):
        np.copyto(totals.peak_index, index, where=opacity > totals.peak)
        np.maximum(totals.peak, opacity, out=totals.peak)
        if previous is not None and len(differences) < NOISE_PAIRS:
            differences.append((opacity - previous)[::SAMPLE_STEP, ::SAMPLE_STEP].copy())
        previous = opacity
        positive = np.maximum(opacity, 0.0)
        np.add(totals.area, weights[index] * positive, out=totals.area)
        np.add(totals.moment, moments[index] * positive, out=totals.moment)
    return totals, noise_of(differences)


def _second_pass(
    frames: OpacityFrames,
    times_s: npt.NDArray[np.float64],
    peak_index: npt.NDArray[np.int32],
    peak: npt.NDArray[np.float32],
    level: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Refined time of the peak and arrival time, NaN where it was not seen."""
    before, after = np.full(level.shape, np.nan, np.float32), np.full(level.shape, np.nan, np.float32)
    arrival = _Arrival(level, peak_index, times_s)
    last = int(peak_index.max(initial=0))
    for index, opacity in enumerate(iter_opacity(frames, indices=range(min(last + 2, frames.shape[0])))):
        np.copyto(before, opacity, where=peak_index == index + 1)
        np.copyto(after, opacity, where=peak_index == index - 1)
        arrival.add(index, opacity)
    return vertex_s(times_s, peak_index, before, peak, after), arrival.time_s()


class _Arrival:
    """First crossing of a level that lasts for a second frame, or is the peak itself."""

    def __init__(
        self, level: npt.NDArray[np.float32], peak_index: npt.NDArray[np.int32], times_s: npt.NDArray[np.float64]
    ) -> None:
        self._level, self._peak_index, self._times_s = level, peak_index, times_s
        self._found = np.full(level.shape, np.nan, np.float32)
        self._candidate = np.full(level.shape, np.nan, np.float32)
        self._open = np.ones(level.shape, bool)
        self._previous: npt.NDArray[np.float32] | None = None

    def add(self, index: int, opacity: npt.NDArray[np.float32]) -> None:
        above = opacity >= self._level
        if self._previous is None:
            self._from_start = above
            self._open &= ~(above & (self._peak_index == 0))
        else:
            if index == 1:
                self._open &= ~(self._from_start & above)
            confirmed = self._open & np.isfinite(self._candidate) & (above | (self._peak_index == index - 1))
            np.copyto(self._found, self._candidate, where=confirmed)
            self._open &= ~confirmed
            self._candidate.fill(np.nan)
            rises = self._open & above & (self._previous < self._level)
            low, high = self._previous[rises], opacity[rises]
            t0, t1 = self._times_s[index - 1], self._times_s[index]
            self._candidate[rises] = t0 + (t1 - t0) * (self._level[rises] - low) / (high - low)
        self._previous = opacity

    def time_s(self) -> npt.NDArray[np.float32]:
        """(H, W); a crossing in the very last frame read counts, because nothing after it can deny it."""
        return np.where(self._open & np.isfinite(self._candidate), self._candidate, self._found)
