import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ClaireDSALib.dsa.series import DsaSeries, Intensity, MaskOperation
from ClaireDSALib.dsa.subtraction import (
    MaskChoice,
    choose_mask,
    from_display,
    subtract,
    subtracted_minip,
    to_display,
    why_no_mask,
)

LIN = Intensity(bits_stored=16, relation="LIN")


def run_with_known_opacity(n_frames=6, size=24, unattenuated=60000.0):
    """Bone under a vessel whose opacity is known; two frames without contrast first."""
    bone = 0.8 * np.exp(-(((np.arange(size) - size / 2) / 6.0) ** 2))
    opacity = np.zeros((n_frames, size, size))
    opacity[2:, size // 2 - 2 : size // 2 + 2] = np.linspace(0.2, 1.0, n_frames - 2)[:, None, None]
    frames = np.round(unattenuated * np.exp(-bone - opacity)).astype(np.uint16)
    return frames, opacity


def test_known_opacity_comes_back_whatever_lies_over_it():
    frames, opacity = run_with_known_opacity()
    found = subtract(DsaSeries.from_array(frames, intensity=LIN), MaskChoice((0, 1)))
    np.testing.assert_allclose(found.to_array(), opacity, atol=1.5e-4)  # rounding to integers
    assert found.read(3).dtype == np.float32
    assert found.shape == frames.shape


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))),
    st.sampled_from(["LIN", "LOG", "DISP", "unknown"]),
    st.data(),
)
def test_one_logarithm_after_the_minimum_is_exact_to_the_last_bit(frames, relation, data):
    series = DsaSeries.from_array(frames, intensity=Intensity(bits_stored=16, relation=relation))
    mask = MaskChoice(tuple(data.draw(st.sets(st.integers(0, len(frames) - 1), min_size=1))))
    np.testing.assert_array_equal(
        subtracted_minip(series, mask).view(np.uint32), subtract(series, mask).to_array().max(0).view(np.uint32)
    )


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(2, 7), st.integers(2, 7))))
def test_the_same_holds_for_runs_that_are_subtracted_already(frames):
    series = DsaSeries.from_array(frames, subtraction_state="subtracted")
    np.testing.assert_array_equal(subtracted_minip(series), subtract(series).to_array().max(0))


def test_the_subtracted_minimum_decodes_every_frame_once_more_and_no_more(lazily):
    frames, _ = run_with_known_opacity()
    series = lazily(frames)
    subtracted_minip(series, MaskChoice((0,)))
    assert sorted(series.frames.reads) == [0, *range(6)]


def test_a_given_subtraction_is_not_prepared_again(lazily):
    frames, _ = run_with_known_opacity()
    series = lazily(frames)
    prepared = subtract(series, MaskChoice((0,)))
    series.frames.reads.clear()
    subtracted_minip(series, frames=prepared)
    assert sorted(series.frames.reads) == list(range(6))


def test_a_gain_common_to_all_frames_changes_nothing():
    frames, _ = run_with_known_opacity(unattenuated=30000)
    doubled = DsaSeries.from_array((frames * 2).astype(np.uint16), intensity=LIN)
    plain = DsaSeries.from_array(frames, intensity=LIN)
    np.testing.assert_allclose(
        subtracted_minip(doubled, MaskChoice((0,))), subtracted_minip(plain, MaskChoice((0,))), atol=1e-6
    )


def test_mask_frames_are_averaged_as_counts():
    frames = np.array([[[100]], [[300]], [[100]]], np.uint16)
    found = subtract(DsaSeries.from_array(frames, intensity=LIN), MaskChoice((0, 1)))
    assert found.read(2)[0, 0] == pytest.approx(np.log(200 / 100), abs=1e-6)


def test_zero_counts_stay_finite():
    frames = np.array([[[1000, 0]], [[0, 0]]], np.uint16)
    opacity = subtracted_minip(DsaSeries.from_array(frames, intensity=LIN), MaskChoice((0,)))
    assert opacity.tolist() == [[pytest.approx(np.log(1000)), 0.0]]


def test_shutters_hold_no_opacity():
    frames = np.array([[[1000, 7]], [[500, 1]]], np.uint16)
    region = np.array([[True, False]])
    series = DsaSeries.from_array(frames, intensity=LIN, valid_region=region)
    assert subtract(series, MaskChoice((0,))).read(1)[0, 1] == 0
    assert subtracted_minip(series, MaskChoice((0,)))[0, 1] == 0


def test_the_headers_mask_comes_before_an_estimate():
    frames, _ = run_with_known_opacity()
    operation = MaskOperation("AVG_SUB", mask_frames=(1,))
    series = DsaSeries.from_array(frames, intensity=LIN, mask_operations=(operation,))
    assert choose_mask(series) == MaskChoice((1,), "MaskSubtractionSequence", (operation,))


def test_a_mask_frame_the_file_does_not_have_is_not_used():
    frames, _ = run_with_known_opacity(size=64)
    series = DsaSeries.from_array(frames, intensity=LIN, mask_operations=(MaskOperation("AVG_SUB", mask_frames=(99,)),))
    assert choose_mask(series).source == "estimated"


def test_time_interval_difference_subtracts_the_frame_so_many_before():
    frames = (1000 * np.exp(-np.arange(5) * 0.3)).astype(np.uint16)[:, None, None] * np.ones((1, 2, 2), np.uint16)
    operation = MaskOperation("TID", tid_offset=2)
    series = DsaSeries.from_array(frames, intensity=LIN, mask_operations=(operation,))
    found = subtract(series, choose_mask(series))
    assert not found.one_reference()
    np.testing.assert_allclose([found.read(i)[0, 0] for i in range(5)], [0, 0, 0.6, 0.6, 0.6], atol=5e-3)
    np.testing.assert_allclose(subtracted_minip(series), 0.6, atol=5e-3)


