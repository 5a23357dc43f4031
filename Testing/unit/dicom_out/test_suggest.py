"""The least sure runs come first, spread over patients; what a person settled is not asked again."""

from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from ClaireDSALib.cli.main import app
from ClaireDSALib.pipeline.report import CaseReport, LabelResult, Override
from ClaireDSALib.training.suggest import suggest


@pytest.fixture
def a_report(a_result):
    def report(*runs):
        made = []
        for run_id, patient, chance, overrides in runs:
            labels = (
                LabelResult("side", ("left", "right"), (chance, 1 - chance), "left"),
                LabelResult("device", ("absent", "present"), (0.5, 0.5), "absent", answered=False),
            )
            made.append(
                dataclasses.replace(
                    a_result.report.runs[0], run_id=run_id, identity={"patient_key": patient}, labels=labels,
                    overrides=overrides,
                )
            )  # fmt: skip
        return CaseReport(tuple(made))

    return report


def test_the_least_sure_run_comes_first_with_its_gain(a_report):
    found = suggest([("r", a_report(("sure", "p1", 0.99, ()), ("unsure", "p2", 0.5, ()), ("half", "p3", 0.8, ())))])
    assert [one.run_id for one in found] == ["unsure", "half", "sure"]
    assert found[0].gain_bits == pytest.approx(1.0)
    assert found[1].gain_bits == pytest.approx(0.721928, abs=1e-6)
    assert [name for name, _ in found[0].labels] == ["side"]


def test_runs_of_one_patient_are_spread(a_report):
    runs = (("a1", "a", 0.5, ()), ("a2", "a", 0.5, ()), ("b1", "b", 0.8, ()))
    assert [one.run_id for one in suggest([("r", a_report(*runs))])] == ["a1", "b1", "a2"]


def test_what_a_person_settled_is_not_asked_again(a_report):
    settled, unsure = (Override("side", "accept"),), (Override("side", "unsure"),)
    found = suggest([("r", a_report(("done", "p1", 0.5, settled), ("open", "p2", 0.9, unsure)))])
    assert [one.run_id for one in found] == ["open"]
    assert suggest([("r", a_report(("x", "p", 0.5, ())))], labels=("projection",)) == []


def test_the_verb_reads_reviews_and_writes_a_table(a_report, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "report.json").write_text(a_report(("x", "p", 0.5, ()), ("y", "q", 0.9, ())).to_json())
    done = CliRunner().invoke(app, ["suggest", str(tmp_path), "--json", "-o", str(tmp_path / "next.tsv")])
    assert done.exit_code == 0, done.output
    assert [one["run_id"] for one in json.loads(done.stdout)] == ["x", "y"]
    assert (tmp_path / "next.tsv").read_text().splitlines()[1].split("\t")[1:4] == ["x", "p", "1.0"]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "report.json").write_text("[1]")
    done = CliRunner().invoke(app, ["suggest", str(tmp_path), "--most", "1"])
    assert (done.exit_code, "no report" in done.stderr) == (3, True)
