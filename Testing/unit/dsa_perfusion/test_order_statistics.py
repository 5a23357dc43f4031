"""Median and quantile are numpy's to the last bit."""

import numpy as np
import pytest

from ClaireDSALib.dsa.order_statistics import median, percentile, quantile


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 1000, 1001])
def test_medians_of_rows_are_numpys(n, dtype):
    values = np.random.default_rng(n).normal(size=(5, n)).astype(dtype)
    values[2] = np.round(values[2])  # ties
    found = median(values)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.median(values, axis=1))
    np.testing.assert_array_equal(median(values[0]), np.median(values[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000, 65536])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5, 0.995, 0.998, 1.0])
def test_quantiles_are_numpys(n, share, dtype):
    values = np.random.default_rng(n).normal(size=n).astype(dtype)
    found, expected = quantile(values, share), np.quantile(values, share)
    assert found.dtype == expected.dtype
    assert found == expected
    assert percentile(values, 100 * share) == np.percentile(values, 100 * share)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interpolated_places_are_numpys(dtype):
    rng = np.random.default_rng(5)
    for n, percent in zip(rng.integers(2, 5000, 200), rng.uniform(0, 100, 200).tolist(), strict=True):
        values = (1000 * rng.normal(size=n)).astype(dtype)
        assert percentile(values, percent) == np.percentile(values, percent)
        assert quantile(values, percent / 100) == np.quantile(values, percent / 100)


@pytest.mark.parametrize("large", [0, 1])
def test_high_quantiles_are_numpys_where_every_sixteenth_value_misleads(large):
    values = np.random.default_rng(large).normal(size=60_000).astype(np.float32)
    values[large::16] += 100  # all values that the bound is guessed from are large, or none of them
    for percent in (90, 94, 97, 99.5, 99.99):
        assert percentile(values, percent) == np.percentile(values, percent)
    assert percentile(np.zeros(60_000, np.float32), 99.5) == 0.0


def test_one_value_of_many_that_is_no_number_is_noticed():
    values = np.random.default_rng(0).normal(size=60_000).astype(np.float32)
    values[12_345] = np.nan
    assert np.isnan(percentile(values, 99.5))


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("at", [0, 3])
def test_what_is_no_number_gives_no_number(n, at):
    values = np.arange(n, dtype=np.float32)
    values[at] = np.nan
    assert np.isnan(median(values))
    assert np.isnan(quantile(values, 0.1))
    both = median(np.stack([values, np.arange(n, dtype=np.float32)]))
    np.testing.assert_array_equal(np.isnan(both), [True, False])


def test_infinite_values_are_ordered_like_others():
    values = np.array([-np.inf, 1.0, np.inf, 3.0])
    assert median(values) == 2.0


def test_drift_of_a_frame_that_is_no_number_is_refused_with_a_sentence():
    from ClaireDSALib.dsa.exposure_drift import without_drift

    opacity = np.random.default_rng(0).normal(0, 0.1, (5, 8, 8)).astype(np.float32)
    opacity[2, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        without_drift(opacity)


def test_drift_outside_the_field_is_zero_and_inside_it_is_taken_off():
    from ClaireDSALib.dsa.exposure_drift import exposure_drift, without_drift

    opacity = np.random.default_rng(1).normal(0, 0.1, (5, 16, 16)).astype(np.float32)
    opacity[:, :, :5] = 0.0
    expected = opacity - exposure_drift(opacity)[:, None, None]
    expected[:, :, :5] = 0.0
    np.testing.assert_array_equal(without_drift(opacity), expected.astype(np.float32))
