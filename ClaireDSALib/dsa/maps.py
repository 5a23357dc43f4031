"""Temporal maps of a subtracted run, on true times and one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.maps_held import held_courses
from ClaireDSALib.dsa.maps_streamed import streamed_courses
from ClaireDSALib.dsa.opacity_frames import OpacityArray, OpacityFrames, held
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
    """Compute the maps; the memory needed is that of about a dozen pictures, whatever the length of the run.

    Frames that lie in memory are measured only where there is contrast; others are read twice. Both ways give the
    same numbers to the last bit.

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

    def least(noise: float) -> float:
        return max(SMALLEST_PEAK, NOISE_SIGMAS * noise) if smallest_peak is None else smallest_peak

    def contrast_of(peak: Map, noise: float) -> tuple[npt.NDArray[np.bool_], Map]:
        contrast = peak >= least(noise)
        if series.valid_region is not None:
            contrast &= series.valid_region
        floor = min(ARRIVAL_SIGMAS * noise, ARRIVAL_SIGMAS / NOISE_SIGMAS * least(noise))
        return contrast, np.maximum(ARRIVAL_FRACTION * peak, floor).astype(np.float32)

    there = held(frames)
    found = (
        streamed_courses(frames, series.times_s, contrast_of)
        if there is None
        else held_courses(there, series.times_s, contrast_of)
    )
    contrast = found.contrast
    with np.errstate(invalid="ignore", divide="ignore"):
        transit = found.moment / found.area - found.arrival
    return TemporalMaps(
        time_to_peak_s=_where(contrast, found.peak_time),
        arrival_time_s=_where(contrast, found.arrival),
        peak_opacity=_where(contrast, found.peak),
        area_under_curve=_where(contrast, found.area),
        mean_transit_time_s=_where(contrast & (transit > 0), transit),
        smallest_peak=float(least(found.noise)),
    )


def _where(contrast: npt.NDArray[np.bool_], values: npt.NDArray[np.floating]) -> Map:
    return np.where(contrast, values, np.nan).astype(np.float32)
