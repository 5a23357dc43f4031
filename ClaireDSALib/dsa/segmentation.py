"""Classical vessel segmentation: always there, nothing learnt, every threshold from the picture itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_triangle

from ClaireDSALib.dsa.vessel_measures import centerline_of, measure
from ClaireDSALib.dsa.vesselness import SIGMAS_PX, sato, upsampled

__all__ = ["VesselSegmentation", "centerline_of", "measure", "segment_classical", "without_small_pieces"]

Mask = npt.NDArray[np.bool_]

SMALLEST_SIDE_PX = 32
LARGEST_PIXELS = 2**26

BACKGROUND_FRACTION = 0.2
"""Side of the median window that finds the background, as a share of the longer side: wider than any vessel."""

NOISE_SIGMAS = 3.0
"""A vessel pixel stands at least this many standard deviations of the noise above the background."""

NOISY_FRACTION = 0.15
SMOOTHING_PX = 1.5
"""A picture whose noise limit exceeds this share of its strongest contrast is smoothed first (pixels of 512)."""

STRONGEST_PERCENTILE = 99.9

SEED_FACTOR = 3.0
"""A vessel must somewhere have a ridge this many times as high as the ridge threshold."""

SMALLEST_PIECE_FRACTION = 2e-4
"""Connected pieces smaller than this share of the picture are dropped (52 pixels of 512 x 512)."""

_BACKGROUND_GRID = 24
"""Samples across the median window; more are no more precise."""

_SCALES_FOR_PX = 512
_SMALLEST_SIGMA_PX = 0.7
_EDGE_FRACTION = 0.01
"""Soft edge of a shutter, as a share of the longer side."""

_DARK_BORDER_FRACTION = 0.03
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class VesselSegmentation:
    """Vessels of one projection.

    Parameters
    ----------
    mask : (H, W) bool ndarray
    centerline : (H, W) bool ndarray
        One pixel wide, part of the mask.
    threshold : float
        Local contrast above which a pixel counts, in units of the input (log attenuation for opacity, share of
        the range of its type for a MinIP).
    measurements : mapping
        As :func:`measure` returns.
    method : str
    """

    mask: Mask
    centerline: Mask
    threshold: float
    measurements: Mapping[str, float | None] = field(default_factory=dict)
    method: str = "classical (Sato ridges and hysteresis)"


def segment_classical(
    minip: npt.NDArray[np.generic] | None = None,
    *,
    opacity: npt.NDArray[np.floating] | None = None,
    valid_region: Mask | None = None,
    spacing_mm: tuple[float, float] | None = None,
) -> VesselSegmentation:
    """Segment the vessels of a MinIP (contrast dark) or of a peak opacity (contrast positive).

    1. Local contrast: the picture minus a wide median.
    2. Threshold of its positive part by the triangle method (Zack et al. 1977, doi 10.1177/25.7.70454), made for
       one large peak, the background, with a long tail, the vessels; and at least three standard deviations of
       the noise, which the negative part tells. A picture so noisy that this limit exceeds 15 % of its strongest
       contrast is smoothed a little and measured again.
    3. Hysteresis along vessels: of what is above, pieces stay that hold a ridge (Sato) three times as high as the
       triangle threshold of the ridges.
    4. Pieces below a five-thousandth of the picture are dropped.

    The fixed numbers were chosen on simulated runs. Everything scales with the size of the picture.

    Parameters
    ----------
    minip : (H, W) ndarray, optional
        Any real type, contrast dark.
    opacity : (H, W) ndarray, optional
        Contrast positive; one of the two must be given.
    valid_region : (H, W) bool ndarray, optional
        False on shutters; of a MinIP, dark areas at the border are found when it is not given.
    spacing_mm : (row, column), optional
        Pixel spacing, for measurements in millimetres.

    Returns
    -------
    VesselSegmentation
        With an empty mask when an opacity shows no contrast at all.

    Raises
    ------
    ValueError
        When both or none of the pictures are given, or the picture is not 2-D, smaller than 32 x 32, larger
        than 2**26 pixels, not finite, or a MinIP of one single value.
    """
    if (minip is None) == (opacity is None):
        msg = "give either a minip or an opacity, not both and not neither"
        raise ValueError(msg)
    picture = _from_minip(minip) if minip is not None else _checked(opacity)
    if valid_region is None and minip is not None:
        valid_region = ~_dark_border(np.asarray(minip, np.float32))
    region = _shrunk(valid_region, picture.shape)
    mask, threshold = _segment(picture, region)
    centerline = centerline_of(mask)
    measurements = measure(mask, spacing_mm, region=region, centerline=centerline)
    return VesselSegmentation(mask, centerline, threshold, measurements)


def without_small_pieces(mask: Mask) -> Mask:
    """Drop connected pieces below ``SMALLEST_PIECE_FRACTION`` of the picture; ``(H, W)`` bool."""
    return _without_small_pieces(mask, round(SMALLEST_PIECE_FRACTION * mask.size))


def _segment(picture: npt.NDArray[np.float32], region: Mask) -> tuple[Mask, float]:
    level = _levels(picture, region)
    if level.noise * NOISE_SIGMAS > NOISY_FRACTION * level.strongest:
        level = _levels(_smoothed(picture, region), region)
    if level.strongest <= 0:
        return np.zeros(picture.shape, bool), 0.0
    threshold = max(level.triangle, NOISE_SIGMAS * level.noise)
    candidate = (level.contrast > threshold) & region
    ridges = sato(np.minimum(level.contrast, level.strongest), _scales(picture.shape))
    seeds = candidate & (ridges > SEED_FACTOR * float(threshold_triangle(ridges[region])))
    mask = ndimage.binary_propagation(seeds, structure=_EIGHT, mask=candidate)
    return _without_small_pieces(mask, round(SMALLEST_PIECE_FRACTION * mask.size)), threshold


@dataclass(frozen=True)
class _Levels:
    """Local contrast, 0 or more, and the levels found in it."""

    contrast: npt.NDArray[np.float32]
    triangle: float
    noise: float
    strongest: float
    """Robust maximum: a clip or a coil must not set the scale."""


def _levels(picture: npt.NDArray[np.float32], region: Mask) -> _Levels:
    signed = _local_contrast(picture, region)
    contrast = np.maximum(signed, 0)
    if not contrast.any():
        return _Levels(contrast, 0.0, 0.0, 0.0)
    values = contrast[region]
    strongest = float(np.percentile(values, STRONGEST_PERCENTILE)) or float(values.max())
    triangle = float(threshold_triangle(np.minimum(values, strongest)))
    return _Levels(contrast, triangle, _noise_below(signed[region]), strongest)


def _smoothed(picture: npt.NDArray[np.float32], region: Mask) -> npt.NDArray[np.float32]:
    sigma = max(_SMALLEST_SIGMA_PX, SMOOTHING_PX * max(picture.shape) / _SCALES_FOR_PX)
    return ndimage.gaussian_filter(np.where(region, picture, np.median(picture[region])), sigma)


def _from_minip(minip: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Darkness as a share of the range of the type: contrast positive."""
    values = _checked(minip)
    if values.min() == values.max():
        msg = f"every pixel of the MinIP is {values.flat[0]:g}; there is nothing to segment"
        raise ValueError(msg)
    full = np.iinfo(str(minip.dtype)).max if np.issubdtype(minip.dtype, np.integer) else 1.0
    return values * np.float32(-1.0 / full)


