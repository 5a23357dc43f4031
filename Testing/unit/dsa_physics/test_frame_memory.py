"""Frames held in memory are a shortcut, never another answer: everything is equal to the last bit."""

import dataclasses

import numpy as np
import pytest

from ClaireDSALib.dsa.frame_memory import hold_frames
from ClaireDSALib.dsa.maps import temporal_maps
from ClaireDSALib.dsa.motion import correct_motion
from ClaireDSALib.dsa.opacity_frames import OpacityArray, held, peak_opacity
from ClaireDSALib.dsa.projection import minip
from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, Intensity, MaskOperation
from ClaireDSALib.dsa.subtraction import MaskChoice, subtract
from Testing.unit.dsa_physics.phantoms import counts, moved, textured

TIMES = np.concatenate([np.arange(14) * 0.333, 14 * 0.333 + np.arange(1, 9) * 1.07])
FIELDS = [f.name for f in dataclasses.fields(temporal_maps.__globals__["TemporalMaps"]) if f.name != "smallest_peak"]


class _OneByOne:
    """The same opacity, but it can only be read frame by frame."""

    def __init__(self, frames):
        self._frames = frames
        self.shape, self.dtype = frames.shape, frames.dtype

    def read(self, index):
        return self._frames.read(index)


@pytest.fixture(params=["plain", "shutter", "partly covered", "noisy start"])
def a_run(request) -> tuple[DsaSeries, MaskChoice]:
    """22 frames of 61 x 83 at two frame rates; contrast passes through from the left to the right."""
    rng = np.random.default_rng(5)
    onset = np.linspace(0.3, 6, 83)[None, :] + rng.normal(0, 0.1, (61, 83))
    passed = np.maximum(TIMES[:, None, None] - onset, 0)
    opacity = rng.choice([0.0, 0.05, 0.6], (61, 83)) * passed * np.exp(1 - passed)
    stored = np.clip(2500 * np.exp(-opacity) + rng.normal(0, 12, opacity.shape), 0, 4095).astype(np.uint16)
    mask, region = MaskChoice((0, 1)), None
    if request.param == "shutter":
        region = np.zeros((61, 83), bool)
        region[5:50, 9:80] = True
    if request.param == "partly covered":
        mask = MaskChoice((0,), operations=(MaskOperation("AVG_SUB", (0,), applicable_frames=((4, 19),)),))
    if request.param == "noisy start":
        stored[0] = np.clip(stored[0] * 0.7, 0, 4095)
    series = DsaSeries.from_array(
        stored, times_s=TIMES, intensity=Intensity(bits_stored=12, relation="LIN"), valid_region=region
    )
    return series, mask


def test_every_frame_is_decoded_once_and_projected_on_the_way(lazily):
    stored = np.random.default_rng(0).integers(0, 4095, (7, 9, 11)).astype(np.uint16)
    series = lazily(stored)
    kept, darkest = hold_frames(series)
    assert sorted(series.frames.reads) == list(range(7))
    np.testing.assert_array_equal(kept.to_array(), stored)
    np.testing.assert_array_equal(darkest, stored.min(0))
    assert sorted(series.frames.reads) == list(range(7))
    with pytest.raises(ValueError, match="read-only"):
        kept.frame(0)[0, 0] = 1


def test_a_run_beyond_the_limit_stays_on_disk(lazily):
    stored = np.random.default_rng(0).integers(0, 4095, (7, 9, 11)).astype(np.uint16)
    series = lazily(stored)
    kept, darkest = hold_frames(series, limit_bytes=stored.nbytes - 1)
    assert kept is series
    np.testing.assert_array_equal(darkest, stored.min(0))


def test_the_maps_of_held_frames_are_those_of_streamed_ones(a_run):
    series, mask = a_run
    frames = subtract(series, mask)
    assert held(frames) is not None
    for source in (frames, OpacityArray(frames.to_array())):
        quick, slow = temporal_maps(series, source), temporal_maps(series, _OneByOne(frames))
        assert np.isfinite(slow.time_to_peak_s).mean() > 0.2
        assert np.isfinite(slow.arrival_time_s).any()
        assert quick.smallest_peak == slow.smallest_peak
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(quick, name), getattr(slow, name), err_msg=name)


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_short_runs_have_the_same_maps_either_way(n_frames, a_run):
    series, mask = a_run
    opacity = subtract(series, mask).to_array()[5 : 5 + n_frames]
    short = DsaSeries.from_array(np.zeros(opacity.shape, np.uint8), times_s=TIMES[:n_frames])
    quick = temporal_maps(short, opacity, smallest_peak=0.1)
    slow = temporal_maps(short, _OneByOne(OpacityArray(opacity)), smallest_peak=0.1)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(quick, name), getattr(slow, name), err_msg=name)


@pytest.mark.parametrize("indices", [range(22), [3, 4, 5, 6], [0, 7, 9], [2], [1, 2]])
def test_the_peak_of_held_frames_is_that_of_streamed_ones(indices, a_run):
    series, mask = a_run
    frames = subtract(series, mask)
    expected = np.max([frames.read(index) for index in indices], axis=0)
    np.testing.assert_array_equal(peak_opacity(frames, indices), expected)
    np.testing.assert_array_equal(peak_opacity(_OneByOne(frames), indices), expected)


def test_no_frame_has_no_peak(a_run):
    series, mask = a_run
    with pytest.raises(ValueError, match="at least one frame"):
        peak_opacity(subtract(series, mask), [])


def test_some_pixels_are_those_of_the_whole_frames(a_run):
    series, mask = a_run
    frames = subtract(series, mask)
    pixels = np.array([0, 17, 3000, 61 * 83 - 1])
    expected = frames.to_array().reshape(22, -1)[:, pixels]
    np.testing.assert_array_equal(frames.courses(pixels), expected)
    np.testing.assert_array_equal(frames.courses(pixels, slice(2, 9)), expected[2:9])


def test_moved_frames_are_the_same_when_held_and_only_then_have_single_pixels():
    still = textured(96)
    stack = np.stack([still, still, moved(still, (1.7, 0.6)), moved(still, (-0.8, 1.4))])
    series = DsaSeries.from_array(counts(stack), intensity=Intensity(bits_stored=16, relation="LIN"))
    frames = correct_motion(series, MaskChoice((0,)), method="translation").frames
    expected = frames.to_array()
    assert held(frames) is None
    assert frames.held(limit_bytes=expected.nbytes - 1) is frames
    with pytest.raises(ValueError, match="held"):
        frames.peak([0])
    kept = frames.held()
    np.testing.assert_array_equal(kept.to_array(), expected)
    np.testing.assert_array_equal(peak_opacity(kept), expected.max(0))
    np.testing.assert_array_equal(kept.courses(np.array([5, 77])), expected.reshape(4, -1)[:, [5, 77]])


def test_a_source_that_decodes_in_its_own_way_is_not_taken_for_memory():
    class Damaged(ArrayFrames):
        def read(self, index):
            raise ValueError(index)

    series = DsaSeries("x", Damaged(np.full((3, 32, 32), 900, np.uint16)), np.arange(3.0))
    quiet = dataclasses.replace(series, frames=ArrayFrames(series.frames.array))
    frames = dataclasses.replace(subtract(quiet, MaskChoice((0,))), series=series)
    assert held(frames) is None
    np.testing.assert_array_equal(minip(quiet), np.full((32, 32), 900))
