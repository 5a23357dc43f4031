"""The soak's judgement: flat and noisy memory passes, a small leak does not."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.pacs.memory import give_memory_back
from Testing.unit.pacs.growth import growth

_BYTES = 1_000_000.0


def _samples(leak_bytes: float, n: int = 130, objects: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    received = np.linspace(3000, 3000 + objects, n)
    wandering = np.convolve(rng.normal(0, 0.15 * _BYTES, n), np.ones(4) / 2, "same")  # neighbours are alike
    return received, 100 * _BYTES + wandering + leak_bytes * (received - received[0])


def test_memory_that_only_wanders_does_not_grow():
    found = growth(*_samples(0))
    assert found.low < 0 < found.high < 100


def test_a_leak_of_a_thousand_bytes_per_object_is_found():
    found = growth(*_samples(1000))
    assert found.low < 1000 < found.high
    assert found.low > 900


def test_the_slope_of_a_straight_line_is_exact():
    x = np.arange(40.0)
    assert growth(x, 5 + 3 * x) == pytest.approx((3, 3, 3))


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="at least 20 samples; got 5"):
        growth(range(5), range(5))


def test_the_allocator_is_told_where_there_is_glibc():
    import platform

    assert give_memory_back() == (platform.libc_ver()[0] == "glibc")
