import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.displacement import Field, Rigid, resample
from ClaireDSALib.dsa.motion import correct_motion
from ClaireDSALib.dsa.phase_correlation import align_to
from ClaireDSALib.dsa.series import DsaSeries, Intensity, MaskOperation
from ClaireDSALib.dsa.subtraction import MaskChoice, subtract
from Testing.unit.dsa_physics.phantoms import counts, moved, textured

LIN = Intensity(bits_stored=16, relation="LIN")
FIRST = MaskChoice((0,))
SHIFTS = [(0.0, 0.0), (0.4, -0.3), (1.25, 2.5), (-3.7, 0.9), (0.0, 6.2)]


def series_of(attenuations, noise=0.0, **attributes):
    rng = np.random.default_rng(5)
    frames = np.stack([counts(a + noise * rng.standard_normal(a.shape)) for a in attenuations])
    return DsaSeries.from_array(frames, intensity=LIN, **attributes)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (0.25, -0.75), (3.3, -7.8), (-12.1, 4.0)])
def test_a_known_shift_is_found_at_first_sight_to_a_sixteenth_of_a_pixel(shift):
    picture = textured()
    found, quality = align_to(picture).shift_of(moved(picture, shift))
    np.testing.assert_allclose(found, shift, atol=0.06)
    assert 0.5 < quality <= 1.0


def test_noise_as_strong_as_the_detail_costs_a_tenth_of_a_pixel():
    bone = textured()
    result = correct_motion(series_of([bone, moved(bone, (1.3, -2.6))], noise=0.03), FIRST, method="translation")
    np.testing.assert_allclose(result.shifts[1], (1.3, -2.6), atol=0.1)


def test_contrast_does_not_pull_the_shift():
    picture = textured()
    y, x = np.mgrid[:160, :160]
    vessel = 0.5 * np.exp(-(((x - y / 2 - 40) / 3.0) ** 2))
    found, _ = align_to(picture).shift_of(moved(picture, (1.0, 0.5)) + vessel)
    np.testing.assert_allclose(found, (1.0, 0.5), atol=0.1)


def test_two_pictures_without_anything_in_common_have_a_low_quality():
    _, alike = align_to(textured(seed=1)).shift_of(textured(seed=1))
    _, different = align_to(textured(seed=1)).shift_of(textured(seed=2))
    assert alike > 0.99
    assert different < 0.2


def test_flat_pictures_have_no_shift():
    flat = np.ones((64, 64))
    found, _ = align_to(flat).shift_of(flat)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_known_translations_are_undone():
    bone = textured()
    series = series_of([moved(bone, s) for s in SHIFTS])
    result = correct_motion(series, FIRST, method="translation")
    assert result.applied
    assert result.method == "translation"
    np.testing.assert_allclose(result.shifts, SHIFTS, atol=0.03)
    assert np.all(result.gain[1:] > 0.8)
    inner = (slice(None), slice(12, -12), slice(12, -12))
    before = subtract(series, FIRST).to_array()[inner]
    after = result.frames.to_array()[inner]
    assert np.abs(after).max() < 0.1 * np.abs(before).max()
    assert result.frames.shape == series.frames.shape
    assert result.frames.read(2).dtype == np.float32


def test_known_rotations_are_undone():
    bone = textured(192)
    frames = [bone] + [
        ndimage.rotate(bone, angle, reshape=False, order=3, mode="nearest") for angle in (-2.0, 1.0, 1.5)
    ]
    result = correct_motion(series_of(frames), FIRST, method="auto")
    assert result.method == "rigid"
    np.testing.assert_allclose(np.abs(result.angles_deg), [0, 2.0, 1.0, 1.5], atol=0.1)
    assert len(set(np.sign(result.angles_deg[1:]))) == 2
    assert np.all(result.gain[1:] > 0.6)


def test_rotation_is_not_invented_where_translation_explains_all():
    bone = textured()
    result = correct_motion(series_of([moved(bone, s) for s in SHIFTS]), FIRST, method="auto")
    assert result.method == "translation"
    assert np.all(result.angles_deg == 0)


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("method", ["auto", "translation", "rigid", "bspline"])
def test_a_still_patient_is_left_alone(method, noise):
    bone = textured(128)
    x = np.arange(128)
    vessel = np.exp(-(((x - 64) / 3.0) ** 2))
    series = series_of([bone + o * vessel for o in (0, 0.3, 0.6)], noise=noise)
    result = correct_motion(series, FIRST, method=method)
    assert not result.applied
    assert result.method == "none"
    assert result.reason == "no frame gained enough"
    assert np.all(result.shifts == 0)
    np.testing.assert_array_equal(result.frames.read(2), subtract(series, FIRST).read(2))


def test_only_the_frames_that_moved_are_touched():
    bone = textured()
    series = series_of([bone, bone, moved(bone, (2.0, 1.0)), bone])
    result = correct_motion(series, FIRST)
    assert result.gain[2] > 0.8
    assert np.all(result.gain[[0, 1, 3]] == 0)
    np.testing.assert_array_equal(result.frames.read(1), subtract(series, FIRST).read(1))