def test_a_negative_offset_takes_the_mask_from_later_frames():
    frames = np.array([100, 200, 400], np.uint16)[:, None, None]
    series = DsaSeries.from_array(frames, intensity=LIN, mask_operations=(MaskOperation("TID", tid_offset=-1),))
    found = subtract(series)
    np.testing.assert_allclose([found.read(i)[0, 0] for i in range(3)], [np.log(2), np.log(2), 0], atol=1e-6)


def test_reversed_time_interval_difference_walks_back_from_the_first_contrast_frame():
    values = np.array([1000, 900, 800, 700, 600, 500], np.uint16)
    operation = MaskOperation("REV_TID", applicable_frames=((3, 5),), tid_offset=1)
    series = DsaSeries.from_array(values[:, None, None], intensity=LIN, mask_operations=(operation,))
    found = subtract(series)
    expected = [0, 0, 0, np.log(800 / 700), np.log(900 / 600), np.log(1000 / 500)]  # masks 2, 1, 0
    np.testing.assert_allclose([found.read(i)[0, 0] for i in range(6)], expected, atol=1e-6)


def test_only_frames_in_the_applicable_range_are_subtracted():
    frames = np.array([1000, 500, 250, 125], np.uint16)[:, None, None]
    operation = MaskOperation("AVG_SUB", mask_frames=(0,), applicable_frames=((1, 2),))
    series = DsaSeries.from_array(frames, intensity=LIN, mask_operations=(operation,))
    found = subtract(series)
    np.testing.assert_allclose([found.read(i)[0, 0] for i in range(4)], np.log([1, 2, 4, 1]), atol=1e-6)
    np.testing.assert_allclose(subtracted_minip(series)[0, 0], np.log(4), atol=1e-6)


def test_two_operations_share_the_run_between_them():
    frames = np.array([1000, 2000, 500, 500], np.uint16)[:, None, None]
    operations = (
        MaskOperation("AVG_SUB", mask_frames=(0,), applicable_frames=((0, 2),)),
        MaskOperation("AVG_SUB", mask_frames=(1,), applicable_frames=((3, 3),)),
    )
    found = subtract(DsaSeries.from_array(frames, intensity=LIN, mask_operations=operations))
    np.testing.assert_allclose([found.read(i)[0, 0] for i in (2, 3)], np.log([2, 4]), atol=1e-6)


def test_contrast_frames_are_averaged_when_the_header_says_so():
    frames = np.array([1000, 400, 600, 800], np.uint16)[:, None, None]
    operation = MaskOperation("AVG_SUB", mask_frames=(0,), contrast_frame_averaging=2)
    found = subtract(DsaSeries.from_array(frames, intensity=LIN, mask_operations=(operation,)))
    np.testing.assert_allclose(
        [found.read(i)[0, 0] for i in range(4)], np.log([1000 / 700, 2, 1000 / 700, 1]), atol=1e-6
    )


def test_the_mask_moves_down_and_left_by_the_headers_sub_pixel_shift():
    mask = np.full((8, 8), 1000, np.uint16)
    mask[3, 4] = 500
    frame = np.full((8, 8), 1000, np.uint16)
    frame[5, 3] = 500  # two rows lower, one column to the left
    operation = MaskOperation("AVG_SUB", mask_frames=(0,), sub_pixel_shift=(2.0, 1.0))
    series = DsaSeries.from_array(np.stack([mask, frame]), intensity=LIN, mask_operations=(operation,))
    np.testing.assert_allclose(subtract(series).read(1), 0, atol=1e-6)


def test_a_subtracted_run_is_measured_from_its_background():
    frames = np.full((3, 40, 40), 2048, np.uint16)
    frames += np.random.default_rng(0).integers(-3, 4, frames.shape).astype(np.int16).astype(np.uint16)
    frames[1, 10:14] = 1024
    intensity = Intensity(bits_stored=12, relation="LIN")
    series = DsaSeries.from_array(frames, intensity=intensity, subtraction_state="subtracted")
    assert choose_mask(series) is None
    assert why_no_mask(series) == "the run is already subtracted"
    opacity = subtracted_minip(series)
    assert opacity[12].mean() == pytest.approx(2.5 * 1024 / 4095, abs=0.01)
    assert np.median(opacity[20:]) == pytest.approx(0, abs=0.01)


def test_without_a_mask_there_is_a_reason_and_no_subtraction():
    series = DsaSeries.from_array(np.full((1, 8, 8), 100, np.uint16))
    assert choose_mask(series) is None
    with pytest.raises(ValueError, match="a run of 1 frame has no frame to spare as mask"):
        subtract(series)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.0; got \(4,\)"):
        subtract(series, MaskChoice((4,)))
    with pytest.raises(ValueError, match="at least one frame number"):
        MaskChoice(())


def test_the_display_is_dark_where_contrast_is_and_can_be_undone():
    opacity = np.linspace(-0.5, 2.0, 1001, dtype=np.float32)
    picture = to_display(opacity)
    assert picture.dtype == np.uint16
    assert picture[0] == 65535
    assert picture[-1] == 0
    assert to_display(np.float32(0)) == 52428
    assert np.all(np.diff(picture.astype(int)) < 0)
    np.testing.assert_allclose(from_display(picture), opacity, atol=2.1e-5)
    assert to_display(np.array([np.nan, 9.0, -9.0])).tolist() == [52428, 0, 65535]
