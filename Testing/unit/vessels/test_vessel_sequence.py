"""Frames once a second, early and late parts, on times whose answer is known."""

import numpy as np
import pytest

from ClaireDSALib.dsa.opacity_frames import OpacityArray
from ClaireDSALib.models.vessel_sequence import MAX_FRAMES, early_and_late, early_and_late_of_run, one_per_second


def _ramp(times: np.ndarray) -> OpacityArray:
    """Opacity that equals the time of its frame."""
    return OpacityArray(np.ones((len(times), 4, 5)) * np.asarray(times)[:, None, None])


def test_frames_are_resampled_on_true_times_whatever_the_rate():
    times = np.array([0.0, 0.4, 0.9, 1.1, 2.0, 3.5, 5.4])
    levels = [float(frame[0, 0]) for frame in one_per_second(_ramp(times), times)]
    np.testing.assert_allclose(levels, [0.4, 1.4, 2.4, 3.4, 4.4, 5.4], atol=1e-5)


def test_the_end_can_be_left_out_as_cave_does():
    times = np.array([0.0, 1.0, 2.0, 3.0])
    assert len(list(one_per_second(_ramp(times), times))) == 3
    assert len(list(one_per_second(_ramp(times), times, with_end=False))) == 2


def test_of_a_long_run_the_end_with_less_contrast_is_left_out():
    times = np.arange(40.0)
    level = np.zeros(40)
    level[10:25] = 1
    kept = [
        float(frame[0, 0]) for frame in one_per_second(OpacityArray(level[:, None, None] * np.ones((1, 4, 4))), times)
    ]
    assert len(kept) == MAX_FRAMES
    assert sum(kept) == 15


def test_one_frame_is_no_sequence():
    with pytest.raises(ValueError, match="two frames or more"):
        list(one_per_second(_ramp(np.zeros(1)), np.zeros(1)))


def test_arteries_are_early_and_veins_late_after_the_arrival_of_contrast():
    frames = np.zeros((10, 16, 16))
    frames[3:5, :8, :] = 1.0  # artery, arrives with frame 3
    frames[8:, 8:, :] = 0.7  # vein
    early, late = early_and_late(frames)
    assert early[:8].min() == 1.0
    assert early[8:].max() == 0.0
    np.testing.assert_allclose(late[8:], 0.7, atol=1e-3)
    assert late[:8].max() == 0.0


def test_a_run_that_ends_early_has_no_late_part():
    early, late = early_and_late(np.ones((3, 8, 8)))
    assert early.min() == 1
    assert late.max() == 0
    with pytest.raises(ValueError, match="at least one frame"):
        early_and_late([])


@pytest.mark.parametrize("step", [1.0, 0.5, 0.37, 0.8, 2.3])
@pytest.mark.parametrize("n_frames", [3, 14, 19])
def test_early_and_late_parts_of_frames_in_memory_are_those_of_a_stream(step, n_frames):
    rng = np.random.default_rng(n_frames)
    times = np.cumsum(np.full(n_frames, step) + rng.choice([0.0, 0.0, 0.013], n_frames))
    delay = rng.uniform(1, 9, (30, 41))
    opacity = np.maximum(0, 1 - np.abs(times[:, None, None] - delay) / 2).astype(np.float32)
    expected = early_and_late(one_per_second(OpacityArray(opacity), times))
    np.testing.assert_array_equal(early_and_late_of_run(OpacityArray(opacity), times), expected)
