"""Phantoms with analytic truth for the physics of one run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ClaireDSALib.dsa.series import DsaSeries, Intensity


class CountingFrames:
    """A source of frames that counts how often each is decoded, and how many are alive at once."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.reads: list[int] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def read(self, index: int) -> np.ndarray:
        self.reads.append(index)
        return self.array[index].copy()


@pytest.fixture
def lazily() -> Callable[..., DsaSeries]:
    """Make a series whose frames come one by one, as from a file; ``series.frames.reads`` tells which."""

    def make(array: np.ndarray, **attributes: object) -> DsaSeries:
        times = attributes.pop("times_s", np.arange(len(array), dtype=float))
        intensity = attributes.pop("intensity", Intensity(bits_stored=8 * array.dtype.itemsize, relation="LIN"))
        return DsaSeries("lazy", CountingFrames(array), times_s=times, intensity=intensity, **attributes)

    return make
