"""Filtering on simulated runs and by a reader's verdicts: criterion, reasons, page and command."""

import json
import types

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("matplotlib", reason="the pictures of the page need matplotlib")

from ClaireDSALib.models.errors import ImageRefusedError
from ClaireDSALib.pipeline.report import Acquisition, CaseReport, Reason, RunReport, Suitability
from ClaireDSALib.training.filtering import SUCCESS_CLDICE, Filter, RunOutcome, judge_simulated, succeeded
from ClaireDSALib.training.filtering_page import (
    CRITERION_SIMULATED,
    FilteringReport,
    markdown,
    write_report,
)
from ClaireDSALib.training.filtering_reader import read_verdicts
from ClaireDSALib.training.filtering_reasons import combinations, reason_table
from ClaireDSALib.training.filtering_set import FilteringSetPlan, make_filtering_set
from ClaireDSALib.training.filtering_statistics import measure_filtering

_CLASSES = {
    "contrast_fluid": ("absent", "present"),
    "subtraction": ("subtracted", "unsubtracted"),
    "motion_artefact": ("none", "mild", "severe"),
    "region": ("intracranial", "extracranial"),
    "projection": ("ap", "lateral", "oblique"),
    "skull_visibility": ("entire", "partial"),
}


class _Models:
    """A label model that has read the truth of contrast in the picture's file name and is sure of all the rest."""

    def __init__(self, present):
        self._present = iter(present)

    def classify(self, minip, bundle, settings, **_given):
        present = next(self._present)
        first = {name: classes[0] for name, classes in _CLASSES.items()} | {
            "contrast_fluid": "present" if present else "absent"
        }
        labels = [
            types.SimpleNamespace(
                name=name,
                classes=classes,
                probabilities=tuple(float(c == first[name]) for c in classes),
                predicted=first[name],
                answered=True,
            )
            for name, classes in _CLASSES.items()
        ]
        return types.SimpleNamespace(labels=labels, out_of_distribution=None)

    def records(self):
        return ()


@pytest.fixture(scope="module")
def a_mixed_set(tmp_path_factory):
    return make_filtering_set(FilteringSetPlan(tmp_path_factory.mktemp("mixed"), patients=1, runs=2, size_px=96))


def _lines(folder):
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


def test_a_mixed_set_holds_what_an_analysis_has_and_the_truth_beside_it(a_mixed_set):
    lines = _lines(a_mixed_set)
    assert len(lines) == 2
    for line in lines:
        with np.load(a_mixed_set / line["npz"]) as arrays:
            assert arrays["minip"].shape == arrays["vessels"].shape == arrays["region"].shape == (96, 96)
            assert ("peak" in arrays) == (line["delivery"] == "subtracted" or line["maskable"])


def test_a_set_is_not_simulated_twice(a_mixed_set):
    before = (a_mixed_set / "index.jsonl").read_bytes()
    make_filtering_set(FilteringSetPlan(a_mixed_set, patients=1, runs=2, size_px=96))
    assert (a_mixed_set / "index.jsonl").read_bytes() == before


def test_the_verdict_comes_from_the_predicted_labels_not_from_the_truth(a_mixed_set):
    kept, _ = judge_simulated(a_mixed_set, Filter("fake"), models=_Models([True, True]))
    excluded, used = judge_simulated(a_mixed_set, Filter("fake"), models=_Models([False, False]))
    assert [o.kept for o in kept] == [True, True]
    assert [o.reasons for o in excluded] == [("contrast_fluid",)] * 2
    assert [o.dice for o in kept] == [o.dice for o in excluded]
    assert used["vessels"] == "classical"


def test_the_scores_that_are_kept_give_the_same_answer_at_the_criterion(a_mixed_set, monkeypatch):
    monkeypatch.setattr("ClaireDSALib.training.filtering.centerline_dice", lambda _found, _truth: SUCCESS_CLDICE - 1e-6)
    monkeypatch.setattr("ClaireDSALib.training.filtering.dice", lambda _found, _truth: 0.9)
    found, _ = judge_simulated(a_mixed_set, Filter("fake"), models=_Models([True, True]))
    scored = [one for one in found if one.dice is not None]
    assert scored
    for one in scored:
        assert not one.success
        assert one.cldice < SUCCESS_CLDICE


