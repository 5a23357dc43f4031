"""Pictures with analytic truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def textured(size: int = 160, seed: int = 0, detail: float = 2.0) -> np.ndarray:
    """(size, size) float64 attenuation with detail at every scale, as bone has."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size, size))
    for sigma in (detail, 2 * detail, 4 * detail, 8 * detail):
        layer = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
        picture += layer / layer.std() * 0.05
    return picture


def moved(picture: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """The picture displaced by a shift, exactly: its periodic continuation, through the Fourier transform."""
    rows, columns = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])[None]
    phase = np.exp(-2j * np.pi * (rows * shift[0] + columns * shift[1]))
    return np.fft.ifft2(np.fft.fft2(picture) * phase).real


def counts(attenuation: np.ndarray, unattenuated: float = 20000.0) -> np.ndarray:
    """Stored values of an attenuation, linear in intensity."""
    return np.round(unattenuated * np.exp(-attenuation)).astype(np.uint16)
