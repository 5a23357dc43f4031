"""Deconvolution gives back the transit that was put in."""

import time

import numpy as np
import pytest

from ClaireDSALib.dsa.exposure_drift import exposure_drift, without_drift
from ClaireDSALib.dsa.input_function import box_region
from ClaireDSALib.dsa.perfusion import (
    SAMPLE_S,
    deconvolve,
    interpolation_matrix,
    perfusion_maps,
    region_curve,
    volterra_matrix,
)
from ClaireDSALib.dsa.small_run import SmallRun, SmallRunBuilder


def _gamma(times, delay, alpha=3.0, beta=0.6):
    t = np.clip(times - delay, 0, None)
    peak = (alpha * beta) ** alpha * np.exp(-alpha)
    return t**alpha * np.exp(-t / beta) / peak


def _tissue(times, flow, mtt_s, delay_s):
    """Exact tissue curve for an exponential residue behind a delay, by fine numerical convolution."""
    fine = np.arange(0, times[-1] + 1e-9, 0.005)
    residue = np.where(fine >= delay_s, flow * np.exp(-(fine - delay_s) / mtt_s), 0)
    curve = np.convolve(_gamma(fine, 1.0), residue)[: len(fine)] * 0.005
    return np.interp(times, fine, curve)


def _head(times, side=48):
    """An artery in the middle, prompt tissue to its left, late tissue to its right, nothing at the edges."""
    frames = np.zeros((len(times), side, side), np.float32)
    middle = side // 2
    frames[:, :, middle - 2 : middle + 2] = _gamma(times, 1.0)[:, None, None]
    frames[:, :, 6 : middle - 8] = _tissue(times, 0.2, 3.0, 0.5)[:, None, None]
    frames[:, :, middle + 8 : -6] = _tissue(times, 0.2, 3.0, 3.5)[:, None, None]
    return frames


def test_the_matrix_convolves_like_the_integral():
    times = np.arange(0, 15, 0.05)
    aif, kernel = _gamma(times, 1.0), np.exp(-times / 2.0)
    exact = np.convolve(aif, kernel)[: len(times)] * 0.05 - 0.5 * 0.05 * (aif * kernel[0] + aif[0] * kernel)
    np.testing.assert_allclose(0.05 * volterra_matrix(aif) @ kernel, exact, atol=2e-3)


@pytest.mark.parametrize("mtt_s", [2.0, 4.0])
def test_the_volume_is_flow_times_transit(mtt_s):
    times = np.arange(0, 30, SAMPLE_S)
    response = deconvolve(_tissue(times, 0.2, mtt_s, 0.0), _gamma(times, 1.0), SAMPLE_S)
    assert SAMPLE_S * response.sum() == pytest.approx(0.2 * mtt_s, rel=0.1)


@pytest.mark.parametrize(
    "times",
    [
        np.arange(0, 24, 0.25),
        np.arange(0, 24, 0.75),
        np.concatenate([np.arange(0, 4, 0.25), np.arange(4, 10, 0.5), np.arange(10, 24, 1.0)]),
    ],
    ids=["four a second", "four in three seconds", "slowing down"],
)
def test_a_later_territory_has_a_longer_tmax_whatever_the_frame_rate(times):
    maps = perfusion_maps(SmallRun(_head(times), times))
    assert np.nanmedian(maps.tmax_s[:, 34:40]) - np.nanmedian(maps.tmax_s[:, 8:14]) == pytest.approx(3.0, abs=0.5)
    assert maps.input_function.source == "automatic"
    assert maps.input_function.region[:, 22:26].mean() > 0.9
    assert not maps.input_function.region[:, :16].any()


def test_pixels_that_nothing_reaches_are_not_a_number():
    times = np.arange(0, 12, 0.5)
    maps = perfusion_maps(SmallRun(_head(times), times))
    assert np.isnan(maps.cbf[:, :3]).all()
    assert np.isfinite(maps.cbf[:, 23:25]).all()
    np.testing.assert_array_equal(np.isfinite(maps.tmax_s), maps.perfused)


def test_a_drawn_input_function_is_used_as_drawn():
    times = np.arange(0, 12, 0.5)
    region = box_region((48, 48), (5, 23, 10, 2))
    assert region.sum() == 20
    maps = perfusion_maps(SmallRun(_head(times), times), drawn_region=region)
    assert maps.input_function.source == "drawn"
    np.testing.assert_array_equal(maps.input_function.region, region)
    np.testing.assert_allclose(maps.input_function.curve, _gamma(times, 1.0), atol=1e-6)
    assert maps.input_function.centre == (9.5, 23.5)


