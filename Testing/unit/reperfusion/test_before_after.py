"""Runs before and after treatment are found, compared and reported; what cannot be compared says why."""

import numpy as np
import pytest

from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import CaseReport
from ClaireDSALib.pipeline.settings import Settings

_PLAIN = {"label_bundle": "none", "vessel_bundle": "none", "thrombus_bundle": "none", "quality_bundle": "none"}
_BEFORE, _AFTER = "20260101100000.000000", "20260101104000.000000"


@pytest.fixture
def a_treatment(head, a_run):
    return [a_run("before", head(right=0.0), _BEFORE), a_run("after", head(), _AFTER)]


def test_a_treatment_is_found_and_its_share_of_flow_measured(a_treatment):
    result = analyze(a_treatment[::-1], Settings(**_PLAIN))  # whatever the order
    (found,) = result.report.reperfusion
    (view,) = found.views
    assert (view.before, view.after) == ("before", "after")
    assert "40 minutes later" in view.reason
    assert view.flow_ratio == pytest.approx(0.5, abs=0.12)
    assert 0 <= found.low <= found.fraction <= found.high <= 1
    assert found.etici_estimate
    assert "estimate" in found.text
    assert set(view.arrays) <= set(result.arrays["before"])


def test_the_report_with_a_comparison_survives_its_json(a_treatment):
    report = analyze(a_treatment, Settings(**_PLAIN)).report
    assert CaseReport.from_json(report.to_json()) == report


def test_maps_and_curves_are_in_the_report(a_treatment):
    result = analyze(a_treatment, Settings(**_PLAIN))
    run = result.report.run("after")
    assert run.perfusion.input_source == "automatic"
    assert run.perfusion.input_px[1] == pytest.approx(47.5, abs=2)
    assert run.perfusion.curves["input"][0] == pytest.approx(0, abs=0.02)
    assert len(run.perfusion.curves["prompt"]) == 16
    assert {"cbf", "cbv", "mtt", "tmax", "input_region"} <= set(result.arrays["after"])
    assert set(run.arrays) <= set(result.arrays["after"])


def test_a_drawn_input_region_is_taken(a_treatment):
    run = analyze(a_treatment, Settings(**_PLAIN, input_regions={"after": (50, 46, 20, 4)})).report.run("after")
    assert run.perfusion.input_source == "drawn"
    assert run.perfusion.input_px == (59.5, 47.5)


def test_a_region_without_contrast_leaves_a_note(a_treatment):
    run = analyze(a_treatment, Settings(**_PLAIN, input_regions={"after": (0, 0, 6, 6)})).report.run("after")
    assert run.perfusion is None
    assert any("shows no contrast" in note for note in run.notes)


@pytest.mark.parametrize(
    ("change", "value"),
    [("at", "20260101100030.000000"), ("study", "9.9"), ("primary_deg", 40.0), ("at", "")],
    ids=["half a minute apart", "another study", "another angle", "no time"],
)
def test_runs_that_are_no_treatment_are_left_alone(head, a_run, change, value):
    options = {"at": _AFTER, change: value}
    runs = [a_run("before", head(right=0.0), _BEFORE), a_run("after", head(), **options)]
    assert analyze(runs, Settings(**_PLAIN)).report.reperfusion == ()


def test_named_runs_are_compared_whenever_they_were_taken(head, a_run):
    runs = [a_run("a", head(right=0.0), ""), a_run("b", head(), "")]
    (found,) = analyze(runs, Settings(**_PLAIN, before_after=(("a", "b"),))).report.reperfusion
    assert found.views[0].reason == "named by the user"
    assert found.fraction is not None


@pytest.mark.parametrize(
    ("named", "match"),
    [(("before", "missing"), "there is no run 'missing'"), (("before", "short"), "has no perfusion maps")],
)
def test_named_runs_that_cannot_be_compared_say_why(head, a_run, named, match):
    runs = [
        a_run("before", head(right=0.0), _BEFORE),
        a_run("short", head()[:3], _AFTER, times_s=np.arange(3.0)),
    ]
    (found,) = analyze(runs, Settings(**_PLAIN, before_after=(named,))).report.reperfusion
    assert match in found.views[0].error
    assert found.fraction is None


def test_settings_with_regions_and_pairs_survive_their_dictionary():
    chosen = Settings(input_regions={"r": (1.0, 2.0, 3.0, 4.0)}, before_after=(("a", "b"),))
    assert Settings.from_dict(chosen.to_dict()) == chosen


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"before_after": (("a", "a"),)}, "two different runs"), ({"input_regions": {"r": (1, 2, 3)}}, "input region")],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        Settings(**wrong)


def test_nothing_is_computed_when_perfusion_is_switched_off(a_treatment):
    report = analyze(a_treatment, Settings(**_PLAIN, perfusion=False)).report
    assert report.reperfusion == ()
    assert report.runs[0].perfusion is None


def test_the_page_shows_the_estimate_with_its_interval(a_treatment, tmp_path):
    from ClaireDSALib.export.files import write_case

    report = write_case(tmp_path, a_treatment, analyze(a_treatment, Settings(**_PLAIN)))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "eTICI estimate" in page
    assert "95 % interval" in page
    assert 'class="curve input"' in page
    for name in ("tmax.png", "cbf.png", "cbv.png", "mtt.png", "reperfusion.png"):
        assert (tmp_path / report.run("before").files[name]).is_file()
