"""Subtracted or not, and what the mask module asks for."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.read import examine, read
from ClaireDSALib.dsa.series import MaskOperation
from Testing.unit.dsa_read import dicom_builder as build


def one(tmp_path, frames=None, **attributes):
    attributes.setdefault("FrameTime", 250)
    frames = build.raw_run(8, 64) if frames is None else frames
    return read(build.write_run(tmp_path / "run.dcm", frames, **attributes)).series[0]


def mask(**attributes):
    return {"MaskSubtractionSequence": [build.item(**attributes)]}


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize(("make", "state"), [(build.raw_run, "unsubtracted"), (build.subtracted_run, "subtracted")])
def test_the_pixels_tell_the_state(tmp_path, make, bits, state):
    series = one(tmp_path, make(8, 256, bits))
    assert (series.subtraction_state, series.subtraction_source) == (state, "pixels")


def test_a_collimated_subtracted_run_is_still_subtracted(tmp_path):
    frames = build.subtracted_run(8, 256)
    frames[:, :40] = frames[:, :, :50] = 0
    series = one(tmp_path, frames)
    assert series.subtraction_state == "subtracted"
    assert not series.valid_region[:40].any()


@pytest.mark.parametrize(
    ("attributes", "source"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "SINGLE PLANE", "SUBTRACTED"]}, "ImageType"),
        ({"DerivationDescription": "Subtraction of mask frame 2"}, "DerivationDescription"),
        ({"DerivationCodeSequence": [build.item(CodeValue="113062")]}, "DerivationCodeSequence"),
    ],
)  # fmt: skip
def test_tags_that_say_subtracted_are_believed(tmp_path, attributes, source):
    path = build.write_run(tmp_path / "run.dcm", build.subtracted_run(), **attributes)
    series = examine(path).series[0]
    assert (series.subtraction_state, series.subtraction_source) == ("subtracted", source)


def test_a_mask_operation_asks_for_a_subtraction_still_to_be_done(tmp_path):
    series = one(tmp_path, **mask(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 2]))
    assert (series.subtraction_state, series.subtraction_source) == ("unsubtracted", "MaskSubtractionSequence")


def test_nothing_is_subtracted_twice(tmp_path):
    series = one(tmp_path, build.subtracted_run(8, 256), **mask(MaskOperation="AVG_SUB", MaskFrameNumbers=1))
    assert series.subtraction_state == "subtracted"
    assert any("not done twice" in warning for warning in series.warnings)


def test_mask_frames_count_from_zero(tmp_path):
    series = one(
        tmp_path,
        **mask(
            MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 3], ContrastFrameAveraging=2,
            ApplicableFrameRange=[4, 6, 8, 8], MaskSubPixelShift=[0.5, -0.25],
        ),
    )  # fmt: skip
    assert series.mask_operations == (
        MaskOperation("AVG_SUB", (0, 2), ((3, 5), (7, 7)), contrast_frame_averaging=2, sub_pixel_shift=(0.5, -0.25)),
    )


@pytest.mark.parametrize(("name", "offset"), [("TID", 3), ("REV_TID", 2)])
def test_time_interval_differences_keep_their_offset(tmp_path, name, offset):
    series = one(tmp_path, **mask(MaskOperation=name, TIDOffset=offset, ApplicableFrameRange=[5, 8]))
    assert series.mask_operations == (MaskOperation(name, (), ((4, 7),), tid_offset=offset),)


def test_operation_none_is_kept_and_asks_for_nothing(tmp_path):
    series = one(tmp_path, **mask(MaskOperation="NONE", MaskFrameNumbers=0))
    assert series.mask_operations == (MaskOperation("NONE"),)
    assert series.subtraction_source == "pixels"


def test_several_operations_stand_in_their_order(tmp_path):
    items = [
        build.item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1]),
        build.item(MaskOperation="TID", TIDOffset=1),
        build.item(MaskOperation="HOCUS"),
    ]
    series = one(tmp_path, MaskSubtractionSequence=items)
    assert [operation.operation for operation in series.mask_operations] == ["AVG_SUB", "TID"]
    assert any("unknown name" in warning for warning in series.warnings)


def test_mask_frames_outside_the_run_are_left_out_with_a_warning(tmp_path):
    series = one(tmp_path, **mask(MaskOperation="AVG_SUB", MaskFrameNumbers=[2, 99]))
    assert series.mask_operations[0].mask_frames == (1,)
    assert any("outside the run" in warning for warning in series.warnings)


def test_a_mask_without_any_usable_frame_is_no_mask(tmp_path):
    series = one(tmp_path, **mask(MaskOperation="AVG_SUB", MaskFrameNumbers=[77]))
    assert series.mask_operations == ()


def test_mask_frames_follow_when_duplicates_are_dropped(tmp_path):
    frames = build.raw_run(8, 64)
    series = one(
        tmp_path, frames, FrameTimeVector=[0, 0, 250, 250, 250, 250, 250, 250],
        **mask(MaskOperation="AVG_SUB", MaskFrameNumbers=[3], ApplicableFrameRange=[4, 8]),
    )  # fmt: skip
    operation = series.mask_operations[0]
    assert operation.mask_frames == (1,)
    assert operation.applicable_frames == ((2, 6),)
    np.testing.assert_array_equal(series.frame(1), frames[2])
