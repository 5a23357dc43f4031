"""Frames stand at their true times, whichever attribute tells them."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.timing import parse_date_time
from Testing.unit.dsa_read import dicom_builder as build


def one(tmp_path, frames=None, **attributes):
    return read(build.write_run(tmp_path / "run.dcm", frames, **attributes)).series[0]


def test_a_variable_frame_rate_comes_from_the_frame_time_vector(tmp_path):
    vector = [0, 333, 333, 333, 1000, 1000, 2000, 2000]
    series = one(tmp_path, FrameTimeVector=vector, FrameTime=100)
    np.testing.assert_allclose(series.times_s, np.cumsum(vector) / 1000)
    assert series.times_source == "FrameTimeVector"


def test_a_vector_without_the_first_zero_is_understood(tmp_path):
    np.testing.assert_allclose(one(tmp_path, FrameTimeVector=[500] * 7).times_s, np.arange(8) * 0.5)


def test_the_first_value_of_the_vector_is_no_interval(tmp_path):
    np.testing.assert_allclose(one(tmp_path, FrameTimeVector=[500] * 8).times_s, np.arange(8) * 0.5)


def test_frames_with_a_zero_interval_are_left_out_and_counted(tmp_path):
    frames = build.raw_run(6, 32)
    series = one(tmp_path, frames, FrameTimeVector=[0, 250, 0, 250, 0, 250])
    np.testing.assert_allclose(series.times_s, [0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(series.to_array(), frames[[0, 1, 3, 5]])
    assert [ref.frame_number for ref in series.frame_refs] == [1, 2, 4, 6]
    assert any(warning.startswith("2 frame(s) have the same time") for warning in series.warnings)


def test_a_vector_of_elapsed_times_is_recognised(tmp_path):
    series = one(tmp_path, FrameTimeVector=[0, 250, 500, 750, 1000, 1250, 1500, 1750])
    np.testing.assert_allclose(series.times_s, np.arange(8) * 0.25)
    assert any("elapsed" in warning for warning in series.warnings)


@pytest.mark.parametrize("vector", [[0, 100, 100], [0] * 8, [0, 100, -50, 100, 100, 100, 100, 100]])
def test_an_unusable_vector_gives_way_to_the_frame_time(tmp_path, vector):
    series = one(tmp_path, FrameTimeVector=vector, FrameTime=200)
    np.testing.assert_allclose(series.times_s, np.arange(8) * 0.2)
    assert series.times_source == "FrameTime"
    assert any("FrameTimeVector" in warning for warning in series.warnings)


@pytest.mark.parametrize(
    ("attributes", "step_s", "source"),
    [
        ({"FrameTime": "33.33"}, 0.03333, "FrameTime"),
        ({"FrameTime": "0", "CineRate": 4}, 0.25, "CineRate"),
        ({"CineRate": 15}, 1 / 15, "CineRate"),
        ({"RecommendedDisplayFrameRate": 2}, 0.5, "RecommendedDisplayFrameRate"),
        ({}, 1.0, "assumed"),
    ],
)
def test_uniform_rates_come_from_the_first_attribute_that_works(tmp_path, attributes, step_s, source):
    series = one(tmp_path, **attributes)
    np.testing.assert_allclose(series.times_s, np.arange(8) * step_s)
    assert series.times_source == source
    assert (source == "assumed") == any("assumed" in warning for warning in series.warnings)


def test_enhanced_runs_use_the_acquisition_time_of_each_frame(tmp_path):
    times = ["20260102101500.000", "20260102101500.500", "20260102101501.500", "20260102101503.500"]
    ds = build.build_enhanced(build.raw_run(4), times=times, RecommendedDisplayFrameRate=30)
    series = read(build.save(ds, tmp_path / "run.dcm")).series[0]
    np.testing.assert_allclose(series.times_s, [0, 0.5, 1.5, 3.5])
    assert series.times_source == "FrameAcquisitionDateTime"
    assert series.identity.acquired_at == "20260102101500.000000"


def test_single_frames_use_their_own_acquisition_times(tmp_path):
    frames = build.raw_run(4, 32)
    common = {"SeriesInstanceUID": "1.2.3", "AcquisitionDate": "20260102", "FrameTime": 100}
    for k, time in enumerate(["235959.5", "235959.9"]):
        build.write_run(tmp_path / f"{k}.dcm", frames[k : k + 1], InstanceNumber=k + 1, AcquisitionTime=time, **common)
    series = read(tmp_path).series[0]
    np.testing.assert_allclose(series.times_s, [0, 0.4])
    assert series.times_source == "AcquisitionTime"


def test_single_frames_with_one_common_time_use_the_frame_time(tmp_path):
    frames = build.raw_run(4, 32)
    for k in range(4):
        build.write_run(
            tmp_path / f"{k}.dcm", frames[k : k + 1], SeriesInstanceUID="1.2.3", InstanceNumber=k + 1,
            AcquisitionDate="20260102", AcquisitionTime="101500", FrameTime=100,
        )  # fmt: skip
    series = read(tmp_path).series[0]
    np.testing.assert_allclose(series.times_s, np.arange(4) * 0.1)
    np.testing.assert_array_equal(series.to_array(), frames)


@pytest.mark.parametrize("value", ["", "2026", "20261399999999", "20260102256199", "abc", "20260102101500.1234567"])
def test_a_time_that_is_none_is_not_invented(value):
    assert parse_date_time(value) is None


@pytest.mark.parametrize("value", ["1e400", "nan", "abc", "", "-33"])
def test_a_frame_time_that_is_no_number_is_not_used(tmp_path, value):
    ds = build.build(build.raw_run(3, 16))
    raw = build.to_bytes(ds)
    tag = (
        b"\x18\x00\x63\x10DS"
        + (len(value) + len(value) % 2).to_bytes(2, "little")
        + value.encode().ljust(len(value) + len(value) % 2)
    )
    position = raw.index(b"\x20\x00\x0d\x00UI")
    (tmp_path / "run.dcm").write_bytes(raw[:position] + tag + raw[position:])
    series = read(tmp_path / "run.dcm").series[0]
    assert series.times_source == "assumed"


@pytest.mark.parametrize(
    "header",
    [{"FrameTime": "1e-30"}, {"FrameTime": "0.0005"}, {"CineRate": "2147483647"}, {"FrameTime": "1e30"}],
)
def test_an_interval_that_no_detector_has_is_not_used(tmp_path, header):
    series = one(tmp_path, **header)
    assert series.times_source == "assumed"
    np.testing.assert_array_equal(series.times_s, np.arange(8))
    assert any("s per frame and is not used" in warning for warning in series.warnings)
