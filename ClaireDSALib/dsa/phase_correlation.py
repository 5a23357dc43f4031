"""Sub-pixel shifts between pictures from the phase of their spectra."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

_DETAIL_PX = 8.0
"""Standard deviation of the blur that is taken off first: what is wider says little about small shifts."""

_PEAK_PX = 1.2
"""Standard deviation of the correlation peak; it sets how much of the noisy high frequencies counts."""

_WEAK = 0.3
"""Of the mean strength: frequencies weaker than this count less, because they hold noise and leaks of the window."""

_TAPER = 0.12
"""Share of each side over which a picture fades out, so that its borders do not correlate."""


@dataclass(frozen=True)
class Aligner:
    """Finds how far pictures of one size have moved against a reference.

    Parameters
    ----------
    spectrum : (..., h, w // 2 + 1) complex64 ndarray
        Of the prepared reference, or of its blocks.
    window : (..., h, w) float32 ndarray
        Fades to zero at the border and outside the picture.
    largest_px : float
        Shifts beyond this are not looked for.
    """

    spectrum: npt.NDArray[np.complex64]
    window: npt.NDArray[np.float32]
    largest_px: float

    def shift_of(self, picture: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Displacement of a picture's content against the reference.

        Parameters
        ----------
        picture : (..., h, w) ndarray
            One picture, or a stack of blocks as given to :func:`align_to`.

        Returns
        -------
        shift_px : (..., 2) float64 ndarray
            (row, column); ``picture(x) = reference(x - shift)``.
        quality : (...) float64 ndarray
            Height of the correlation peak, 0 to 1; 1 for a noise-free shifted copy.

        Notes
        -----
        Cross-power spectrum, normalised (Kuglin and Hines 1975) except where it is weak, under a Gaussian weight,
        which makes the peak nearly Gaussian whatever the picture; three samples per axis then give its centre in
        closed form. The window stands still while the picture moves, which draws the answer towards zero by a
        hundredth or so: move the picture back and ask again where that matters.
        """
        size = (self.window.shape[-2], self.window.shape[-1])
        cross = fft.rfft2(prepared(picture, self.window)) * np.conj(self.spectrum)
        strength = np.abs(cross)
        weight = _gaussian_spectrum(size)
        typical = (strength * weight).mean(axis=(-2, -1), keepdims=True) / weight.mean()
        weight = weight / np.maximum(strength + _WEAK * typical, np.finfo(np.float32).tiny)
        surface = fft.irfft2(cross * weight, s=size)
        return _peaks(surface, self.largest_px, _sum_over_plane(strength * weight, size) / (size[0] * size[1]))


def align_to(
    reference: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_] | None = None, *, largest_px: float = 25.0
) -> Aligner:
    """Prepare a reference, or a stack of blocks of it: ``(..., h, w)``.

    Parameters
    ----------
    reference : (..., h, w) ndarray
    inside : (..., h, w) bool ndarray, optional
        False where there is no picture.
    largest_px : float
        Largest displacement to look for.
    """
    window = taper(reference.shape[-2:])  # type: ignore[arg-type]
    if inside is not None:
        window = window * _soft(inside)
    window = window.astype(np.float32)
    return Aligner(fft.rfft2(prepared(reference, window)), window, largest_px)


