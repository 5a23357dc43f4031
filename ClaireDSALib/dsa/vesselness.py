"""Ridge filters for vessels: Frangi and Sato, in float32 and on a pyramid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Picture = npt.NDArray[np.float32]
"""(H, W) float32, vessels bright (opacity)."""

SIGMAS_PX = (1.0, 1.6, 2.6, 4.2, 6.7)
"""Scales at 512 pixels; a vessel of radius r answers most at a sigma near r / sqrt(3) to r / sqrt(2)."""

FRANGI_BETA = 0.5
"""Frangi et al. 1998, equation 15: half of the largest possible ratio of the curvatures."""

_DECIMATE_FROM_PX = 4.0
"""A picture blurred this much loses nothing when every other pixel is dropped."""

_DIFFERENCE_VARIANCE = 1 / 6
_LEAST_VARIANCE = 0.05

_STRUCTURE_PERCENTILE = 99.9
"""Robust stand-in for the largest structure norm, so that one clip of metal does not set the scale."""


def frangi(
    picture: npt.NDArray[np.floating],
    sigmas_px: Sequence[float] = SIGMAS_PX,
    *,
    beta: float = FRANGI_BETA,
    gamma: float | None = None,
) -> Picture:
    """Vesselness of bright ridges (Frangi et al. 1998, doi 10.1007/BFb0056195, equation 15).

    ``V = max over s of exp(-Rb^2 / (2 beta^2)) (1 - exp(-S^2 / (2 gamma^2)))`` where the second, larger curvature
    is negative, else 0; ``Rb`` is the ratio of the curvatures, ``S`` their root sum of squares, both from the
    Hessian times ``s^2``.

    Parameters
    ----------
    picture : (H, W) ndarray
        Vessels bright, such as opacity.
    sigmas_px : sequence of float
        Scales in pixels, in any order.
    beta : float
        Tolerance for blobs.
    gamma : float, optional
        Structure norm, in units of the picture, that gives a response of 0.39. Unless given: half of the 99.9th
        percentile of the structure norm over all scales, one number whatever their order.

    Returns
    -------
    (H, W) float32 ndarray
        0 to 1.

    Raises
    ------
    ValueError
        For a picture that is not 2-D or not finite, no scales, or a parameter that is not positive.
    """
    picture, scales = _checked(picture, sigmas_px)
    if beta <= 0 or (gamma is not None and gamma <= 0):
        msg = f"beta and gamma must be positive; got beta={beta}, gamma={gamma}"
        raise ValueError(msg)
    levels = [_curvatures(picture, sigma) for sigma in scales]
    if gamma is None:
        gamma = 0.5 * max(float(np.percentile(_norm(*level), _STRUCTURE_PERCENTILE)) for level in levels)
    if gamma == 0:
        return np.zeros(picture.shape, np.float32)
    return _largest(picture.shape, (_frangi_of_level(*level, beta, gamma) for level in levels))


def sato(picture: npt.NDArray[np.floating], sigmas_px: Sequence[float] = SIGMAS_PX) -> Picture:
    """Height of bright ridges: largest ``-s^2 lambda2`` over the scales, 0 where there is none.

    The two-dimensional case of Sato et al. 1998 (doi 10.1016/S1361-8415(98)80009-1) without suppression of
    blobs. The unit is that of the picture, so the response keeps the contrast of the vessel.

    Parameters
    ----------
    picture : (H, W) ndarray
        Vessels bright, such as opacity.
    sigmas_px : sequence of float
        Scales in pixels, in any order.

    Raises
    ------
    ValueError
        For a picture that is not 2-D or not finite, or no scales.
    """
    picture, scales = _checked(picture, sigmas_px)
    levels = (_curvatures(picture, sigma) for sigma in scales)
    return _largest(picture.shape, (np.maximum(-strong, 0) for _, strong in levels))


def _checked(picture: npt.NDArray[np.floating], sigmas_px: Sequence[float]) -> tuple[Picture, list[float]]:
    picture = np.asarray(picture, np.float32)
    if picture.ndim != 2 or not picture.size or not np.isfinite(picture).all():
        msg = f"vesselness needs a finite (H, W) picture; got shape {picture.shape}"
        raise ValueError(msg)
    if not sigmas_px or min(sigmas_px) <= 0:
        msg = f"scales must be positive and at least one; got {tuple(sigmas_px)}"
        raise ValueError(msg)
    return picture, sorted(set(map(float, sigmas_px)))


def _curvatures(picture: Picture, sigma_px: float) -> tuple[Picture, Picture]:
    """Eigenvalues of the Hessian times sigma squared, the weaker first; on a decimated grid for large sigma.

    One Gaussian and second differences instead of three derivative filters. A second difference is the second
    derivative blurred with a triangle of variance 1/6, which is taken off the Gaussian's beforehand.
    """
    step = 1
    while sigma_px / step >= _DECIMATE_FROM_PX and min(picture.shape) // (2 * step) >= 8:
        step *= 2
    if step > 1:
        pre = 0.5 * _DECIMATE_FROM_PX / 2 * step
        picture = ndimage.gaussian_filter(picture, pre, mode="nearest")[::step, ::step]
        sigma_px = math.sqrt(sigma_px**2 - pre**2) / step
        full = math.hypot(sigma_px, pre / step)
    else:
        full = sigma_px
    narrowed = math.sqrt(max(sigma_px**2 - _DIFFERENCE_VARIANCE, _LEAST_VARIANCE))
    smooth = ndimage.gaussian_filter(picture, narrowed, mode="nearest", truncate=3.5)
    return _eigenvalues(*_second_differences(smooth), full**2)


def _second_differences(smooth: Picture) -> tuple[Picture, Picture, Picture]:
    """Second derivatives along rows, across, and along columns."""
    padded = np.pad(smooth, 1, mode="edge")
    twice = 2 * smooth
    rr = padded[2:, 1:-1] + padded[:-2, 1:-1] - twice
    cc = padded[1:-1, 2:] + padded[1:-1, :-2] - twice
    rc = (padded[2:, 2:] - padded[2:, :-2] - padded[:-2, 2:] + padded[:-2, :-2]) * np.float32(0.25)
    return rr, rc, cc


def _eigenvalues(rr: Picture, rc: Picture, cc: Picture, scale: float) -> tuple[Picture, Picture]:
    """Of the symmetric 2 x 2 matrices, the one of smaller magnitude first, times ``scale``."""
    half = np.float32(0.5 * scale)
    mean = (rr + cc) * half
    root = np.sqrt(np.square((rr - cc) * half) + np.square(rc * np.float32(scale)))
    sign = np.where(mean < 0, np.float32(-1), np.float32(1))
    return mean - sign * root, mean + sign * root


def _norm(weak: Picture, strong: Picture) -> Picture:
    return np.sqrt(np.square(weak) + np.square(strong))


def _frangi_of_level(weak: Picture, strong: Picture, beta: float, gamma: float) -> Picture:
    with np.errstate(divide="ignore", invalid="ignore"):
        blob = np.where(strong < 0, np.square(weak / strong), np.float32(0))
    structure = np.square(weak) + np.square(strong)
    answer = np.exp(blob * np.float32(-0.5 / beta**2)) * -np.expm1(structure * np.float32(-0.5 / gamma**2))
    return np.where(strong < 0, answer, np.float32(0))


def _largest(shape: tuple[int, int], levels: Iterable[Picture]) -> Picture:
    """Pixel-wise maximum over the scales, coarse ones brought back to full size."""
    out = np.zeros(shape, np.float32)
    for level in levels:
        np.maximum(out, upsampled(level, shape), out=out)
    return out


def upsampled(level: Picture, shape: tuple[int, int]) -> Picture:
    """Linear interpolation of a decimated picture, sample 0 upon sample 0."""
    if level.shape == shape:
        return level
    for axis in (0, 1):
        step = -(-shape[axis] // level.shape[axis])
        position = np.arange(shape[axis], dtype=np.float32) / step
        low = np.minimum(position.astype(np.intp), level.shape[axis] - 1)
        high = np.minimum(low + 1, level.shape[axis] - 1)
        share = (position - low).reshape((-1, 1) if axis == 0 else (1, -1))
        level = np.take(level, low, axis) * (1 - share) + np.take(level, high, axis) * share
    return level
