"""Preparation of a MinIP: size, window, polarity, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.preprocessing import InputSpec, prepare, resize
from ClaireDSALib.models.views import make_views
from Testing.unit.models.tiny_pictures import a_minip

SPEC = InputSpec(size_px=96)


def test_the_result_is_square_and_fills_zero_to_one() -> None:
    x = prepare(a_minip((400, 300)), SPEC)
    assert x.shape == (1, 96, 96)
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
        prepare(np.where(region, minip, outside), SPEC, valid_region=region)[0, 15:-15, 15:-15]
        for outside in (0, 65_000)
    )
    np.testing.assert_allclose(first, second, atol=0.01)
    without = prepare(np.where(region, minip, 65_000), SPEC)[0, 15:-15, 15:-15]
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


THREE = InputSpec(size_px=96, views=("linear", "ranked", "local"))


@pytest.mark.parametrize("curve", [np.sqrt, np.log1p, np.square, lambda x: x + 3 * x**3])
def test_ranked_and_local_views_do_not_see_the_tone_curve(curve) -> None:
    small = resize(a_minip(), 96)
    small = (small - small.min()) / np.ptp(small)
    straight, bent = (make_views(x.astype(np.float32), THREE.views, (0.5, 99.5)) for x in (small, curve(small)))
    np.testing.assert_allclose(bent[1], straight[1], atol=0.005)
    np.testing.assert_allclose(bent[2], straight[2], atol=0.03)
    assert np.abs(bent[0] - straight[0]).max() > 0.05


def test_the_ranked_view_is_uniform_where_no_values_are_equal() -> None:
    ranked = prepare(np.random.default_rng(0).random((200, 200)), THREE)[1]
    assert np.abs(np.sort(ranked.ravel()) - np.linspace(0, 1, ranked.size)).max() < 0.01


def test_the_local_view_shows_a_vessel_alike_in_shade_and_in_light() -> None:
    """The same relative dip on a dark and on a bright ground, in noise."""
    rng = np.random.default_rng(0)
    ground = np.where(np.arange(224) < 112, 0.1, 1.0).astype(np.float32)[None].repeat(224, axis=0)
    ground *= 1 + 0.02 * rng.standard_normal(ground.shape, np.float32)
    ground[110:114, 20:204] *= 0.93
    linear, _, local = make_views(ground, THREE.views, (0.5, 99.5))
    dark, bright = slice(30, 90), slice(130, 190)
    dips = [float(np.median(v[80:100, c]) - np.median(v[110:114, c])) for v in (linear, local) for c in (dark, bright)]
    assert dips[0] < 0.2 * dips[1]
    assert dips[2] == pytest.approx(dips[3], rel=0.25)
    assert dips[3] > 0.1
