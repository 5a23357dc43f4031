"""Temporal maps of a subtracted run, on true times and one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.opacity_frames import OpacityArray, OpacityFrames, iter_opacity
from ClaireDSALib.dsa.series import DsaSeries

Map = npt.NDArray[np.float32]
"""(H, W) float32; NaN where there is no contrast or the quantity cannot be known."""

ARRIVAL_FRACTION = 0.1
"""Contrast has arrived in a pixel when its opacity crosses this share of its own peak ..."""

ARRIVAL_SIGMAS = 3.0
"""... or this many standard deviations of the noise, whichever is more."""

SMALLEST_PEAK = 0.03
"""Log attenuation (3 %); a pixel that never gets darker than this holds no contrast."""

NOISE_SIGMAS = 5.0
"""A peak must also stand this far above the noise of the run; the largest of many noisy frames reaches 3."""

_NOISE_PAIRS = 12
"""Pairs of neighbouring frames from which the noise is measured."""

_SAMPLE_STEP = 3
"""Of the rows and columns the noise is measured on."""


@dataclass(frozen=True)
class TemporalMaps:
    """What the time course of every pixel says; each map is (H, W) float32, NaN where there is no contrast.

    Parameters
    ----------
    time_to_peak_s
        Seconds from the first frame to the peak, refined between frames by a parabola.
    arrival_time_s
        Seconds from the first frame until the opacity first rises through a tenth of its peak (or three standard
        deviations of the noise, if that is more) and stays above in the next frame; interpolated between
        frames. NaN also where contrast is there from the first frame on.
    peak_opacity
        Largest opacity, log attenuation; a frame's value, not the parabola's.
    area_under_curve
        Trapezoidal integral of the opacity over time, log attenuation times seconds; negative opacities
        count as none.
    mean_transit_time_s
        Centre of mass of the opacity in time minus the arrival time: the mean time since arrival at which
        contrast is seen in the pixel; NaN where the arrival was not seen. It includes the length of the
        injection and is cut short by the end of the run, as on every console; no deconvolution.
    smallest_peak
        Peaks below this were taken for noise, log attenuation.
    """

    time_to_peak_s: Map
    arrival_time_s: Map
    peak_opacity: Map
    area_under_curve: Map
    mean_transit_time_s: Map
    smallest_peak: float = SMALLEST_PEAK


def temporal_maps(
    series: DsaSeries, opacity_frames: OpacityFrames | npt.NDArray[np.floating], *, smallest_peak: float | None = None
) -> TemporalMaps:
    """Compute the maps with memory for about a dozen pictures, whatever the length of the run.

    The frames are read twice: the second time the peak of every pixel is known, so that its neighbours in time
    and the crossing of a tenth of it can be found.

    Parameters
    ----------
    series : DsaSeries
        Gives the times and the valid region.
    opacity_frames : OpacityFrames or (T, H, W) ndarray
        Opacity, contrast positive.
    smallest_peak : float, optional
        Peak opacity below which a pixel holds no contrast; unless given, the larger of :data:`SMALLEST_PEAK`
        and :data:`NOISE_SIGMAS` times the noise, measured from neighbouring frames.

    Returns
    -------
    TemporalMaps

    Raises
    ------
    ValueError
        When the number or size of the frames differs from the series.

    Notes
    -----
    Runs of one or two frames give maps too: without a neighbour on both sides the time to peak is that of the
    frame, and of a single frame the area is 0 and the transit time unknown.
    """
    frames = OpacityArray(opacity_frames) if isinstance(opacity_frames, np.ndarray) else opacity_frames
    expected = (series.n_frames, *series.shape)
    if tuple(frames.shape) != expected:
        msg = f"opacity must have the shape of the run {expected}; got {tuple(frames.shape)}"
        raise ValueError(msg)
    totals, noise = _first_pass(frames, series.times_s)
    least = max(SMALLEST_PEAK, NOISE_SIGMAS * noise) if smallest_peak is None else smallest_peak
    contrast = totals.peak >= least
    if series.valid_region is not None:
        contrast &= series.valid_region
    level = np.maximum(
        ARRIVAL_FRACTION * totals.peak, min(ARRIVAL_SIGMAS * noise, ARRIVAL_SIGMAS / NOISE_SIGMAS * least)
    )
    peak_time, arrival = _second_pass(frames, series.times_s, totals.peak_index, totals.peak, level.astype(np.float32))
    with np.errstate(invalid="ignore", divide="ignore"):
        transit = totals.moment / totals.area - arrival
    return TemporalMaps(
        time_to_peak_s=_where(contrast, peak_time),
        arrival_time_s=_where(contrast, arrival),
        peak_opacity=_where(contrast, totals.peak),
        area_under_curve=_where(contrast, totals.area),
        mean_transit_time_s=_where(contrast & (transit > 0), transit),
        smallest_peak=float(least),
    )


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
    weights, moments = _trapezoid_weights(times_s)
    differences: list[float] = []
    previous: npt.NDArray[np.float32] | None = None
    for index, opacity in enumerate(iter_opacity(frames)):
        np.copyto(totals.peak_index, index, where=opacity > totals.peak)
        np.maximum(totals.peak, opacity, out=totals.peak)
        if previous is not None and len(differences) < _NOISE_PAIRS:
            differences.append(_spread(opacity - previous))
        previous = opacity
        positive = np.maximum(opacity, 0.0)
        np.add(totals.area, weights[index] * positive, out=totals.area)
        np.add(totals.moment, moments[index] * positive, out=totals.moment)
    return totals, float(np.median(differences)) / np.sqrt(2) if differences else 0.0


def _trapezoid_weights(
    times_s: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weight of every frame in the area, and in the first moment, of the polygon through the samples.

    Of a straight line from ``a`` at t0 to ``b`` at t1: area ``(a + b) dt / 2`` and first moment
    ``dt (a (2 t0 + t1) + b (t0 + 2 t1)) / 6``.
    """
    area, moment = np.zeros(len(times_s)), np.zeros(len(times_s))
    dt, t0, t1 = np.diff(times_s), times_s[:-1], times_s[1:]
    area[:-1] += dt / 2
    area[1:] += dt / 2
    moment[:-1] += dt * (2 * t0 + t1) / 6
    moment[1:] += dt * (t0 + 2 * t1) / 6
    return area.astype(np.float32), moment.astype(np.float32)


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
    return _vertex(times_s, peak_index, before, peak, after), arrival.time_s()


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