def test_a_poor_grade_excludes_a_run_that_can_be_subtracted(a_mixed_set):
    seen = []

    class Graded(_Models):
        def read_quality(self, opacity, bundle, settings, region=None, **told):
            seen.append((opacity.shape, bundle, sorted(told)))
            return types.SimpleNamespace(grade="poor", probabilities=(0.0, 0.1, 0.9))

    found, _ = judge_simulated(
        a_mixed_set, Filter("fake", quality_bundle="grader"), models=Graded([True] * len(_lines(a_mixed_set)))
    )
    subtractable = [line["delivery"] == "subtracted" or line["maskable"] for line in _lines(a_mixed_set)]
    assert any(subtractable)
    assert [o.reasons for o in found] == [("quality_grade",) if yes else () for yes in subtractable]
    assert seen == [((96, 96), "grader", ["course", "evidence", "subtracted"])] * sum(subtractable)


def test_a_run_in_which_the_labels_see_motion_is_segmented_after_its_correction():
    from ClaireDSALib.training.filtering import _mask

    seen = []

    def find(peak, region, times):
        seen.append((float(peak.mean()), None if times is None else float(times.mean())))
        return peak > 0

    level = {"peak": 1.0, "times": 2.0, "corrected_peak": 3.0, "corrected_times": 4.0}
    arrays = {name: np.full((2, 8, 8) if "times" in name else (8, 8), value) for name, value in level.items()}
    arrays["region"] = np.ones((8, 8), bool)
    still = {name: array for name, array in arrays.items() if not name.startswith("corrected")}
    for pictures, moved in ((arrays, True), (arrays, False), (still, True)):
        _mask(pictures, find, moved=moved)
    assert seen == [(3.0, 4.0), (1.0, 2.0), (1.0, 2.0)]


def test_success_needs_area_and_centre_lines_and_something_to_find():
    truth = np.zeros((64, 64), bool)
    truth[:, 20:30] = True
    assert succeeded(truth, truth) == (True, 1.0, 1.0)
    half = truth.copy()
    half[32:] = False
    assert not succeeded(half, truth)[0]
    assert succeeded(np.zeros_like(truth), np.zeros_like(truth)) == (False, None, None)


def _outcome(number, success, *reasons):
    return RunOutcome(f"r{number}", f"p{number % 3}", success, not reasons, 0.1 if reasons else 0.9, reasons)


@pytest.fixture
def some_outcomes():
    return [
        *(_outcome(k, True) for k in range(6)),
        _outcome(6, False),
        _outcome(7, False, "motion_artefact"),
        _outcome(8, True, "motion_artefact"),
        _outcome(9, False, "motion_artefact", "contrast_fluid"),
    ]


def test_reasons_count_what_they_exclude_and_what_they_cost(some_outcomes):
    motion, contrast = reason_table(some_outcomes)
    assert (motion.reason, motion.n, motion.alone, motion.good, motion.good_alone) == ("motion_artefact", 3, 2, 1, 1)
    assert (contrast.reason, contrast.n, contrast.alone, contrast.good) == ("contrast_fluid", 1, 0, 0)
    assert [(c.reasons, c.n, c.n_success) for c in combinations(some_outcomes)] == [
        ((), 7, 6),
        (("motion_artefact",), 2, 1),
        (("contrast_fluid", "motion_artefact"), 1, 0),
    ]


