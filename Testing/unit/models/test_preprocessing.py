"""Preparation of a MinIP: size, window, polarity, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.preprocessing import InputSpec, prepare, resize
from Testing.unit.models.tiny_pictures import a_minip

SPEC = InputSpec(size_px=96)


def test_the_result_is_square_and_fills_zero_to_one() -> None:
    x = prepare(a_minip((400, 300)), SPEC)
    assert x.shape == (96, 96)
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (0, 1)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_gain_and_offset_cancel(gain: float, offset: float) -> None:
    minip = a_minip().astype(np.float64)
    np.testing.assert_allclose(prepare(minip * gain + offset, SPEC), prepare(minip, SPEC), atol=5e-3)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bit_depth_changes_no_more_than_its_rounding(bits: int) -> None:
    minip = a_minip().astype(np.float64)
    share = (minip - minip.min()) / np.ptp(minip)
    stored = np.round(share * (2**bits - 1)).astype(np.uint16)
    assert np.abs(prepare(stored, SPEC) - prepare(minip, SPEC)).max() < 1.5 / (2**bits - 1) / 0.5 + 1e-4


def test_the_network_gets_its_polarity() -> None:
    minip = a_minip().astype(np.float32)
    np.testing.assert_allclose(prepare(-minip, SPEC, contrast="bright"), prepare(minip, SPEC), atol=1e-5)


def test_the_window_is_taken_inside_the_collimator() -> None:
    minip = a_minip((384, 384)).astype(np.float32)
    region = np.zeros(minip.shape, bool)
    region[48:336, 48:336] = True
    first, second = (
        prepare(np.where(region, minip, outside), SPEC, valid_region=region)[15:-15, 15:-15] for outside in (0, 65_000)
    )
    np.testing.assert_allclose(first, second, atol=0.01)
    without = prepare(np.where(region, minip, 65_000), SPEC)[15:-15, 15:-15]
    assert np.ptp(without) < 0.2 * np.ptp(first)


def test_resizing_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((512, 512), np.float32)
    stripes[:, ::2] = 1
    np.testing.assert_allclose(resize(stripes, 64)[4:-4, 4:-4], 0.5, atol=0.02)


def test_a_picture_with_one_bright_spot_is_not_constant() -> None:
    spot = np.zeros((256, 256), np.uint16)
    spot[100:104, 100:104] = 4095
    x = prepare(spot, SPEC)
    assert (x.min(), x.max()) == (0, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"size_px": 8}, {"window_percentiles": (99, 1)}, {"contrast": "grey"}, {"std": (0.0,)}, {"mean": (0.1, 0.2)}],
)
def test_an_impossible_input_description_is_refused(wrong: dict) -> None:
    with pytest.raises(BundleError):
        InputSpec(**wrong)