def prepared(picture: npt.NDArray[np.floating], window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fine detail of a picture, faded out at its border: (..., h, w) float32."""
    picture = np.asarray(picture, np.float32)
    return (picture - wide_blur(picture, _DETAIL_PX)) * window


def wide_blur(picture: npt.NDArray[np.float32], sigma_px: float) -> npt.NDArray[np.float32]:
    """Nearly Gaussian blur of (..., h, w) by two running means, whose cost does not grow with their width."""
    axes = (picture.ndim - 2, picture.ndim - 1)
    width = 2 * round(math.sqrt(1.5) * sigma_px) + 1  # two means of width w have variance (w^2 - 1) / 6
    once = ndimage.uniform_filter(picture, width, mode="nearest", axes=axes)
    return ndimage.uniform_filter(once, width, mode="nearest", axes=axes)


def taper(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(h, w) float32: 1 inside, falling to 0 at the border along half a cosine (Tukey window)."""
    return np.outer(_tukey(shape[0]), _tukey(shape[1])).astype(np.float32)


def _tukey(n: int) -> npt.NDArray[np.float64]:
    edge = max(1, round(_TAPER * n))
    window = np.ones(n)
    ramp = 0.5 * (1 - np.cos(np.pi * (np.arange(edge) + 0.5) / edge))
    window[:edge], window[n - edge :] = ramp, ramp[::-1]
    return window


def _soft(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Fade to zero towards shutters, from 2 to 6 pixels away from them."""
    if inside.all():
        return np.ones(inside.shape, np.float32)
    blocks = np.asarray(inside.reshape(-1, *inside.shape[-2:]))
    distance = np.stack(
        [ndimage.distance_transform_edt(np.pad(b, 1, constant_values=True))[1:-1, 1:-1] for b in blocks]
    )
    whole = np.array([bool(block.all()) for block in blocks])
    distance[whole] = 6.0
    return np.clip((distance.reshape(inside.shape) - 2.0) / 4.0, 0.0, 1.0).astype(np.float32)


def _gaussian_spectrum(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Fourier transform of the Gaussian peak: exp(-2 pi^2 s^2 f^2)."""
    f_row, f_column = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]
    return np.exp(-2 * np.pi**2 * _PEAK_PX**2 * (f_row**2 + f_column**2)).astype(np.float32)


def _sum_over_plane(half: npt.NDArray[np.floating], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Sum over all frequencies of an even function given on the half plane of a real transform."""
    counts = np.full(half.shape[-1], 2.0)
    counts[0] = 1.0
    if size[1] % 2 == 0:
        counts[-1] = 1.0
    return np.asarray((half.sum(axis=-2, dtype=np.float64) * counts).sum(axis=-1))


def _peaks(
    surface: npt.NDArray[np.floating], largest_px: float, possible: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    h, w = surface.shape[-2:]
    blocks = surface.reshape(-1, h, w)
    rows, columns = np.abs(fft.fftfreq(h, 1 / h)), np.abs(fft.fftfreq(w, 1 / w))
    near = (rows[:, None] <= largest_px) & (columns[None] <= largest_px)
    flat = np.where(near, blocks, -np.inf).reshape(len(blocks), -1).argmax(axis=1)
    row, column = np.unravel_index(flat, (h, w))
    number = np.arange(len(blocks))
    height = blocks[number, row, column]
    d_row = _centre(blocks[number, row - 1, column], height, blocks[number, (row + 1) % h, column])
    d_column = _centre(blocks[number, row, column - 1], height, blocks[number, row, (column + 1) % w])
    shift = np.stack([(row + h // 2) % h - h // 2 + d_row, (column + w // 2) % w - w // 2 + d_column], axis=-1)
    shape = surface.shape[:-2]
    quality = np.clip(height.reshape(shape) / np.maximum(possible, np.finfo(np.float64).tiny), 0, 1)
    return shift.reshape(*shape, 2), quality.astype(np.float64)


def _centre(
    before: npt.NDArray[np.floating], at: npt.NDArray[np.floating], after: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Offset of the top of a Gaussian through three neighbouring samples, -0.5 to 0.5."""
    floor = np.maximum(np.abs(at) * 1e-3, np.finfo(np.float32).tiny)
    a, b, c = (np.log(np.maximum(value, floor).astype(np.float64)) for value in (before, at, after))
    curvature = a - 2 * b + c
    return np.where(curvature < 0, np.clip(0.5 * (a - c) / np.minimum(curvature, -1e-12), -0.5, 0.5), 0.0)
