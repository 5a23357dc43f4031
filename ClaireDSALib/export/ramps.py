"""Colour ramps of overlays, maps and legends: one place for pictures, pages and scenes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

N_COLORS = 256

_RAMPS: dict[str, tuple[str, ...]] = {
    # Dark violet over orange to pale yellow: lightness rises evenly and reads well on a grey angiogram.
    "heat": ("#2a0a4a", "#7a1f6c", "#c73e4c", "#f47d15", "#fbc53a", "#fdf5b2"),
    # Early is warm, late is cool: the order angiographers know from colour-coded DSA.
    "time": ("#e5322d", "#f58a1f", "#f4dd3b", "#58c26a", "#1fa3c9", "#3a4cc0"),
    # One hue, for amounts.
    "amount": ("#062a3a", "#0b5a73", "#1a93a8", "#62c9c0", "#d5f5e3"),
    # Blue over green to yellow, monotone in lightness: maps with a colour bar.
    "map": ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"),
}


def ramp_names() -> tuple[str, ...]:
    """Names of all ramps."""
    return tuple(_RAMPS)


def ramp(name: str) -> npt.NDArray[np.uint8]:
    """``(256, 3)`` uint8 colours of a ramp, see :func:`ramp_names`."""
    return np.round(shade(name, np.linspace(0, 1, N_COLORS))).astype(np.uint8)


def shade(name: str, place: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Colours ``(..., 3)`` from 0 to 255 at places from 0 to 1 along a ramp."""
    stops = np.array([[int(s[i : i + 2], 16) for i in (1, 3, 5)] for s in _RAMPS[name]], float)
    at = np.arange(len(stops)) / (len(stops) - 1)
    return np.stack([np.interp(place, at, stops[:, c]) for c in range(3)], -1)


def css_stops(name: str) -> tuple[str, ...]:
    """Colours of a ramp for a CSS gradient, low to high."""
    return _RAMPS[name]