def test_opacity_scale_cancels_in_times_and_ratios():
    times = np.arange(0, 15, 0.5)
    frames = _head(times)
    one, two = perfusion_maps(SmallRun(frames, times)), perfusion_maps(SmallRun(frames * np.float32(0.1), times))
    np.testing.assert_allclose(one.mtt_s, two.mtt_s, rtol=1e-3)
    np.testing.assert_allclose(one.cbf, two.cbf, rtol=1e-3)


def test_a_later_start_of_the_clock_changes_nothing():
    times = np.arange(0, 15, 0.5)
    one, two = (perfusion_maps(SmallRun(_head(times), times + start)) for start in (0.0, 100.0))
    np.testing.assert_allclose(one.tmax_s, two.tmax_s)


@pytest.mark.parametrize(("n", "match"), [(3, "at least 4 frames; got 3"), (8, "no artery was found")])
def test_runs_without_a_passage_are_refused(n, match):
    with pytest.raises(ValueError, match=match):
        perfusion_maps(SmallRun(np.zeros((n, 8, 8), np.float32), np.arange(float(n))))


@pytest.mark.parametrize(
    ("box", "match"),
    [((90, 90, 5, 5), "covers nothing"), ((0, 0, 4, 4), "shows no contrast")],
)
def test_a_useless_drawn_region_is_refused(box, match):
    times = np.arange(0, 12, 0.5)
    with pytest.raises(ValueError, match=match):
        perfusion_maps(SmallRun(_head(times), times), drawn_region=box_region((48, 48), box))


def test_a_region_of_another_size_is_refused():
    times = np.arange(0, 12, 0.5)
    with pytest.raises(ValueError, match="shape of the run"):
        perfusion_maps(SmallRun(_head(times), times), drawn_region=np.ones((10, 10), bool))


def test_an_opacity_that_is_not_finite_is_refused():
    frames = np.zeros((5, 8, 8), np.float32)
    frames[2, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        SmallRun(frames, np.arange(5.0))


def test_two_hundred_frames_of_a_long_run_take_the_passage_alone():
    times = np.arange(200) * 0.5  # 100 s: the tail after a minute is left out
    maps = perfusion_maps(SmallRun(_head(times, 24), times))
    assert np.isfinite(maps.tmax_s[:, 11:13]).all()


def test_exposure_drift_is_found_and_taken_off():
    times = np.arange(0, 12, 0.5)
    frames = _head(times)
    drift = 0.03 * np.sin(times)
    drift -= drift[0]
    moved = frames + drift[:, None, None].astype(np.float32)
    moved[:, :2] = 0  # a shutter stays zero
    np.testing.assert_allclose(exposure_drift(moved), drift, atol=2e-3)
    np.testing.assert_allclose(without_drift(moved)[:, 2:], frames[:, 2:], atol=3e-3)
    assert not without_drift(moved)[:, :2].any()


def test_a_run_without_a_field_has_no_drift():
    assert exposure_drift(np.zeros((4, 8, 8), np.float32)).tolist() == [0.0] * 4


def test_the_builder_averages_blocks_in_order():
    builder = SmallRunBuilder((600, 512), np.arange(3.0))
    assert builder.factor == 3
    for value in (0.1, 0.2, 0.3):
        assert not builder.complete
        builder.add(np.full((600, 512), value, np.float32))
    run = builder.build(background=np.ones((600, 512), np.float32))
    assert builder.complete
    assert run.grid == (200, 170)
    assert run.background.shape == (200, 170)
    assert run.shape == (600, 512)


def test_curves_of_regions_are_means():
    frames = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    region = np.zeros((3, 4), bool)
    region[0, :2] = True
    run = SmallRun(frames, np.arange(2.0))
    assert region_curve(run, region).tolist() == [0.5, 12.5]
    assert region_curve(run, np.zeros((3, 4), bool)).tolist() == [0.0, 0.0]


def test_interpolation_is_exact_on_straight_lines():
    times, grid = np.array([0.0, 1.0, 4.0]), np.linspace(0, 4, 9)
    np.testing.assert_allclose(interpolation_matrix(times, grid) @ (2 * times + 1), 2 * grid + 1)


def test_a_run_on_the_finest_grid_takes_a_fraction_of_a_second():
    times = np.arange(40) * 0.4
    run = SmallRun(np.tile(_head(times, 64), (1, 4, 4)), times)
    start = time.process_time()
    perfusion_maps(run)
    assert time.process_time() - start < 1.5  # measured 0.15 s on one idle core; the rest is room for a busy machine
