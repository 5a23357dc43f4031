import numpy as np
import pytest

from ClaireDSALib.dsa.maps import temporal_maps
from ClaireDSALib.dsa.series import DsaSeries, Intensity
from ClaireDSALib.dsa.subtraction import MaskChoice, subtract

VARIABLE = np.concatenate([np.arange(12) * 0.333, 12 * 0.333 + np.arange(1, 8) * 1.0, [13.0, 15.0]])
"""A common protocol: three frames a second, then one, then one every two seconds."""


def gamma_variate(t, onset, alpha, beta, peak=1.0):
    """Peak at ``onset + alpha * beta``; area and mean in closed form below."""
    s = np.maximum(np.asarray(t, float) - onset, 0) / (alpha * beta)
    return peak * s**alpha * np.exp(alpha * (1 - s)) * (s > 0)


def maps_of(courses, times, **options):
    """Maps of a picture one row high with one course per column."""
    opacity = np.asarray(courses, np.float32).T[:, None, :]
    series = DsaSeries.from_array(np.zeros(opacity.shape, np.uint8), times_s=times)
    return temporal_maps(series, opacity, **options)


def test_a_gamma_variate_gives_its_closed_form_values():
    times = np.arange(0, 30, 0.1)
    onset, alpha, beta = 1.5, 3.0, 0.8
    found = maps_of([gamma_variate(times, onset, alpha, beta, peak=0.7)], times)
    assert found.time_to_peak_s[0, 0] == pytest.approx(onset + alpha * beta, abs=0.005)
    assert found.peak_opacity[0, 0] == pytest.approx(0.7, abs=1e-3)
    from scipy.special import gamma

    area = 0.7 * np.exp(alpha) * alpha**-alpha * beta * gamma(alpha + 1)
    assert found.area_under_curve[0, 0] == pytest.approx(area, rel=1e-3)
    from scipy.optimize import brentq

    arrival = brentq(lambda t: gamma_variate(t, onset, alpha, beta) - 0.1, onset + 1e-6, onset + alpha * beta)
    assert found.arrival_time_s[0, 0] == pytest.approx(arrival, abs=0.01)
    mean = onset + beta * (alpha + 1)
    assert found.mean_transit_time_s[0, 0] == pytest.approx(mean - arrival, abs=0.01)


@pytest.mark.parametrize("onset", [0.5, 1.0, 1.4, 2.2])
def test_variable_frame_rates_are_on_true_times(onset):
    found = maps_of([gamma_variate(VARIABLE, onset, 2.0, 0.5)], VARIABLE)
    assert found.time_to_peak_s[0, 0] == pytest.approx(onset + 1.0, abs=0.04)


def test_a_parabola_is_refined_exactly_even_between_unequal_frames():
    times = np.array([0.0, 1.0, 1.7, 3.0, 5.0])
    peak = 1.9
    course = np.maximum(1 - 0.1 * (times - peak) ** 2, 0)
    assert maps_of([course], times).time_to_peak_s[0, 0] == pytest.approx(peak, abs=1e-5)


def test_a_straight_rise_is_crossed_at_its_exact_time():
    times = np.arange(8) * 0.5
    course = np.clip((times - 1.0) / 2.0, 0, 1)  # a tenth of the peak at 1.2 s
    assert maps_of([course], times).arrival_time_s[0, 0] == pytest.approx(1.2, abs=1e-6)


def test_a_triangle_has_its_exact_area_and_transit():
    times = np.array([0.0, 1.0, 3.0, 4.0, 6.0])
    course = [0.0, 0.0, 0.9, 0.0, 0.0]
    found = maps_of([course], times)
    assert found.area_under_curve[0, 0] == pytest.approx(0.9 * 3 / 2, abs=1e-6)
    centre = (1.0 + 3.0 + 4.0) / 3
    assert found.mean_transit_time_s[0, 0] == pytest.approx(centre - (1.0 + 0.1 * 2.0), abs=1e-5)


def test_a_later_start_of_the_clock_shifts_times_and_nothing_else():
    times = VARIABLE
    early = maps_of([gamma_variate(times, 1.0, 2.0, 0.5)], times)
    late = maps_of([gamma_variate(times, 1.0, 2.0, 0.5)], times + 7.0)
    assert late.time_to_peak_s[0, 0] == pytest.approx(early.time_to_peak_s[0, 0] + 7, abs=1e-5)
    assert late.mean_transit_time_s[0, 0] == pytest.approx(early.mean_transit_time_s[0, 0], abs=1e-4)
    assert late.area_under_curve[0, 0] == pytest.approx(early.area_under_curve[0, 0], rel=1e-6)


