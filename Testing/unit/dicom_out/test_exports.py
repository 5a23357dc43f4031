"""Tables, NRRD, annotations and the printable page say what the report says."""

from __future__ import annotations

import dataclasses
import re
import shutil

import numpy as np
import pytest
import SimpleITK

from ClaireDSALib.export.nrrd import write_case_nrrd, write_nrrd, write_segments
from ClaireDSALib.export.review_annotations import COLUMNS, write_annotations
from ClaireDSALib.export.sheet import render_sheet, write_pdf, write_sheet
from ClaireDSALib.export.tables import Table, as_text, case_tables, write_tables
from ClaireDSALib.pipeline.report import CaseResult, Override
from ClaireDSALib.training import annotations


@pytest.fixture
def a_reviewed_result(a_result):
    said = (
        Override("side", "correct", "left", "=HYPERLINK(1)", "Jane <Doe>", "2026-11-20T09:30:00+00:00"),
        Override("motion_artefact", "accept", reviewer="Jane <Doe>"),
        Override("circulation", "unsure"),
        Override("", "accept", comment="a remark on the run"),
    )
    first = dataclasses.replace(a_result.report.runs[0], overrides=said)
    report = dataclasses.replace(a_result.report, runs=(first, *a_result.report.runs[1:]))
    return CaseResult(report, a_result.arrays)


@pytest.mark.parametrize("kind", ["tsv", "csv", "parquet"])
def test_tables_load_in_pandas(kind, a_reviewed_result, tmp_path):
    pandas = pytest.importorskip("pandas", reason='pandas is not installed: pip install "claire-dsa[cohort]"')
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason='pyarrow is not installed: pip install "claire-dsa[cohort]"')
    paths = {path.stem: path for path in write_tables(a_reviewed_result.report, tmp_path, (kind,))}
    assert set(paths) == {"runs", "labels", "reviews", "pairs"}
    load = {
        "tsv": lambda path: pandas.read_csv(path, sep="\t"),
        "csv": pandas.read_csv,
        "parquet": pandas.read_parquet,
    }[kind]
    report = a_reviewed_result.report
    runs, labels = load(paths["runs"]), load(paths["labels"])
    assert runs["run"].tolist() == [run.run_id for run in report.runs]
    assert runs["suitable_probability"].tolist() == pytest.approx([0.8123456789012345] * 2, rel=1e-12)
    assert runs["thrombus"].tolist() == [True, False]
    assert np.isnan(runs["thrombus_row_px"][1])
    chances = labels[(labels["run"] == report.runs[0].run_id) & (labels["label"] == "side")]
    assert chances["probability"].tolist() == [0.1 + 0.2, 0.65, 0.05]
    assert chances["predicted"].tolist() == [False, True, False]
    assert chances["corrected"].tolist() == ["left"] * 3
    assert labels[~labels["answered"]]["probability"].isna().all()
    assert len(load(paths["reviews"])) == 4


def test_no_text_becomes_a_formula(a_reviewed_result):
    text = as_text(case_tables(a_reviewed_result.report)["reviews"], "\t")
    assert "\t'=HYPERLINK(1)" in text
    assert "\t=HYPERLINK" not in text


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="1 cells for the 2 columns"):
        Table({"a": str, "b": int}, (("x",),))


def test_an_unknown_table_format_is_named(a_result, tmp_path):
    with pytest.raises(ValueError, match="xlsx"):
        write_tables(a_result.report, tmp_path, ("xlsx",))


def test_annotations_are_what_training_reads(a_reviewed_result, tmp_path):
    assert tuple(COLUMNS) == annotations.COLUMNS
    path = write_annotations(a_reviewed_result, tmp_path)
    found = annotations.read_annotations(path)
    assert [(a.label, a.cls, a.rater) for a in found] == [
        ("side", "left", "Jane <Doe>"),
        ("motion_artefact", "severe", "Jane <Doe>"),
    ]
    assert found[0].path.endswith("_minip.tif")
    assert found[1].path.endswith("_subtracted_minip.tif")
    assert found[0].patient == a_reviewed_result.report.runs[0].identity["patient_key"]
    for one in found:
        assert annotations.read_picture(tmp_path / one.path).shape == (64, 64)


def test_nrrd_keeps_values_spacing_and_place(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    image = SimpleITK.ReadImage(write_nrrd(tmp_path / "a.nrrd", values, (0.5, 0.25)))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image)[0], values)
    assert image.GetSpacing() == (0.25, 0.5, 1.0)
    assert image.GetOrigin() == pytest.approx((-0.375, -0.5, 0.0))
    assert image.GetMetaData("ClaireDSA_spacing") == "known"
    unknown = SimpleITK.ReadImage(write_nrrd(tmp_path / "b.nrrd", values))
    assert unknown.GetMetaData("ClaireDSA_spacing") == "unknown"


def test_segments_lie_on_the_projection(a_result, tmp_path):
    written = write_case_nrrd(a_result, tmp_path)
    paths = {path.name: path for path in written if path.parent.name == _first(a_result)}
    image = SimpleITK.ReadImage(paths["subtracted_minip.nrrd"])
    segments = SimpleITK.ReadImage(paths["vessels.seg.nrrd"])
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, what)() == getattr(segments, what)()
    layers = SimpleITK.GetArrayFromImage(segments)[0]
    names = {segments.GetMetaData(f"Segment{n}_ID"): int(segments.GetMetaData(f"Segment{n}_Layer")) for n in range(4)}
    arrays = a_result.arrays[_first(a_result)]
    for name, layer in names.items():
        assert np.array_equal(layers[..., layer] > 0, arrays[name]), name


def test_segments_of_different_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one shape"):
        write_segments(tmp_path / "x.seg.nrrd", {"vessels": np.ones((2, 2), bool), "veins": np.ones((2, 3), bool)})


def test_the_page_shows_verdicts_corrections_and_use_and_needs_nothing_else(a_reviewed_result):
    html = render_sheet(a_reviewed_result)
    assert html.count("Not suitable for thrombus, 81%") == 2
    assert "corrected: left" in html
    assert "not answered" in html
    assert html.count("not a medical device") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "{{" not in html
    assert "SIMULATED^CASE" not in html
    assert "Jane" not in html


def test_only_some_runs_of_a_long_case_are_drawn_and_the_rest_counted(a_result):
    runs = tuple(dataclasses.replace(a_result.report.runs[0], run_id=f"r{n}") for n in range(11))
    report = dataclasses.replace(a_result.report, runs=runs, pairs=())
    html = render_sheet(CaseResult(report, {}))
    assert html.count("<article") == 6
    assert "5 further runs" in html


def test_the_pdf_has_one_page(a_reviewed_result, tmp_path):
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        pytest.skip("no Chromium on this machine to print with")
    pdf = write_pdf(write_sheet(a_reviewed_result, tmp_path / "page.html"), tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1


def test_without_a_browser_the_reason_is_said(a_result, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CLAIRE_DSA_BROWSER", raising=False)
    with pytest.raises(OSError, match="Chromium, Chrome or Edge"):
        write_pdf(tmp_path / "page.html", tmp_path / "page.pdf")


def _first(result):
    return result.report.runs[0].run_id
