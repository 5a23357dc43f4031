"""Which vessels the minimum over time can show: filled ones that stand out from the blush behind them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .iodine import IodineRun

Mask = npt.NDArray[np.bool_]

LEAST_OPACITY = 0.04
"""Log attenuation below which no display shows a vessel."""

LEAST_SHARE = 0.05
"""Share of the run's strongest contrast below which a picture windowed to its range shows no vessel."""

NOISE_SIGMAS = 2.0

_STRONGEST_PERCENTILE = 99.5


def shown_vessels(
    iodine: IodineRun, opacity: npt.NDArray[np.float32], noise: float, region: Mask, *, contrast: bool = True
) -> tuple[Mask, Mask]:
    """Arteries and veins that a run's MinIP shows; they may overlap.

    A pixel shows a vessel when contrast in arteries and veins raises the peak opacity above that of the blush
    alone, by more than ``LEAST_OPACITY``, two standard deviations of the noise, and ``LEAST_SHARE`` of the
    strongest opacity in the picture. It is artery, vein or both by what by itself passes that limit, and the
    stronger of the two where only their sum does.

    Parameters
    ----------
    iodine : IodineRun
    opacity : (H, W) float32 ndarray
        Noise- and motion-free peak opacity of the run.
    noise : float
        Standard deviation of the logarithm of one frame.
    region : (H, W) bool ndarray
        Inside the collimator.
    contrast : bool
        False for a run without an injection, or with contrast in its mask: nothing is shown dark.

    Returns
    -------
    arteries, veins : (H, W) bool ndarray
    """
    if not contrast or not region.any():
        return np.zeros(region.shape, bool), np.zeros(region.shape, bool)
    total = np.maximum(iodine.peak, 1e-9)
    per_iodine = opacity / total
    strongest = float(np.percentile(opacity[region], _STRONGEST_PERCENTILE))
    limit = max(LEAST_OPACITY, NOISE_SIGMAS * noise, LEAST_SHARE * strongest)
    shown = region & (per_iodine * (total - iodine.blush_peak) > limit)
    shown &= iodine.artery_mask | iodine.vein_mask
    artery = per_iodine * iodine.artery_peak * iodine.artery_mask
    vein = per_iodine * iodine.vein_peak * iodine.vein_mask
    neither = (artery <= limit) & (vein <= limit)
    arteries = shown & ((artery > limit) | (neither & (artery >= vein)))
    veins = shown & ((vein > limit) | (neither & (vein > artery)))
    return arteries, veins
