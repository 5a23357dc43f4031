"""From a map of vessel probability to a mask without specks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Cleaning:
    """Which connected pieces of a thresholded map stay.

    Parameters
    ----------
    smallest_fraction : float
        Pieces below this share of the picture are dropped.
    seed : float
        A piece must somewhere reach this probability.
    """

    smallest_fraction: float = 2e-4
    seed: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.smallest_fraction < 1 and 0 <= self.seed <= 1):
            msg = f"cleaning wants shares from 0 to 1; got {self.smallest_fraction} and {self.seed}"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cleaning:
        """From the bundle's metadata; missing entries keep their default."""
        return cls(**{name: float(data[name]) for name in ("smallest_fraction", "seed") if name in data})

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    def mask(self, probability: npt.NDArray[np.floating], threshold: float) -> npt.NDArray[np.bool_]:
        """Mask ``(H, W)`` of a map ``(H, W)``: at or above the threshold, in pieces that stay."""
        labels, count = ndimage.label(probability >= threshold, structure=_EIGHT)
        if not count:
            return np.zeros(probability.shape, bool)
        keep = np.bincount(labels.ravel()) >= self.smallest_fraction * probability.size
        if self.seed > threshold:
            keep &= np.bincount(labels[probability >= self.seed], minlength=count + 1) > 0
        keep[0] = False
        return keep[labels]