def _vertex(
    times_s: npt.NDArray[np.float64],
    peak_index: npt.NDArray[np.int32],
    before: npt.NDArray[np.float32],
    peak: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Time of the vertex of the parabola through the peak and its two neighbours, which need not be equally far."""
    steps = np.diff(times_s)
    left = np.concatenate([[np.nan], steps]).astype(np.float32)[peak_index]
    right = np.concatenate([steps, [np.nan]]).astype(np.float32)[peak_index]
    with np.errstate(invalid="ignore", divide="ignore"):
        fall_left, fall_right = peak - before, peak - after
        step = 0.5 * (right**2 * fall_left - left**2 * fall_right) / (right * fall_left + left * fall_right)
        inside = np.isfinite(step) & (step > -left) & (step < right)
    return (times_s.astype(np.float32)[peak_index] + np.where(inside, step, 0.0)).astype(np.float32)


def _spread(difference: npt.NDArray[np.float32]) -> float:
    """Robust standard deviation of a picture, from every third row and column."""
    sample = difference[::_SAMPLE_STEP, ::_SAMPLE_STEP]
    sample = sample[sample != 0] if np.any(sample) else sample
    return float(1.4826 * np.median(np.abs(sample - np.median(sample))))


def _where(contrast: npt.NDArray[np.bool_], values: npt.NDArray[np.floating]) -> Map:
    return np.where(contrast, values, np.nan).astype(np.float32)
