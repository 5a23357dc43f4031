"""Which vessels the minimum over time can show: filled ones that stand out from the blush behind them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.frame_noise import LEAST_OPACITY, NOISE_SIGMAS

from .iodine import IodineRun

Mask = npt.NDArray[np.bool_]

LEAST_SHARE = 0.05
"""Share of the run's strongest contrast below which a picture windowed to its range shows no vessel."""

_STRONGEST_PERCENTILE = 99.5
_EDGE_SHARE = 0.5
"""Share of the limit that a vessel reaches at its own edge before the detector blurs it."""

_SMALLEST_FRACTION = 5e-5
"""Pieces below this share of the picture are specks to whoever looks at it."""


def shown_vessels(
    iodine: IodineRun,
    opacity: npt.NDArray[np.float32],
    noise: float | npt.NDArray[np.float32],
    region: Mask,
    *,
    contrast: bool = True,
    blur_px: float = 0.5,
) -> tuple[Mask, Mask]:
    """Arteries and veins that a run's MinIP shows; they may overlap.

    A pixel shows a vessel when contrast in arteries and veins raises the peak opacity above that of the blush
    alone, as the detector blurs it, by more than ``LEAST_OPACITY``, two standard deviations of the noise, and
    ``LEAST_SHARE`` of the strongest opacity in the picture. It is artery, vein or both by what by itself passes that
    limit, and the stronger of the two where only their sum does. What is filled counts, also by reflux or from the
    other side. Specks are left out.

    Parameters
    ----------
    iodine : IodineRun
    opacity : (H, W) float32 ndarray
        Noise- and motion-free peak opacity of the run as the detector gets it and the pixels keep it: what scatter
        washes out or the console saturates is not shown.
    noise : float or (H, W) float32 ndarray
        Standard deviation of the logarithm of one frame.
    region : (H, W) bool ndarray
        Inside the collimator.
    contrast : bool
        False for a run without an injection, or with contrast in its mask: nothing is shown dark.
    blur_px : float
        Standard deviation of the detector's blur.

    Returns
    -------
    arteries, veins : (H, W) bool ndarray
    """
    if not contrast or not region.any():
        return np.zeros(region.shape, bool), np.zeros(region.shape, bool)
    total = np.maximum(iodine.peak, 1e-9)
    per_iodine = opacity / total
    strongest = float(np.percentile(opacity[region], _STRONGEST_PERCENTILE))
    limit = np.maximum(NOISE_SIGMAS * noise, max(LEAST_OPACITY, LEAST_SHARE * strongest))
    sharp = [per_iodine * peak for peak in (iodine.artery_peak, iodine.vein_peak, total - iodine.blush_peak)]
    artery, vein, both = (ndimage.gaussian_filter(one, blur_px) for one in sharp)
    here = [one > _EDGE_SHARE * limit for one in sharp]
    shown = _without_specks(region & (both > limit) & (here[0] | here[1]))
    neither = (artery <= limit) & (vein <= limit)
    arteries = shown & here[0] & ((artery > limit) | (neither & (artery >= vein)))
    veins = shown & here[1] & ((vein > limit) | (neither & (vein > artery)))
    return arteries, veins


def _without_specks(mask: Mask) -> Mask:
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), bool))
    keep = np.bincount(labels.ravel()) >= _SMALLEST_FRACTION * mask.size
    keep[0] = False
    return keep[labels]
