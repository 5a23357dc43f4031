"""From path lengths to detector counts: two-bin spectrum, scatter, glare, blur, quantum and electronic noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .body import BodyLayers, resize

Image = npt.NDArray[np.float32]

BIN_WEIGHT = (0.6, 0.4)
"""Share of photons in a soft (42 keV) and a hard (60 keV) bin: a filtered 80 kV angiography beam in two numbers."""

SOFT_PER_MM = (0.0258, 0.0206)
"""Linear attenuation of water at 42 and 60 keV (NIST XCOM, 0.258 and 0.206 /cm)."""

BONE_PER_MM = (0.115, 0.0604)
"""Compact bone, ICRU-44, density 1.92 (NIST XCOM)."""

IODINE_CM2_PER_MG = (0.0194, 0.00758)
"""Iodine mass attenuation above its K edge (NIST XCOM, 19.4 and 7.58 cm^2/g)."""

METAL_PER_MM = (2.5, 0.95)
"""Steel (NIST XCOM for iron); other metals are given as millimetres of steel."""

_SCATTER_GRID = 48


@dataclass(frozen=True)
class Detector:
    """One exposure setting.

    Parameters
    ----------
    photons : float
        Quanta per pixel and frame where the body transmits its median share; sets the quantum noise.
    scatter_to_primary : float
        Scattered over primary intensity behind the thickest half of the picture.
    glare : float
        Share of the signal spread widely inside the detector.
    blur_px : float
        Gaussian sigma of focal spot and detector together.
    electronic_noise : float
        Standard deviation added per pixel, in quanta.
    fluctuation : float
        Relative drift of the tube output from frame to frame.

    Raises
    ------
    ValueError
        When photons are not positive or a share is negative.
    """

    photons: float = 8000.0
    scatter_to_primary: float = 0.5
    glare: float = 0.05
    blur_px: float = 0.5
    electronic_noise: float = 4.0
    fluctuation: float = 0.003

    def __post_init__(self) -> None:
        if self.photons <= 0:
            msg = f"photons must be positive; got {self.photons}"
            raise ValueError(msg)
        shares = (self.scatter_to_primary, self.glare, self.blur_px, self.electronic_noise, self.fluctuation)
        if min(shares) < 0:
            msg = f"scatter, glare, blur, noise and fluctuation must not be negative; got {shares}"
            raise ValueError(msg)


def attenuation_bins(layers: BodyLayers, metal_mm: Image | float = 0.0) -> tuple[Image, Image]:
    """Line integrals of a body and metal in the two bins, ``(H, W)`` float32 each, without contrast."""
    bone = layers.bone_far_mm + layers.bone_near_mm
    soft, hard = (
        SOFT_PER_MM[k] * layers.soft_mm + BONE_PER_MM[k] * bone + METAL_PER_MM[k] * metal_mm for k in range(2)
    )
    return soft.astype(np.float32), hard.astype(np.float32)


def transmit(attenuation: tuple[Image, Image], iodine_mg_cm2: Image | None = None) -> Image:
    """Primary intensity relative to air (Beer-Lambert, summed over the bins).

    Parameters
    ----------
    attenuation : pair of (H, W) float32 ndarray
        Line integrals of everything but contrast, per bin.
    iodine_mg_cm2 : (H, W) ndarray or None

    Returns
    -------
    (H, W) float32 ndarray
        ``sum_k w_k exp(-a_k - m_k i)``, 1 in air.
    """
    total = np.zeros_like(attenuation[0])
    for weight, a, mass in zip(BIN_WEIGHT, attenuation, IODINE_CM2_PER_MG, strict=True):
        exponent = -a if iodine_mg_cm2 is None else -(a + np.float32(mass) * iodine_mg_cm2)
        total += np.float32(weight) * np.exp(exponent, dtype=np.float32)
    return total


def contrast_opacity(attenuation: tuple[Image, Image], iodine_mg_cm2: Image) -> Image:
    """Noise-free opacity ``ln(without / with contrast)`` behind a body: what a perfect subtraction shows."""
    return np.log(transmit(attenuation) / np.maximum(transmit(attenuation, iodine_mg_cm2), 1e-20)).astype(np.float32)


def scatter_field(primary: Image, detector: Detector, level: float) -> Image:
    """Scatter and veiling glare as one smooth field, in the unit of ``primary``.

    Both vary slowly, so that one field, taken from the frame without contrast, serves a whole run. Scatter comes
    from the body, not from the bare beam beside it, whose brightness is therefore capped (``level`` is the median
    transmission of the body, see :func:`reference_level`).
    """
    step = max(1, primary.shape[0] // _SCATTER_GRID)
    coarse = primary[::step, ::step]
    wide = ndimage.gaussian_filter(np.minimum(coarse, 2 * level), _SCATTER_GRID * 0.14, mode="nearest")
    glare = ndimage.gaussian_filter(np.minimum(coarse, 12 * level), _SCATTER_GRID * 0.08, mode="nearest")
    return resize(detector.scatter_to_primary * wide + detector.glare * glare, primary.shape)


def reference_level(primary: Image, region: npt.NDArray[np.bool_]) -> float:
    """Transmission that ``Detector.photons`` refers to: the median behind the body inside the field."""
    inside = primary[region] if region.any() else primary.ravel()
    body = inside[inside < 0.1]
    return float(np.median(body if body.size > 50 else inside))


def count(intensity: Image, detector: Detector, level: float, rng: np.random.Generator, *, drift: float = 0.0) -> Image:
    """Add quantum noise, blur and electronic noise.

    Parameters
    ----------
    intensity : (H, W) float32 ndarray
        Primary and scatter relative to air.
    level : float
        See :func:`reference_level`.
    drift : float
        Relative change of the tube output of this frame.

    Returns
    -------
    (H, W) float32 ndarray
        Counts; variance equals the mean for ``blur_px = 0`` and no electronic noise (Gaussian limit of Poisson).
    """
    quanta = intensity * np.float32(detector.photons / level * (1 + drift))
    quanta += rng.standard_normal(quanta.shape, dtype=np.float32) * np.sqrt(quanta)
    if detector.blur_px > 0:
        quanta = _blur(quanta, detector.blur_px)
    if detector.electronic_noise > 0:
        quanta += rng.standard_normal(quanta.shape, dtype=np.float32) * np.float32(detector.electronic_noise)
    return np.maximum(quanta, 0, out=quanta)


def _blur(image: Image, sigma_px: float) -> Image:
    """Separable Gaussian; small sigmas as three taps with the same variance, which costs a fifth."""
    if sigma_px > 0.85:
        return ndimage.gaussian_filter(image, sigma_px, mode="nearest", truncate=2.5)
    side = np.float32(sigma_px**2 / 2)
    for axis in (0, 1):
        padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        image = image * (1 - 2 * side) + side * (before + after)
    return image