def test_the_page_shows_the_papers_figures_beside_ours_and_stands_alone(some_outcomes, tmp_path):
    figures = measure_filtering(some_outcomes, n_boot=50, n_permutations=50)
    report = FilteringReport(figures, some_outcomes, CRITERION_SIMULATED, "10 simulated runs", {"labels": "x 1"})
    write_report(report, tmp_path)
    page, text = (tmp_path / "filtering.html").read_text(), (tmp_path / "filtering.md").read_text()
    for part in (page, text):
        assert "from 70% to 86%" in part
        assert "42 %" in part
        assert "69 %" in part
        assert "simulated" in part
        assert "loses 1 that would have succeeded" in part
    assert "http" not in page.replace("https://", "http://").split("<body")[0]
    assert page.count("data:image/png;base64,") == 3
    data = json.loads((tmp_path / "filtering.json").read_text())
    assert data["figures"]["good_lost"] == 1
    assert len(data["runs"]) == 10
    for name in ("success", "risk_coverage", "reasons"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def _report(tmp_path):
    seen = Acquisition(1, 8, 8, (0.0,), "x", "ap", None, None, None, "", 8, "LIN", "", False, "subtracted", "")
    reason = (Reason("motion_artefact", "exclude", "moved", 0.8),)
    runs = (
        RunReport("a", {}, seen, suitability=Suitability("vessel_segmentation", True, 0.9)),
        RunReport("b", {}, seen, suitability=Suitability("vessel_segmentation", False, 0.8, reason)),
        RunReport("c", {}, seen),
    )
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "report.json").write_text(CaseReport(runs).to_json())
    return tmp_path / "verdicts.csv"


def test_a_readers_verdicts_meet_the_reports_suitability(tmp_path):
    table = _report(tmp_path)
    table.write_text("report,run_id,success\none/report.json,a,yes\none/report.json,b,No\n")
    good, bad = read_verdicts(table)
    assert (good.success, good.kept, good.score, good.reasons) == (True, True, 0.9, ())
    assert (bad.success, bad.kept, bad.score, bad.reasons) == (False, False, pytest.approx(0.2), ("motion_artefact",))
    assert good.patient == bad.patient


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("report,run_id\none/report.json,a\n", r"lacks the columns \['success'\]"),
        ("report,run_id,success\none/report.json,a,maybe\n", "line 2: success must be yes or no; got 'maybe'"),
        ("report,run_id,success\none/report.json,z,yes\n", "line 2: report has no run 'z'"),
        ("report,run_id,success\none/report.json,c,yes\n", "line 2: the report of run 'c' holds no suitability"),
        ("report,run_id,success\none/report.json,a,yes\none/report.json,a,no\n", "line 3: run 'a' .* already"),
    ],
)
def test_a_table_that_cannot_be_used_says_where_and_why(tmp_path, text, message):
    table = _report(tmp_path)
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_verdicts(table)


def test_the_command_measures_a_readers_table(tmp_path):
    from ClaireDSALib.cli.evaluate import app

    table = _report(tmp_path)
    table.write_text("report,run_id,success\none/report.json,a,yes\none/report.json,b,no\n")
    result = CliRunner().invoke(app, ["filtering", "--verdicts", str(table), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "from 50% to 100%" in result.output
    assert (tmp_path / "out" / "filtering.html").is_file()


def test_the_command_wants_one_kind_of_data(tmp_path):
    from ClaireDSALib.cli.evaluate import app

    result = CliRunner().invoke(app, ["filtering", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "either --data" in result.output


def test_the_markdown_never_hides_the_cost(some_outcomes):
    figures = measure_filtering(some_outcomes, n_boot=50, n_permutations=50)
    text = markdown(FilteringReport(figures, some_outcomes, "x", "y"))
    assert "| good runs lost | 1 | 14.3%" in text


def test_a_picture_that_is_none_is_excluded_and_the_next_run_is_judged(a_mixed_set):
    class Refusing(_Models):
        def classify(self, minip, bundle, settings, **given):
            found = super().classify(minip, bundle, settings, **given)
            if not next(self._usable):
                msg = "the picture is constant"
                raise ImageRefusedError(msg)
            return found

        _usable = iter([False, True])

    first, second = judge_simulated(a_mixed_set, Filter("fake"), models=Refusing([True, True]))[0]
    assert (first.kept, first.success, first.reasons, first.dice) == (False, False, ("refused",), None)
    assert second.kept
