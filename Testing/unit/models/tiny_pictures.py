"""Pictures for tests, without torch."""

from __future__ import annotations

import numpy as np


def a_minip(shape: tuple[int, int] = (300, 320), seed: int = 0) -> np.ndarray:
    """uint16 picture with structure at several scales."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    clouds = sum(gaussian_filter(rng.normal(size=shape), s) * s for s in (2, 8, 30))
    return np.round(2000 + 400 * clouds / clouds.std()).clip(0, 4095).astype(np.uint16)
