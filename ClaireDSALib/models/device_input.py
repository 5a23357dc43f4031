"""What the device network is shown of a picture, and what is counted in its answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.models.preprocessing import check_image, resize

CHANNELS = ("windowed", "detail")
"""The picture between two percentiles of itself, and the logarithm of a pixel over its surroundings."""

NUMBERS = ("log_expected", "log_likely", "log_certain", "strongest", "strongest_64")
"""What :func:`counted` gives: logarithms of the expected, likely and certain share of the picture that is a device,
the largest logit and the mean of the 64 largest."""

_WINDOW = (0.01, 99.5)
"""Devices are the darkest that there is, so that hardly anything is cut off below; the bare beam says nothing."""
_SURROUNDINGS_PX = 17
_DARKEST = 0.02
_DETAIL_RANGE = 3.0
_DETAIL_UNIT = 0.1
_LEAST_SHARE = 1e-5
_LIKELY, _CERTAIN = 0.5, 0.9
_STRONGEST = 64


def device_channels(picture: npt.NDArray[Any], size_px: int) -> npt.NDArray[np.float32]:
    """Channels ``(2, size_px, size_px)`` of a picture ``(H, W)``, contrast dark, of any integer or float type.

    Raises
    ------
    ImageRefusedError
        For a picture that is none, see :func:`~ClaireDSALib.models.preprocessing.check_image`.
    """
    check_image(picture)
    return channels_of(resize(picture, size_px))


def channels_of(small: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Channels ``(2, S, S)`` of a picture that has its size already."""
    low, high = np.percentile(small, _WINDOW)
    window = np.clip((small - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    logs = np.log(window + _DARKEST)
    around = ndimage.uniform_filter(ndimage.uniform_filter(logs, _SURROUNDINGS_PX), _SURROUNDINGS_PX)
    detail = np.clip((logs - around) / _DETAIL_UNIT, -_DETAIL_RANGE, _DETAIL_RANGE)
    return np.stack([2 * window - 1, detail]).astype(np.float32)


def counted(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Numbers (5,) of a map of logits ``(h, w)``, see ``NUMBERS``."""
    flat = np.clip(logits.astype(np.float64).ravel(), -30, 30)
    chance = 1 / (1 + np.exp(-flat))
    shares = (chance.mean(), (chance > _LIKELY).mean(), (chance > _CERTAIN).mean())
    largest = np.sort(flat)[-_STRONGEST:]
    return np.array([*np.log(np.add(shares, _LEAST_SHARE)), largest[-1], largest.mean()])
