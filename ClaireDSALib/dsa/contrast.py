"""When contrast arrives: the contrast curve of a run, before anything is subtracted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.area_mean import area_mean
from ClaireDSALib.dsa.attenuation import attenuation_curve
from ClaireDSALib.dsa.decode_stream import for_each_frame
from ClaireDSALib.dsa.order_statistics import median
from ClaireDSALib.dsa.series import DsaSeries, Frame

THUMBNAIL_PX = 128
"""Longer side of the area-averaged frames; averaging also takes out most of the quantum noise."""

ARRIVED_FRACTION = 0.2
"""Contrast has arrived for certain when the onset signal has gone this far from its least to its most."""

TRACE_FRACTION = 0.05
"""Frames just before the arrival that have gone this far may hold a trace of contrast and are not contrast-free."""

SMALLEST_RISE = 0.03
"""Log attenuation (3 %); a run whose onset signal changes less shows no arrival of contrast."""

_VESSEL_WIDTH_PX = 11
"""Thumbnail pixels; dark structures narrower than this can be vessels, wider ones are exposure, lung or bone."""

_MOTION_PX = 5
"""Thumbnail pixels (odd); static structure may wander within a square this wide without passing for contrast."""

_DARKEST_FRACTION = 0.005
"""Share of the picture whose darkening makes the onset signal: less than one filled carotid artery covers."""

_VESSEL_FRACTION = 0.05
"""Share of the picture, by peak opacity, over which the curve is averaged."""

_SHUTTER_FRACTION = 0.03
"""Where the mean signal stays below this share of the brightest there is no beam, whatever the header says."""

_FEWEST_PIXELS = 8
_UNSTEADY_FRAMES = 2
"""So many frames at the start may differ from the mask period while the exposure control settles."""


@dataclass(frozen=True)
class ContrastCurve:
    """How much contrast is in the picture over time.

    Parameters
    ----------
    times_s : (T,) float64 ndarray
    opacity : (T,) float32 ndarray
        Mean opacity (log attenuation) over the vessels, above the contrast-free level.
    onset : (T,) float32 ndarray
        How much thin dark structure a frame has more than the least of the run (log attenuation, mean over the
        part of the picture where it is most); rises as soon as the first vessel fills.
    contrast_free : tuple of int
        0-based frames before contrast arrives; empty when there are none.
    reason : str
        Why there are none, in words; empty when there are some.
    """

    times_s: npt.NDArray[np.float64]
    opacity: npt.NDArray[np.float32]
    onset: npt.NDArray[np.float32]
    contrast_free: tuple[int, ...] = ()
    reason: str = ""

    @property
    def arrival_frame(self) -> int | None:
        """0-based frame in which contrast is first seen; None when its arrival was not recorded."""
        return self.contrast_free[-1] + 1 if self.contrast_free else None


def contrast_curve(series: DsaSeries, *, workers: int | None = None) -> ContrastCurve:
    """Measure the contrast in every frame and find the frames before it arrives.

    Contrast first shows as thin dark structure that was not there before. So each area-averaged frame goes
    through a white top-hat of its attenuation (what an opening with a square of 11 thumbnail pixels removes),
    which exposure control, breathing and lung do not change much. Bones, catheters and wires are thin too, but
    they stay: what counts is the excess over the least value that a pixel's neighbourhood (5 x 5, so that they
    may move a little) has over the run. On a beating heart this signal stays within a tenth of its rise until
    the first vessel fills, where plain darkening does not.

    Parameters
    ----------
    series : DsaSeries
    workers : int, optional
        Decoding threads.

    Returns
    -------
    ContrastCurve

    Notes
    -----
    Arteries that stay filled from the first frame to the last cannot be seen in a time course; such a run
    looks contrast-free until the next vessel fills.
    """
    thumbnails = _thumbnails(series, workers)
    region = _thumbnail_region(series, thumbnails)
    attenuation = attenuation_curve(series)(thumbnails)
    excess = _excess_of_thin_structure(attenuation)[:, region]
    onset = _mean_of_largest(excess, _DARKEST_FRACTION)
    free, reason = _contrast_free(onset)
    vessels = _largest(excess.max(axis=0), _VESSEL_FRACTION)
    inside = attenuation[:, region]
    inside = inside - median(inside)[:, None]
    opacity = inside - (inside[list(free)].mean(axis=0) if free else inside.min(axis=0))
    curve = opacity[:, vessels].mean(axis=1).astype(np.float32)
    return ContrastCurve(series.times_s, curve, onset.astype(np.float32), free, reason)


def _excess_of_thin_structure(attenuation: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(T, h, w) thin dark structure beyond the least that stands nearby at some time of the run; 0 or more."""
    thin = np.stack([ndimage.white_tophat(frame, size=_VESSEL_WIDTH_PX) for frame in attenuation])
    least = np.min([ndimage.grey_dilation(frame, size=_MOTION_PX) for frame in thin], axis=0)
    return np.maximum(thin - least, 0.0)


