"""When contrast arrives: the contrast curve of a run, before anything is subtracted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.attenuation import attenuation_curve
from ClaireDSALib.dsa.projection import worker_count
from ClaireDSALib.dsa.series import DsaSeries

THUMBNAIL_PX = 128
"""Longer side of the area-averaged frames; averaging also takes out most of the quantum noise."""

ONSET_FRACTION = 0.15
"""Contrast has arrived when the darkest part of a frame has gone this far from its least to its most."""

SMALLEST_RISE = 0.04
"""Log attenuation (4 %); a run whose darkest part changes less shows no arrival of contrast."""

_DARKEST_FRACTION = 0.01
"""Share of the picture taken as "its darkest part": about what one opacified carotid siphon covers."""

_VESSEL_FRACTION = 0.05
"""Share of the picture, by peak opacity, over which the curve is averaged."""

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
        Opacity of the darkest hundredth of each frame; rises as soon as the first vessel fills.
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

    Works on area-averaged frames, each freed of its own median attenuation so that a change of exposure is
    not taken for contrast. The reference of a pixel is its least attenuation over the run.

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
    attenuation = _thumbnails(series, workers)
    inside = attenuation[:, _thumbnail_region(series)]
    inside = inside - np.median(inside, axis=1, keepdims=True)
    opacity = inside - inside.min(axis=0)
    onset = _mean_of_largest(opacity, _DARKEST_FRACTION)
    free, reason = _contrast_free(onset)
    if free:
        opacity = inside - inside[list(free)].mean(axis=0)
    vessels = _largest(opacity.max(axis=0), _VESSEL_FRACTION)
    curve = opacity[:, vessels].mean(axis=1).astype(np.float32)
    return ContrastCurve(series.times_s, curve, onset.astype(np.float32), free, reason)


def _contrast_free(onset: npt.NDArray[np.floating]) -> tuple[tuple[int, ...], str]:
    n = len(onset)
    if n < 2:
        return (), f"a run of {n} frame has no frame to spare as mask"
    rise = float(onset.max() - onset.min())
    if rise < SMALLEST_RISE:
        return (), f"no arrival of contrast is seen: the darkest part changes by {rise:.3f} in log attenuation"
    arrived = (onset - onset.min()) / rise > ONSET_FRACTION
    start = 0
    while arrived[start] and start < min(_UNSTEADY_FRAMES, n // 4):
        start += 1
    if arrived[start]:
        return (), "contrast is in the picture from the first frame on"
    arrival = _first_lasting(arrived, start)
    if arrival is None:
        return (), "no lasting arrival of contrast is seen"
    return tuple(range(start, arrival)), ""


def _first_lasting(arrived: npt.NDArray[np.bool_], start: int) -> int | None:
    """First frame from ``start`` on that shows contrast together with its successor, if it has one."""
    for index in range(start, len(arrived)):
        if arrived[index : index + 2].all():
            return index
    return None


def _thumbnails(series: DsaSeries, workers: int | None) -> npt.NDArray[np.float32]:
    """Attenuation of the area-averaged frames: (T, h, w) float32."""
    curve = attenuation_curve(series)
    factor = _factor(series.shape)

    def thumbnail(index: int) -> npt.NDArray[np.float32]:
        return curve(_area_mean(series.frame(index), factor))

    with ThreadPoolExecutor(worker_count(series.n_frames, workers)) as pool:
        return np.stack(list(pool.map(thumbnail, range(series.n_frames))))


def _thumbnail_region(series: DsaSeries) -> npt.NDArray[np.bool_]:
    """(h, w) bool: thumbnail pixels that lie wholly inside the picture; everything when that leaves nothing."""
    factor = _factor(series.shape)
    shape = tuple(max(1, size // factor) for size in series.shape)
    if series.valid_region is None:
        return np.ones(shape, bool)
    inside = _area_mean(series.valid_region.astype(np.uint8), factor) >= 1.0
    return inside if inside.any() else np.ones(shape, bool)


def _factor(shape: tuple[int, int]) -> int:
    return max(1, -(-max(shape) // THUMBNAIL_PX))


def _area_mean(frame: npt.NDArray[np.unsignedinteger], factor: int) -> npt.NDArray[np.float64]:
    """Mean over ``factor`` x ``factor`` blocks; rows first, because adding whole rows is fast."""
    if factor == 1 or min(frame.shape) < factor:
        return frame.astype(np.float64) if factor == 1 else frame[::factor, ::factor].astype(np.float64)
    h, w = frame.shape[0] // factor, frame.shape[1] // factor
    rows = frame[: h * factor, : w * factor].reshape(h, factor, w * factor).sum(axis=1, dtype=np.uint32)
    return rows.reshape(h, w, factor).sum(axis=2) / float(factor * factor)


def _mean_of_largest(values: npt.NDArray[np.floating], fraction: float) -> npt.NDArray[np.floating]:
    """Mean of the largest part of each row of (T, N)."""
    count = min(values.shape[1], max(_FEWEST_PIXELS, round(fraction * values.shape[1])))
    return np.partition(values, -count, axis=1)[:, -count:].mean(axis=1)


def _largest(values: npt.NDArray[np.floating], fraction: float) -> npt.NDArray[np.intp]:
    count = min(len(values), max(_FEWEST_PIXELS, round(fraction * len(values))))
    return np.argpartition(values, -count)[-count:]