def test_opacity_of_a_moving_vessel_comes_back_in_place():
    bone = textured(192)
    y, x = np.mgrid[:192, :192]
    vessel = 0.6 * np.exp(-(((x - 96 - 10 * np.sin(y / 25)) / 4.0) ** 2))
    series = series_of([bone, moved(bone + vessel, (2.4, -1.7))])
    found = correct_motion(series, FIRST).frames.read(1)
    inner = (slice(15, -15), slice(15, -15))
    assert np.abs(found - vessel)[inner].mean() < 0.01
    assert found[inner].max() == pytest.approx(0.6, abs=0.06)


def test_a_smooth_deformation_is_undone_better_than_rigidly():
    bone = textured(192)
    y, x = np.mgrid[:192, :192].astype(float)
    warp = np.stack([2.5 * np.sin(np.pi * x / 192), 2.5 * np.sin(np.pi * y / 96)])
    deformed = ndimage.map_coordinates(bone, np.indices(bone.shape) - warp, order=3, mode="nearest")
    series = series_of([bone, deformed])
    rigid = correct_motion(series, FIRST, method="rigid")
    deformable = correct_motion(series, FIRST, method="bspline")
    assert deformable.method == "bspline"
    assert deformable.gain[1] > rigid.gain[1] + 0.2
    assert deformable.gain[1] > 0.5


def test_shutters_do_not_move_into_the_picture():
    bone = textured()
    region = np.zeros(bone.shape, bool)
    region[16:-16, 16:-16] = True
    frames = np.stack([counts(moved(bone, s)) for s in ((0, 0), (3.0, 3.0))])
    frames[:, ~region] = 2
    series = DsaSeries.from_array(frames, intensity=LIN, valid_region=region)
    result = correct_motion(series, FIRST)
    assert result.applied
    np.testing.assert_allclose(result.shifts[1], (3, 3), atol=0.1)
    assert np.abs(result.frames.read(1)).max() < 0.05
    assert np.all(result.frames.read(1)[~region] == 0)


def test_large_frames_are_estimated_small_and_corrected_in_full():
    bone = textured(1100, detail=4.0)
    series = series_of([bone, moved(bone, (5.0, -9.0))])
    result = correct_motion(series, FIRST, method="translation")
    np.testing.assert_allclose(result.shifts[1], (5, -9), atol=0.15)
    assert result.gain[1] > 0.8


def test_masks_that_change_with_time_are_not_corrected():
    bone = textured(64)
    series = series_of([bone] * 4, mask_operations=(MaskOperation("TID"),))
    result = correct_motion(series)
    assert not result.applied
    assert result.reason == "the mask changes from frame to frame"


def test_a_subtracted_run_is_not_corrected():
    series = series_of([textured(64)] * 2, subtraction_state="subtracted")
    assert "already subtracted" in correct_motion(series).reason


def test_constant_frames_neither_move_nor_fail():
    series = DsaSeries.from_array(np.full((3, 64, 64), 900, np.uint16), intensity=LIN)
    assert not correct_motion(series, FIRST).applied


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"method must be one of.*'affine'"):
        correct_motion(series_of([textured(64)] * 2), FIRST, method="affine")


def test_pulling_back_a_translation_keeps_its_sharpness():
    picture = textured(96)
    back = resample(moved(picture, (1.5, -2.25)).astype(np.float32), Rigid((1.5, -2.25), 0.0, picture.shape))
    np.testing.assert_allclose(back[6:-6, 6:-6], picture[6:-6, 6:-6], atol=0.06)


def test_a_field_that_is_one_shift_everywhere_equals_that_shift():
    picture = textured(64).astype(np.float32)
    shift = np.broadcast_to(np.array([1.0, -2.0], np.float32)[:, None, None], (2, 64, 64))
    field = Field(np.ascontiguousarray(shift))
    rigid = Rigid((1.0, -2.0), 0.0, (64, 64))
    np.testing.assert_allclose(resample(picture, field), resample(picture, rigid), atol=1e-5)
    assert field.mean_px() == rigid.mean_px()
    assert field.largest_px() == pytest.approx(rigid.largest_px())
    assert field.scaled(2, (128, 128)).mean_px() == (2.0, -4.0)


def test_a_rotation_and_its_field_agree():
    rigid = Rigid((0.5, -1.0), 3.0, (80, 100))
    angle = np.deg2rad(3.0)
    row, column = np.indices((80, 100)) - np.array([39.5, 49.5])[:, None, None]
    field = Field(
        np.stack(
            [
                np.cos(angle) * row - np.sin(angle) * column - row + 0.5,
                np.sin(angle) * row + np.cos(angle) * column - column - 1.0,
            ]
        ).astype(np.float32)
    )
    assert field.angle_deg() == pytest.approx(3.0, abs=0.01)
    picture = ndimage.gaussian_filter(np.random.default_rng(0).random((80, 100)), 3).astype(np.float32)
    inner = (slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(resample(picture, field)[inner], resample(picture, rigid)[inner], atol=1e-4)