def _contrast_free(onset: npt.NDArray[np.floating]) -> tuple[tuple[int, ...], str]:
    n = len(onset)
    if n < 2:
        return (), f"a run of {n} frame has no frame to spare as mask"
    rise = float(onset.max() - onset.min())
    if rise < SMALLEST_RISE:
        return (), f"no arrival of contrast is seen: thin dark structure changes by {rise:.3f} in log attenuation"
    arrived = (onset - onset.min()) / rise > ARRIVED_FRACTION
    start = 0
    while arrived[start] and start < min(_UNSTEADY_FRAMES, n // 4):
        start += 1
    if arrived[start]:
        return (), "contrast is in the picture from the first frame on"
    arrival = _first_lasting(arrived, start)
    if arrival is None:
        return (), "no lasting arrival of contrast is seen"
    level = float(np.median(onset[start:arrival])) + TRACE_FRACTION * rise
    while arrival > start + 1 and onset[arrival - 1] > level:
        arrival -= 1
    return tuple(range(start, arrival)), ""


def _first_lasting(arrived: npt.NDArray[np.bool_], start: int) -> int | None:
    """First frame from ``start`` on that shows contrast together with its successor, if it has one."""
    for index in range(start, len(arrived)):
        if arrived[index : index + 2].all():
            return index
    return None


def _thumbnails(series: DsaSeries, workers: int | None) -> npt.NDArray[np.float32]:
    """Area-averaged stored values: (T, h, w)."""
    factor = _factor(series.shape)
    thumbnails: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * series.n_frames

    def shrink(index: int, frame: Frame) -> None:
        thumbnails[index] = area_mean(frame, factor)

    for_each_frame(series, shrink, workers)
    return np.stack(thumbnails)


def _thumbnail_region(series: DsaSeries, thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(h, w) bool: pixels of the picture, away from shutters; everything when that leaves nothing."""
    mean = thumbnails.mean(axis=0)
    inside = mean > _SHUTTER_FRACTION * np.percentile(mean, 99)
    if series.valid_region is not None:
        inside &= area_mean(series.valid_region, _factor(series.shape)) >= 1.0
    inside = ndimage.binary_erosion(inside, iterations=_VESSEL_WIDTH_PX // 2, border_value=True)
    return inside if inside.any() else np.ones(mean.shape, bool)


def _factor(shape: tuple[int, int]) -> int:
    return max(1, -(-max(shape) // THUMBNAIL_PX))


def _mean_of_largest(values: npt.NDArray[np.floating], fraction: float) -> npt.NDArray[np.floating]:
    """Mean of the largest part of each row of (T, N); most values are 0, which slows a selection more than a sort."""
    count = min(values.shape[1], max(_FEWEST_PIXELS, round(fraction * values.shape[1])))
    return np.sort(values, axis=1)[:, -count:].mean(axis=1)


def _largest(values: npt.NDArray[np.floating], fraction: float) -> npt.NDArray[np.intp]:
    count = min(len(values), max(_FEWEST_PIXELS, round(fraction * len(values))))
    return np.argpartition(values, -count)[-count:]
