"""Mean, noise and motion of frames whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.frame_evidence import FEATURES, frame_evidence
from ClaireDSALib.dsa.frame_noise import mean_and_noise, sampled_frames
from ClaireDSALib.dsa.mask_choice import MaskChoice
from ClaireDSALib.dsa.opacity_frames import OpacityArray
from ClaireDSALib.dsa.projection import brightest
from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries
from ClaireDSALib.dsa.subtraction import subtract


class Streamed:
    """Frames that do not lie in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype = array, array.shape, np.dtype(np.float32)

    def read(self, index: int) -> np.ndarray:
        return self._array[index].astype(np.float32)


def noisy(sigma: float, frames: int = 12, side: int = 96, seed: int = 0) -> np.ndarray:
    opacity = np.random.default_rng(seed).normal(0, sigma, (frames, side, side)).astype(np.float32)
    opacity[0] = 0.0  # the mask taken off itself
    return opacity


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
def test_noise_is_the_deviation_of_one_frame(sigma):
    mean, noise = mean_and_noise(OpacityArray(noisy(sigma)))
    assert noise.shape == mean.shape == (96, 96)
    np.testing.assert_allclose(np.median(noise), sigma, rtol=0.12)
    assert np.abs(mean).max() < 5 * sigma / np.sqrt(11)


def test_noise_is_local_and_passing_contrast_is_none():
    opacity = noisy(0.01)
    opacity[:, :, 48:] *= 5
    passage = np.exp(-0.5 * (np.arange(12) - 5.0) ** 2)
    opacity[:, :48, :48] += passage[:, None, None].astype(np.float32)
    _, noise = mean_and_noise(OpacityArray(opacity))
    np.testing.assert_allclose(np.median(noise[60:, :30]), 0.01, rtol=0.2)
    np.testing.assert_allclose(np.median(noise[60:, 66:]), 0.05, rtol=0.2)
    assert np.median(noise[:30, :30]) < 0.03


def test_frames_in_memory_and_streamed_ones_tell_the_same():
    opacity = noisy(0.03, side=70)
    for first, second in zip(mean_and_noise(OpacityArray(opacity)), mean_and_noise(Streamed(opacity)), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(frame_evidence(OpacityArray(opacity)), frame_evidence(Streamed(opacity)), atol=1e-5)


def test_of_long_runs_sixteen_frames_are_looked_at_first_left_out_and_last_taken():
    assert sampled_frames(2) == [1]
    assert sampled_frames(17) == list(range(1, 17))
    many = sampled_frames(200)
    assert (len(many), many[0], many[-1]) == (16, 1, 199)
    assert min(np.diff(many)) >= 13
    opacity = np.zeros((200, 40, 40), np.float32)
    opacity[many] = 0.5
    mean, _ = mean_and_noise(OpacityArray(opacity))
    np.testing.assert_allclose(mean, 0.5)


def test_equal_frames_have_no_noise_and_one_frame_has_no_mean():
    _, noise = mean_and_noise(OpacityArray(np.zeros((5, 40, 40), np.float32)))
    assert not noise.any()
    with pytest.raises(ValueError, match="got 1 frames"):
        mean_and_noise(OpacityArray(np.zeros((1, 40, 40), np.float32)))


def test_the_mean_of_stored_frames_is_the_opacity_of_the_mean_pixel():
    rng = np.random.default_rng(1)
    stored = rng.integers(400, 4000, (6, 64, 64)).astype(np.uint16)
    frames = subtract(DsaSeries.from_array(stored), MaskChoice((0,)))
    mean, _ = mean_and_noise(frames)
    np.testing.assert_allclose(mean, np.log(stored[0]) - np.log(stored[1:].mean(0)), atol=1e-5)


def value(evidence: np.ndarray, name: str) -> float:
    return float(np.exp(evidence[FEATURES.index(name)]))


def test_where_frames_are_brighter_than_the_mask_there_is_motion():
    rng = np.random.default_rng(2)
    bone = rng.normal(0, 0.1, (128, 128)).repeat(2, 0).repeat(2, 1).astype(np.float32)
    still = np.zeros((8, 256, 256), np.float32)
    still[3:6, 100:140, 100:140] = 1.0  # contrast is dark and says nothing about motion
    moved = still.copy()
    moved[4] += np.roll(bone, 2, axis=0) - bone
    noise = rng.normal(0, 0.005, still.shape).astype(np.float32)
    quiet, loud = frame_evidence(OpacityArray(still + noise)), frame_evidence(OpacityArray(moved + noise))
    assert value(quiet, "brightest_frame_97") < 0.02
    change = np.percentile(bone - np.roll(bone, 2, axis=0), 97)
    np.testing.assert_allclose(value(loud, "brightest_frame_97"), change, rtol=0.15)
    assert value(loud, "median_frame_97") < 0.02, "one frame moved, most did not"
    np.testing.assert_allclose(value(quiet, "noise_50"), 0.005, rtol=0.2)


def test_evidence_needs_three_frames_and_a_region():
    opacity = noisy(0.02, frames=2)
    assert frame_evidence(OpacityArray(opacity)) is None
    opacity = noisy(0.02, frames=5)
    assert frame_evidence(OpacityArray(opacity), np.zeros((96, 96), bool)) is None
    half = np.zeros((96, 96), bool)
    half[:, :48] = True
    opacity[:, :, 48:] = 9.0
    found = frame_evidence(OpacityArray(opacity), half)
    assert found.shape == (len(FEATURES),)
    assert value(found, "peak_99") < 0.2, "nothing outside the region counts"


def test_the_brightest_picture_is_without_contrast_and_without_the_mask():
    stored = np.full((5, 8, 9), 900, np.uint16)
    stored[2, 3, 4] = 100  # contrast passes
    stored[1:, 6, 6] = 300  # a wire, put in after the mask
    light = brightest(DsaSeries.from_array(stored))
    assert light[3, 4] == 900
    assert light[6, 6] == 300
    one = DsaSeries.from_array(stored[:1])
    assert isinstance(one.frames, ArrayFrames)
    np.testing.assert_array_equal(brightest(one), stored[0])