def test_twice_the_opacity_changes_amounts_and_no_times():
    course = gamma_variate(VARIABLE, 1.0, 2.0, 0.5)
    found = maps_of([0.2 * course, 0.4 * course], VARIABLE)
    for name in ("time_to_peak_s", "arrival_time_s", "mean_transit_time_s"):
        once, twice = getattr(found, name)[0]
        assert once == pytest.approx(twice, abs=1e-5)
    for name in ("peak_opacity", "area_under_curve"):
        once, twice = getattr(found, name)[0]
        assert twice == pytest.approx(2 * once, rel=1e-5)


def test_pixels_without_contrast_are_nan_everywhere():
    found = maps_of([np.zeros(6), [0, 0.01, 0.02, 0.01, 0, 0], [-1] * 6], np.arange(6.0))
    for name in ("time_to_peak_s", "arrival_time_s", "peak_opacity", "area_under_curve", "mean_transit_time_s"):
        assert np.isnan(getattr(found, name)).all()
        assert getattr(found, name).dtype == np.float32


def test_contrast_from_the_first_frame_on_has_a_peak_but_no_arrival():
    found = maps_of([[1.0, 0.8, 0.3, 0.1, 0.0]], np.arange(5.0))
    assert found.time_to_peak_s[0, 0] == 0
    assert np.isnan(found.arrival_time_s[0, 0])
    assert np.isnan(found.mean_transit_time_s[0, 0])
    assert found.area_under_curve[0, 0] > 0


def test_one_spike_of_noise_before_the_bolus_is_not_its_arrival():
    course = [0.0, 0.2, 0.0, 0.0, 0.0, 0.5, 1.0, 0.8, 0.3]
    assert maps_of([course], np.arange(9.0)).arrival_time_s[0, 0] == pytest.approx(4.2, abs=1e-6)


def test_an_artery_over_a_vein_arrives_with_the_artery():
    course = [0, 0, 0.5, 0.6, 0.1, 0.0, 0.5, 1.0, 0.9, 0.2]
    found = maps_of([course], np.arange(10.0))
    assert found.arrival_time_s[0, 0] == pytest.approx(1.2, abs=1e-6)
    assert found.time_to_peak_s[0, 0] == pytest.approx(7.33, abs=0.1)


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_the_shortest_runs_give_maps(n_frames):
    course = np.array([0.0, 1.0, 0.5])[:n_frames] if n_frames > 1 else np.array([1.0])
    found = maps_of([course], np.arange(n_frames) * 2.0)
    assert found.peak_opacity[0, 0] == 1
    if n_frames == 1:
        assert found.time_to_peak_s[0, 0] == 0
        assert found.area_under_curve[0, 0] == 0
        assert np.isnan(found.mean_transit_time_s[0, 0])
    else:
        assert found.arrival_time_s[0, 0] == pytest.approx(0.2, abs=1e-6)
        assert 1.5 < found.time_to_peak_s[0, 0] <= 2.5


def test_the_threshold_rises_with_the_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (20, 60, 60)).astype(np.float32)
    series = DsaSeries.from_array(np.zeros(noise.shape, np.uint8))
    found = temporal_maps(series, noise)
    assert found.smallest_peak == pytest.approx(5 * 0.05, rel=0.1)
    assert np.isfinite(found.peak_opacity).mean() < 1e-3
    assert np.isfinite(temporal_maps(series, noise, smallest_peak=0.01).peak_opacity).all()


def test_frames_that_come_one_by_one_give_the_same_as_an_array(lazily):
    rng = np.random.default_rng(1)
    frames = rng.integers(200, 4000, (8, 20, 30)).astype(np.uint16)
    series = lazily(frames, intensity=Intensity(bits_stored=12, relation="LIN"))
    opacity = subtract(series, MaskChoice((0,)))
    one_by_one = temporal_maps(series, opacity)
    at_once = temporal_maps(series, opacity.to_array())
    for name in ("time_to_peak_s", "arrival_time_s", "peak_opacity", "area_under_curve", "mean_transit_time_s"):
        np.testing.assert_array_equal(getattr(one_by_one, name), getattr(at_once, name))


def test_shutters_are_nan():
    opacity = np.ones((3, 4, 4), np.float32) * np.array([0, 1, 0], np.float32)[:, None, None]
    region = np.zeros((4, 4), bool)
    region[1:3, 1:3] = True
    series = DsaSeries.from_array(np.zeros((3, 4, 4), np.uint8), valid_region=region)
    np.testing.assert_array_equal(np.isfinite(temporal_maps(series, opacity).peak_opacity), region)


def test_opacity_of_another_shape_is_refused():
    series = DsaSeries.from_array(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"\(3, 4, 4\); got \(2, 4, 4\)"):
        temporal_maps(series, np.zeros((2, 4, 4), np.float32))


def test_the_input_is_not_changed():
    opacity = np.random.default_rng(0).random((5, 6, 6)).astype(np.float32)
    before = opacity.copy()
    temporal_maps(DsaSeries.from_array(np.zeros((5, 6, 6), np.uint8)), opacity)
    np.testing.assert_array_equal(opacity, before)
