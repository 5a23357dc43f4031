"""The report survives its own JSON and refuses what is not a number."""

import json

import pytest

from ClaireDSALib.pipeline.report import (
    Acquisition,
    CaseReport,
    LabelResult,
    Override,
    PairReport,
    Reason,
    RunReport,
    Suitability,
    Thrombus,
    Vessels,
)


@pytest.fixture
def a_full_report() -> CaseReport:
    acquisition = Acquisition(
        n_frames=2,
        rows=4,
        columns=5,
        times_s=(0.0, 0.333),
        times_source="FrameTimeVector",
        view="ap",
        primary_angle_deg=1.5,
        secondary_angle_deg=None,
        pixel_spacing_mm=(0.2, 0.3),
        spacing_source="ImagerPixelSpacing",
        bits_stored=12,
        intensity_relation="LIN",
        polarity_source="default",
        inverted=False,
        subtraction_state="unsubtracted",
        subtraction_source="pixels",
        mask_frames=(0,),
        mask_source="estimated",
    )
    run = RunReport(
        run_id="abc",
        identity={"series_uid": "1.2.3"},
        acquisition=acquisition,
        labels=(LabelResult("side", ("left", "right"), (0.25, 0.75), "right", {"right": "cam.side.right"}),),
        suitability=Suitability("vessel_segmentation", False, 0.9, (Reason("side", "warn", "because", 0.75),)),
        vessels=Vessels("classical", "vessels", length_mm=None),
        thrombus=Thrombus(0.8, 0.5, True, site_px=(10.0, 20.0)),
        overrides=(Override("side", "correct", "left"),),
    )
    return CaseReport(runs=(run,), pairs=(PairReport(("abc", "def"), "same start"),))


def test_a_report_read_back_equals_the_one_written(a_full_report):
    assert CaseReport.from_json(a_full_report.to_json()) == a_full_report


def test_the_same_report_gives_the_same_bytes(a_full_report):
    assert a_full_report.to_json() == CaseReport.from_json(a_full_report.to_json()).to_json()


def test_not_a_number_never_reaches_the_json():
    report = CaseReport(runs=(), pairs=(PairReport(("a", "b"), "", Thrombus(float("nan"), 0.5, True)),))
    with pytest.raises(ValueError, match="finite numbers only; got nan"):
        report.to_json()


def test_a_report_of_another_major_version_is_refused(a_full_report):
    data = json.loads(a_full_report.to_json()) | {"schema_version": "9.0"}
    with pytest.raises(ValueError, match=r"version '9\.0'; this program reads 1\.0"):
        CaseReport.from_dict(data)


def test_asking_for_an_absent_run_or_label_names_what_is_there(a_full_report):
    with pytest.raises(KeyError, match="no run 'x'; it has \\['abc'\\]"):
        a_full_report.run("x")
    with pytest.raises(KeyError, match="no label 'x'; it has \\['side'\\]"):
        a_full_report.run("abc").label("x")


def test_keys_of_a_newer_minor_version_are_ignored(a_full_report):
    data = json.loads(a_full_report.to_json())
    data["runs"][0]["something_new"] = 1
    assert CaseReport.from_dict(data) == a_full_report


def test_a_report_from_before_the_display_power_was_written_is_read(a_full_report):
    data = json.loads(a_full_report.to_json())
    del data["runs"][0]["acquisition"]["display_power"]
    assert CaseReport.from_dict(data) == a_full_report
