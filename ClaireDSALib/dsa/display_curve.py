"""Which power of the X-ray intensity display pixels are, measured from their noise.

A header that says DISP names a curve made for the eye and not which one. The noise tells: the variance of counted
photons is proportional to their number (the photon transfer curve: Janesick 2007, doi 10.1117/3.725073), so pixels
``v = c I^g`` have noise that grows as ``v^(1 - 1 / (2 g))``, and pixels on a logarithmic scale noise that falls with
brightness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.area_mean import area_mean
from ClaireDSALib.dsa.series import DsaSeries

POWERS = (0.5, 2.0)
"""What a measured power is limited to."""

_PAIRS = 6
"""Pairs of consecutive frames that are looked at, evenly spaced."""

_BLOCK_PX = 8
_FEWEST_BLOCKS = 100
_BINS = 12
_QUIET_SHARE = 0.25
"""Quantile over the pairs: some are free of passing contrast and of motion."""

_UNCLIPPED = (0.01, 0.98)
"""Share of the range; darker and brighter pixels may be clipped, and noise with them."""

_LEAST_RANGE = 1.5
"""Brightest over darkest bin; in less, noise does not change enough to tell a curve."""


def noise_exponent(series: DsaSeries) -> float | None:
    """Exponent ``b`` with which a run's noise grows with brightness, ``sd(v) ~ v^b``.

    Parameters
    ----------
    series : DsaSeries
        Unsubtracted frames, contrast dark.

    Returns
    -------
    float or None
        0.5 for pixels proportional to intensity, below 0 for logarithmic ones; None where it cannot be measured: one
        frame, frames without noise, or too little change of brightness over the picture.
    """
    inside = None if series.valid_region is None else area_mean(series.valid_region, _BLOCK_PX).ravel() == 1
    least, most = (share * series.max_value for share in _UNCLIPPED)
    levels, noises = [], []
    for first in _first_frames(series.n_frames):
        before, after = (series.frame(first + k).astype(np.float32) for k in (0, 1))
        level = area_mean((before + after) / 2, _BLOCK_PX).ravel()
        noise = area_mean(np.abs(after - before), _BLOCK_PX).ravel()
        kept = (level > least) & (level < most) & (noise > 0)
        levels.append(level)
        noises.append(np.where(kept if inside is None else kept & inside, noise, np.inf))
    if not levels:
        return None
    quiet = np.quantile(noises, _QUIET_SHARE, axis=0, method="lower")
    usable = np.isfinite(quiet)
    return _slope(np.mean(levels, axis=0)[usable], quiet[usable]) if usable.sum() >= _FEWEST_BLOCKS else None


def display_power(series: DsaSeries) -> float | None:
    """Power ``g`` of the intensity that a run's pixels are, within ``POWERS``.

    Returns
    -------
    float or None
        None where the pixels are logarithmic already, or :func:`noise_exponent` cannot tell.
    """
    exponent = noise_exponent(series)
    if exponent is None or exponent <= 0:
        return None
    return float(np.clip(0.5 / max(1.0 - exponent, 1e-6), *POWERS))


def _first_frames(n_frames: int) -> list[int]:
    """First frames of the pairs; the first of a run, as a rule exposed while the generator settles, is left out."""
    start = 1 if n_frames > 2 else 0
    return sorted({int(k) for k in np.linspace(start, n_frames - 2, _PAIRS)}) if n_frames > 1 else []


def _slope(level: npt.NDArray[np.floating], noise: npt.NDArray[np.floating]) -> float | None:
    """Slope of the logarithm of the median noise over that of brightness, in bins of equally many blocks."""
    order = np.argsort(level)
    bins = [(np.median(level[part]), np.median(noise[part])) for part in np.array_split(order, _BINS)]
    brightness, spread = np.log(np.array(bins)).T
    if brightness[-1] - brightness[0] < np.log(_LEAST_RANGE):
        return None
    return float(np.polyfit(brightness, spread, 1)[0])
