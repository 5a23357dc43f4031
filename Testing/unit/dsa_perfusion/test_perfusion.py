"""Deconvolution gives back the transit that was put in."""

import numpy as np
import pytest

from ClaireDSALib.dsa.perfusion import SAMPLE_S, deconvolve, perfusion_maps, volterra_matrix


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


def test_a_later_territory_has_a_longer_tmax_whatever_the_frame_rate():
    times = np.concatenate([np.arange(0, 4, 0.25), np.arange(4, 10, 0.5), np.arange(10, 24, 1.0)])
    frames = np.zeros((len(times), 40, 40), np.float32)
    frames[:, :, 18:22] = _gamma(times, 1.0)[:, None, None]
    frames[:, :, :16] = _tissue(times, 0.2, 3.0, 0.5)[:, None, None]
    frames[:, :, 24:] = _tissue(times, 0.2, 3.0, 3.5)[:, None, None]
    maps = perfusion_maps(frames, times)
    assert np.nanmedian(maps.tmax_s[:, 24:]) - np.nanmedian(maps.tmax_s[:, :16]) == pytest.approx(3.0, abs=0.5)
    assert maps.input_function.source == "automatic"
    assert maps.input_function.region[:, 18:22].mean() > 0.9
    assert not maps.input_function.region[:, :16].any()


def test_pixels_that_nothing_reaches_are_not_a_number():
    times = np.arange(0, 12, 0.5)
    frames = np.zeros((len(times), 20, 20), np.float32)
    frames[:, :, 8:12] = _gamma(times, 1.0)[:, None, None]
    maps = perfusion_maps(frames, times)
    assert np.isnan(maps.cbf[:, :6]).all()
    assert np.isfinite(maps.cbf[:, 9:11]).all()


def test_a_drawn_input_function_is_used_as_drawn():
    times = np.arange(0, 12, 0.5)
    frames = np.zeros((len(times), 20, 20), np.float32)
    frames[:, :, 8:12] = _gamma(times, 1.0)[:, None, None]
    region = np.zeros((20, 20), bool)
    region[5:10, 9:11] = True
    maps = perfusion_maps(frames, times, drawn_region=region)
    assert maps.input_function.source == "drawn"
    np.testing.assert_array_equal(maps.input_function.region, region)
    np.testing.assert_allclose(maps.input_function.curve, _gamma(times, 1.0), atol=1e-6)


def test_opacity_scale_cancels_in_times_and_ratios():
    times = np.arange(0, 15, 0.5)
    frames = np.zeros((len(times), 16, 16), np.float32)
    frames[:, :, 6:10] = _gamma(times, 1.0)[:, None, None]
    frames[:, :, 11:] = _tissue(times, 0.3, 3.0, 1.0)[:, None, None]
    one, two = perfusion_maps(frames, times), perfusion_maps(frames * 0.1, times)
    np.testing.assert_allclose(one.mtt_s, two.mtt_s, rtol=1e-4)
    np.testing.assert_allclose(one.cbf, two.cbf, rtol=1e-4)


@pytest.mark.parametrize(("n", "match"), [(3, "at least four frames; got 3"), (8, "no artery was found")])
def test_runs_without_a_passage_are_refused(n, match):
    with pytest.raises(ValueError, match=match):
        perfusion_maps(np.zeros((n, 8, 8), np.float32), np.arange(float(n)))
