"""Pictures brought to a given longer side, and maps brought back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


def fitted(shape: tuple[int, ...], size_px: int) -> tuple[int, int]:
    """Height and width of a picture of ``shape`` whose longer side is brought to ``size_px``."""
    scale = size_px / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def resized(image: npt.NDArray[np.float32], size_px: int) -> npt.NDArray[np.float32]:
    """Picture ``(h, w)`` with a longer side of ``size_px``: averaged when it shrinks, interpolated when it grows."""
    shape = fitted(image.shape, size_px)
    if shape == image.shape:
        return image
    way = Image.Resampling.BOX if shape[0] < image.shape[0] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize(shape[::-1], way), np.float32)


def to_shape(one: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Map ``(h, w)`` interpolated to ``shape``."""
    if one.shape == tuple(shape):
        return one
    picture = Image.fromarray(np.ascontiguousarray(one, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)
