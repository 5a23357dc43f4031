"""Give source pictures the average look of the target: frame, sharpness and tone, measured without labels.

One filter and one tone curve for the whole domain, not per picture: matching picture by picture would carry over what
the target picture shows (bone, contrast) and so change the label. In the spirit of amplitude swapping (Yang and
Soatto, CVPR 2020) and histogram matching, with radially averaged spectra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.samples import LabelledPictures

FloatArray = npt.NDArray[np.float64]
MOST = 400
"""Pictures per domain that are measured."""
QUANTILES = np.linspace(0, 1, 257)
GAIN_LIMIT = 12.0
"""Largest amplification of a frequency; above, only noise would be made."""
CONSTANT = 0.02
"""Spread over pictures, of a full range of one, below which a pixel belongs to the export's frame."""


@dataclass(frozen=True)
class Look:
    """What the pictures of one domain have in common.

    Parameters
    ----------
    log_spectrum : (R,) float ndarray
        Mean logarithm of the power per radius in cycles per picture.
    quantiles : (257,) float ndarray
        Mean quantile function of the pixels inside the frame, 0 to 1.
    frame : (S, S) float ndarray
        Grey of the constant frame, NaN inside it.
    """

    log_spectrum: FloatArray
    quantiles: FloatArray
    frame: FloatArray


def measure_look(images: npt.NDArray[np.uint16], seed: int = 0) -> Look:
    """Look of pictures ``(N, S, S)``.

    Raises
    ------
    ValueError
        When there are fewer than eight pictures.
    """
    if len(images) < 8:
        msg = f"a look is measured on at least 8 pictures; got {len(images)}"
        raise ValueError(msg)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:MOST])
    pictures = images[chosen].astype(np.float64) / 65535
    frame = np.where(pictures.std(axis=0) < CONSTANT, pictures.mean(axis=0), np.nan)
    inside = np.isnan(frame)
    if inside.sum() < 64:  # nothing but frame: the pictures are all alike
        inside, frame = np.ones_like(inside), np.full_like(frame, np.nan)
    quantiles = np.mean([np.quantile(p[inside], QUANTILES) for p in pictures], axis=0)
    spectra = [_log_spectrum(np.where(inside, p, p[inside].mean())) for p in pictures]
    return Look(np.mean(spectra, axis=0), quantiles, frame)


def restyled(pictures: LabelledPictures, source: Look, target: Look) -> LabelledPictures:
    """The same pictures with the target's look; labels stay."""
    gain = _gain(source, target, pictures.images.shape[1])
    filtered = [_filtered(image.astype(np.float64) / 65535, gain) for image in pictures.images]
    own = np.mean([np.quantile(p, QUANTILES) for p in filtered], axis=0)
    made = [_toned(p, own, target) for p in filtered]
    return replace(pictures, images=np.round(65535 * np.stack(made)).astype(np.uint16))


def _log_spectrum(picture: FloatArray) -> FloatArray:
    side = picture.shape[0]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.rfft2((picture - picture.mean()) * window)) ** 2
    radius = _radius(side)
    sums = np.bincount(radius.ravel(), weights=power.ravel())
    return np.log(sums / np.bincount(radius.ravel()) + 1e-9)


def _radius(side: int) -> npt.NDArray[np.int64]:
    frequency = np.fft.fftfreq(side) * side
    return np.minimum(np.hypot(frequency[:, None], frequency[None, : side // 2 + 1]).round(), side // 2).astype(int)


def _gain(source: Look, target: Look, side: int) -> FloatArray:
    ratio = 0.5 * (target.log_spectrum - source.log_spectrum)
    smooth = np.convolve(np.pad(ratio, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    limit = np.log(GAIN_LIMIT)
    gain = np.exp(np.clip(smooth, -limit, limit))[_radius(side)]
    gain[0, 0] = 1.0
    return gain


def _filtered(picture: FloatArray, gain: FloatArray) -> FloatArray:
    return np.fft.irfft2(np.fft.rfft2(picture) * gain, picture.shape)


def _toned(picture: FloatArray, own: FloatArray, target: Look) -> FloatArray:
    rising = np.maximum.accumulate(own + 1e-9 * np.arange(len(own)))
    toned = np.interp(picture, rising, target.quantiles)
    return np.clip(np.where(np.isnan(target.frame), toned, np.nan_to_num(target.frame)), 0, 1)
