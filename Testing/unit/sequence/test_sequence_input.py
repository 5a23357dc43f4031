"""Whatever its size, length and dose, a run reaches the network the same way, and maps find their way back."""

import numpy as np
import pytest

from ClaireDSALib.models.sequence_input import MAX_FRAMES, choose_frames, prepare_sequence


@pytest.fixture
def a_bolus():
    """(20, 96, 64) opacity of a vertical vessel; peak in frame 8."""
    frames = np.zeros((20, 96, 64), np.float32)
    frames[:, 10:80, 20:40] = np.exp(-0.5 * ((np.arange(20) - 8) / 3.0) ** 2)[:, None, None]
    return frames


def test_dose_and_concentration_cancel(a_bolus):
    times = np.arange(20) * 0.3
    weak, strong = (prepare_sequence(a_bolus * gain, times, 64) for gain in (0.1, 3.0))
    np.testing.assert_allclose(weak.frames, strong.frames, atol=1e-5)


def test_channels_are_the_frame_and_its_neighbours(a_bolus):
    frames = prepare_sequence(a_bolus, np.arange(20.0), 64).frames
    np.testing.assert_array_equal(frames[5, 0], frames[4, 1])
    np.testing.assert_array_equal(frames[5, 2], frames[6, 1])
    np.testing.assert_array_equal(frames[0, 0], frames[0, 1])


def test_the_share_past_its_peak_rises_from_none_to_all(a_bolus):
    share = prepare_sequence(a_bolus, np.arange(20.0), 64).course[:, 3]
    assert share[:9].max() == 0
    assert share[9:].min() == 1


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (80, 80), (61, 97)])
def test_a_place_on_the_map_is_the_same_place_in_the_run(shape):
    prepared = prepare_sequence(np.ones((2, *shape), np.float32), np.arange(2.0), 64)
    there = prepared.to_map(10.0, 20.0, 16)
    np.testing.assert_allclose(prepared.to_run_px(*there, 16), (10.0, 20.0))


def test_the_map_of_a_wide_run_loses_its_padding():
    prepared = prepare_sequence(np.ones((2, 64, 128), np.float32), np.arange(2.0), 64)
    square = np.arange(16 * 16).reshape(16, 16)
    np.testing.assert_array_equal(prepared.crop_map(square, (64, 128)), square[4:12])


def test_long_runs_are_thinned_evenly_in_time_and_keep_their_ends():
    times = np.concatenate([np.arange(100) * 0.1, 10 + np.arange(100) * 1.0])
    kept = choose_frames(times)
    assert len(kept) <= MAX_FRAMES
    assert kept[0] == 0
    assert kept[-1] == 199
    assert np.diff(times[kept]).max() < 2 * (times[-1] - times[0]) / (MAX_FRAMES - 1)


def test_an_opacity_that_is_not_finite_is_refused():
    frames = np.ones((2, 32, 32), np.float32)
    frames[1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        prepare_sequence(frames, np.arange(2.0), 32)


def test_a_run_without_frames_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        prepare_sequence([], np.arange(0.0), 32)