def _checked(picture: npt.NDArray[np.generic] | None) -> npt.NDArray[np.float32]:
    values = np.asarray(picture, np.float32)
    if values.ndim != 2 or min(values.shape) < SMALLEST_SIDE_PX or values.size > LARGEST_PIXELS:
        msg = (
            f"vessels are segmented in (H, W) pictures of at least {SMALLEST_SIDE_PX} x {SMALLEST_SIDE_PX} and at most "
            f"{LARGEST_PIXELS} pixels; got shape {values.shape}"
        )
        raise ValueError(msg)
    if not np.isfinite(values).all():
        msg = "the picture holds NaN or infinite values; set them to the background first"
        raise ValueError(msg)
    return values


def _dark_border(minip: npt.NDArray[np.float32]) -> Mask:
    """Dark areas that touch the border and are larger than a vessel that leaves the picture."""
    dark = minip <= _DARK_BORDER_FRACTION * float(np.percentile(minip, 99))
    width = max(3, round(0.04 * max(minip.shape)))
    core = ndimage.binary_opening(np.pad(dark, width, mode="edge"), iterations=width // 2)[width:-width, width:-width]
    labels, _ = ndimage.label(ndimage.binary_propagation(core, structure=_EIGHT, mask=dark))
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, at_border[at_border > 0])


def _shrunk(region: Mask | None, shape: tuple[int, ...]) -> Mask:
    """The valid region without the soft edge of its shutters."""
    if region is None:
        return np.ones(shape, bool)
    if region.shape != shape:
        msg = f"valid_region must have the shape of the picture {shape}; got {region.shape}"
        raise ValueError(msg)
    margin = max(1, round(_EDGE_FRACTION * max(shape)))
    return ndimage.binary_erosion(region, iterations=margin, border_value=True)


def _local_contrast(picture: npt.NDArray[np.float32], region: Mask) -> npt.NDArray[np.float32]:
    """The picture minus its wide median; 0 outside the region."""
    if not region.any():
        return np.zeros(picture.shape, np.float32)
    filled = np.where(region, picture, np.median(picture[region]))
    window = BACKGROUND_FRACTION * max(picture.shape)
    step = max(1, int(window / _BACKGROUND_GRID))
    coarse = ndimage.median_filter(filled[::step, ::step], size=max(3, round(window / step)), mode="nearest")
    contrast = filled - upsampled(coarse, picture.shape)
    contrast[~region] = 0
    return contrast


def _noise_below(values: npt.NDArray[np.float32]) -> float:
    """Robust standard deviation of what lies below the background: vessels lie above, so this is noise alone."""
    below = values[values < 0]
    return float(1.4826 * np.median(-below)) if below.size else 0.0


def _scales(shape: tuple[int, ...]) -> list[float]:
    return [max(_SMALLEST_SIGMA_PX, sigma * max(shape) / _SCALES_FOR_PX) for sigma in SIGMAS_PX]


def _without_small_pieces(mask: Mask, smallest_px: int) -> Mask:
    labels, count = ndimage.label(mask, structure=_EIGHT)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    keep = sizes >= smallest_px
    keep[0] = False
    return keep[labels]
