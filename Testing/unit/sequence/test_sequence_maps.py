"""Temporal channels of boluses whose course is known."""

import numpy as np
import pytest

from ClaireDSALib.models.sequence_maps import (
    CHANNELS,
    N_COURSE_FEATURES,
    course_features,
    first_contrast_s,
    temporal_channels,
)

_TIMES = np.arange(0, 10, 0.5)


def _two_regions(early_s=2.0, late_s=5.0, delay_s=0.0):
    """Left half fills at ``early_s``, right half at ``late_s``; triangular boluses of 2 s; top quarter stays empty."""
    stack = np.zeros((len(_TIMES), 32, 32), np.float32)
    for columns, arrival in ((slice(0, 16), early_s), (slice(16, 32), late_s)):
        course = np.clip(1 - np.abs(_TIMES - delay_s - arrival - 1) / 1.0, 0, 1)
        stack[:, 8:, columns] = course[:, None, None]
    return stack


def _channel(maps, name):
    return maps[CHANNELS.index(name)]


def test_later_regions_have_later_arrival_peak_and_centre():
    maps = temporal_channels(_two_regions(), _TIMES)
    for name in ("arrival", "time to peak", "centre of mass in time"):
        difference_s = 5 * (_channel(maps, name)[20, 24] - _channel(maps, name)[20, 8])
        assert difference_s == pytest.approx(3.0, abs=0.05), name


def test_what_never_fills_is_marked_as_never():
    maps = temporal_channels(_two_regions(), _TIMES)
    assert (_channel(maps, "arrival")[:8] == np.float32(1.6)).all()
    assert (_channel(maps, "peak")[:8] == 0).all()


def test_the_delay_of_the_injection_cancels():
    straight, delayed = (temporal_channels(_two_regions(delay_s=d), _TIMES) for d in (0.0, 1.5))
    np.testing.assert_allclose(straight[:-1, :, :16], delayed[:-1, :, :16], atol=0.02)


def test_twice_the_frame_rate_gives_the_same_channels():
    stack = _two_regions()
    dense = np.arange(0, 9.51, 0.25)
    finer = np.stack([np.interp(dense, _TIMES, c) for c in stack.reshape(len(stack), -1).T], 1)
    finer = finer.reshape(-1, 32, 32).astype(np.float32)
    np.testing.assert_allclose(temporal_channels(stack, _TIMES), temporal_channels(finer, dense), atol=0.05)


def test_first_contrast_is_interpolated_and_falls_back_to_the_first_frame():
    assert first_contrast_s(_two_regions(), _TIMES) == pytest.approx(2.2, abs=0.01)
    assert first_contrast_s(np.zeros((3, 8, 8), np.float32), np.arange(3.0)) == 0.0


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_runs_give_finite_features(frames):
    stack = np.random.default_rng(0).uniform(0, 1, (frames, 32, 32)).astype(np.float32)
    times = np.arange(float(frames))
    assert np.isfinite(temporal_channels(stack, times)).all()
    features = course_features(stack, times)
    assert features.shape == (frames, N_COURSE_FEATURES)
    assert np.isfinite(features).all()


def test_course_features_follow_early_and_late_regions():
    features = course_features(_two_regions(), _TIMES)
    early, late = features[:, 5].argmax(), features[:, 6].argmax()
    assert _TIMES[late] - _TIMES[early] == pytest.approx(3.0)
