"""The run in one picture: hue tells when, brightness tells how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.maps import TemporalMaps
from ClaireDSALib.dsa.order_statistics import percentile

FIRST_HUE = 0.0
"""Red: the earliest time, as on consoles; hue runs over yellow and green to blue."""

LAST_HUE = 0.64
"""Blue: the latest time. Stopping before magenta keeps late apart from early."""

_GAMMA = 0.5
"""Below one: thin vessels stay visible beside thick ones."""

_TINY = float(np.finfo(np.float32).tiny)
_BRIGHT_PERCENTILE = 99.0
_EARLY_PERCENTILE, _LATE_PERCENTILE = 2.0, 98.0


@dataclass(frozen=True)
class Legend:
    """The colour scale.

    Parameters
    ----------
    first_s, last_s : float
        Times of the first and the last colour.
    ticks_s : tuple of float
        Round times to label.
    colors : (N, 3) uint8 ndarray
        Colours at equal steps from the first time to the last, full brightness.
    """

    first_s: float
    last_s: float
    ticks_s: tuple[float, ...]
    colors: npt.NDArray[np.uint8]

    def position(self, time_s: float) -> float:
        """Place of a time along the scale, 0 to 1."""
        span = self.last_s - self.first_s
        return float(np.clip((time_s - self.first_s) / span, 0.0, 1.0)) if span > 0 else 0.0


def color_summary(maps: TemporalMaps, *, times_s: npt.NDArray[np.floating] | None = None) -> npt.NDArray[np.uint8]:
    """Colour-coded picture: ``(H, W, 3)`` uint8 RGB on black.

    Hue: time to peak, red early to blue late, between the times of :func:`legend`. Brightness: peak opacity to
    the power 0.5, full at the 99th percentile of the pixels that hold contrast. Black: no contrast.

    Parameters
    ----------
    maps : TemporalMaps
    times_s : ndarray, optional
        Another map to colour by, such as ``maps.arrival_time_s``; (H, W), NaN stays black.
    """
    shown = maps.time_to_peak_s if times_s is None else np.asarray(times_s, np.float32)
    scale = legend(maps, times_s=shown)
    contrast = np.isfinite(shown) & np.isfinite(maps.peak_opacity)
    picture = np.zeros((*shown.shape, 3), np.uint8)
    if not contrast.any():
        return picture
    span = max(scale.last_s - scale.first_s, _TINY)
    place = np.clip((shown[contrast] - scale.first_s) / span, 0.0, 1.0)
    opacity = np.maximum(maps.peak_opacity[contrast], 0.0)
    full = max(float(percentile(opacity, _BRIGHT_PERCENTILE)), _TINY)
    bright = np.clip(opacity / full, 0.0, 1.0) ** _GAMMA
    picture[contrast] = np.round(255 * _rgb(place) * bright[:, None]).astype(np.uint8)
    return picture


def legend(maps: TemporalMaps, *, times_s: npt.NDArray[np.floating] | None = None, n_colors: int = 256) -> Legend:
    """Scale of :func:`color_summary`: from the 2nd to the 98th percentile of the times, with ticks in seconds."""
    shown = maps.time_to_peak_s if times_s is None else np.asarray(times_s, np.float32)
    finite = shown[np.isfinite(shown)]
    first, last = (
        (float(percentile(finite, one)) for one in (_EARLY_PERCENTILE, _LATE_PERCENTILE)) if finite.size else (0.0, 0.0)
    )
    colors = np.round(255 * _rgb(np.linspace(0.0, 1.0, n_colors))).astype(np.uint8)
    return Legend(first, last, _ticks(first, last), colors)


def legend_image(scale: Legend, *, height: int = 256, width: int = 24) -> npt.NDArray[np.uint8]:
    """The scale as a bar, early at the bottom: ``(height, width, 3)`` uint8, ticks notched in white at the right."""
    rows = np.linspace(1.0, 0.0, height)
    index = np.round(rows * (len(scale.colors) - 1)).astype(int)
    bar = np.repeat(scale.colors[index][:, None], width, axis=1)
    for tick in scale.ticks_s:
        row = round((1.0 - scale.position(tick)) * (height - 1))
        bar[row, width - max(2, width // 4) :] = 255
    return bar


def _ticks(first: float, last: float, wanted: int = 5) -> tuple[float, ...]:
    """Round times (1, 2 or 5 times a power of ten apart) inside the range; both ends when it is a point."""
    span = last - first
    if span <= 0:
        return (first,)
    raw = span / wanted
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * min((m for m in (1, 2, 5, 10) if m * power >= raw), default=10)
    start = int(np.ceil(first / step - 1e-9))
    stop = int(np.floor(last / step + 1e-9))
    return tuple(round(float(k * step), 6) for k in range(start, stop + 1)) or (first, last)


def _rgb(place: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Fully saturated colours of the hue circle: (..., 3), 0 to 1."""
    hue = FIRST_HUE + (LAST_HUE - FIRST_HUE) * np.asarray(place, np.float64)
    distance = np.abs((hue[..., None] - np.array([0.0, 1 / 3, 2 / 3]) + 0.5) % 1.0 - 0.5)
    return np.clip(2.0 - 6.0 * distance, 0.0, 1.0)
