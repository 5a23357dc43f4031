"""Shutters, collimators and padding are known as not being picture."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.read import examine, read
from Testing.unit.dsa_read import dicom_builder as build

SIDE = 64


def region(tmp_path, frames=None, **attributes):
    frames = build.raw_run(8, SIDE) if frames is None else frames
    return read(build.write_run(tmp_path / "run.dcm", frames, **attributes)).series[0].valid_region


def rectangle(kind, left, right, upper, lower):
    edges = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    values = zip(edges, (left, right, upper, lower), strict=True)
    return {f"{kind}Shape": "RECTANGULAR", **{f"{kind}{edge}Edge": value for edge, value in values}}


def test_a_run_without_shutters_is_picture_all_over(tmp_path):
    assert region(tmp_path) is None


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
def test_a_rectangle_in_the_header_counts_from_one(tmp_path, kind):
    found = region(tmp_path, **rectangle(kind, 11, 60, 6, 50))
    expected = np.zeros((SIDE, SIDE), bool)
    expected[5:50, 10:60] = True
    np.testing.assert_array_equal(found, expected)


def test_a_circle_in_the_header(tmp_path):
    found = region(tmp_path, ShutterShape="CIRCULAR", CenterOfCircularShutter=[32, 32], RadiusOfCircularShutter=20)
    assert found.sum() == pytest.approx(np.pi * 400, rel=0.02)
    assert found[31, 31]
    assert not found[0, 0]


def test_a_polygon_in_the_header(tmp_path):
    found = region(tmp_path, ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 1, 1, 64, 64, 1])
    assert found[5, 5]
    assert not found[60, 60]


def test_shutter_and_collimator_both_hold(tmp_path):
    found = region(tmp_path, **rectangle("Shutter", 1, 40, 1, 64), **rectangle("Collimator", 20, 64, 1, 64))
    assert found[:, 19:40].all()
    assert found.sum() == 64 * 21


def test_a_shutter_that_leaves_nothing_is_not_used(tmp_path):
    path = build.write_run(tmp_path / "run.dcm", **rectangle("Shutter", 40, 20, 1, 64))
    series = read(path).series[0]
    assert series.valid_region is None
    assert any("leaves no picture" in warning for warning in series.warnings)


@pytest.mark.parametrize("value", [0, 700, 4095])
def test_a_constant_frame_round_the_picture_is_found_in_the_pixels(tmp_path, value):
    frames = build.raw_run(8, SIDE)
    frames[:, :9] = frames[:, -4:] = value
    frames[:, :, :12] = value
    found = region(tmp_path, frames)
    expected = np.zeros((SIDE, SIDE), bool)
    expected[9:-4, 12:] = True
    np.testing.assert_array_equal(found, expected)


def test_a_round_image_intensifier_is_found_in_the_pixels(tmp_path):
    frames = build.raw_run(8, SIDE)
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    frames[:, row**2 + column**2 > 30**2] = 0
    np.testing.assert_array_equal(region(tmp_path, frames), row**2 + column**2 <= 30**2)


def test_saturated_air_beside_a_head_is_picture(tmp_path):
    frames = build.raw_run(8, SIDE)
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    frames[:, row**2 + column**2 > 28**2] = 4095
    assert region(tmp_path, frames) is None


def test_a_dark_spot_inside_the_picture_is_picture(tmp_path):
    frames = build.raw_run(8, SIDE)
    frames[:, 20:40, 20:40] = 0
    assert region(tmp_path, frames) is None


def test_padding_is_no_picture(tmp_path):
    frames = build.raw_run(8, SIDE)
    frames[:, 10:20, 10:20] = 5
    found = region(tmp_path, frames, PixelPaddingValue=5)
    assert (~found).sum() == 100


def test_the_header_alone_gives_its_shutter(tmp_path):
    path = build.write_run(tmp_path / "run.dcm", **rectangle("Shutter", 11, 60, 6, 50))
    assert examine(path).series[0].valid_region.sum() == 45 * 50
