"""``claire-dsa dicom`` and ``export`` as a user calls them."""

from __future__ import annotations

import json

import pytest
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from ClaireDSALib.cli.main import app
from ClaireDSALib.export.dicom_objects import write_dicom_objects
from ClaireDSALib.export.dicom_reader import read_sr
from ClaireDSALib.export.files import write_case
from ClaireDSALib.web.logic.review_book import ReviewBook


@pytest.fixture(scope="module")
def a_review(a_result, a_read_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    write_case(folder, a_read_study.series, a_result)
    return folder


@pytest.fixture
def claire():
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_finished_review_gives_the_same_objects_without_analysing(
    claire, a_study, a_review, a_result, a_read_study, tmp_path
):
    done = claire("dicom", a_study, "--out", tmp_path / "out", "--review", a_review, "--json")
    assert done.exit_code == 0, done.output
    expected = write_dicom_objects(a_result, a_read_study.series, tmp_path / "direct")
    written = sorted(p for p in (tmp_path / "out").rglob("*.dcm"))
    assert [p.name for p in written] == sorted(p.name for p in expected)
    for one, other in zip(written, sorted(expected), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert len(json.loads(done.stdout)["written"]) == len(expected)


def test_corrections_of_the_viewer_become_a_person_s_report(claire, a_study, a_review, a_result, tmp_path):
    book = ReviewBook(tmp_path / "book.json", reviewer="Jane Doe")
    book.set(a_result.report.runs[0].run_id, "side", "correct", "left")
    done = claire("dicom", a_study, "--out", tmp_path / "o", "--review", a_review, "--corrections", book.path)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "o").rglob("9002_sr_1.dcm")
    assert read_sr(path).runs[0].overrides[0].value == "left"


def test_export_writes_what_was_asked_for(claire, a_study, a_review, tmp_path):
    done = claire("export", a_study, "-o", tmp_path / "x", "--review", a_review, "--as", "json,tsv,page,annotations")
    assert done.exit_code == 0, done.output
    names = {path.relative_to(tmp_path / "x").as_posix() for path in (tmp_path / "x").rglob("*") if path.is_file()}
    assert names == {
        "report.json", "tables/runs.tsv", "tables/labels.tsv", "tables/reviews.tsv", "tables/pairs.tsv",
        "case_report.html", "annotations/annotations.tsv",
    }  # fmt: skip


def test_wrong_wishes_end_with_a_sentence(claire, a_study, a_review, tmp_path):
    done = claire("export", a_study, "-o", tmp_path / "x", "--as", "xlsx")
    assert (done.exit_code, "unknown kinds of files ['xlsx']" in done.stderr) == (2, True)
    done = claire("dicom", a_study, "-o", tmp_path / "x", "--review", tmp_path)
    assert (done.exit_code, "is no review" in done.stderr) == (2, True)
    (tmp_path / "bad.json").write_text('{"format": "other"}')
    done = claire("dicom", a_study, "-o", tmp_path / "x", "--review", a_review, "--corrections", tmp_path / "bad.json")
    assert (done.exit_code, "holds no corrections" in done.stderr) == (2, True)
    assert not (tmp_path / "x").exists()


def test_a_review_of_other_runs_or_a_damaged_one_is_refused(claire, a_study, a_review, edited, tmp_path):
    def renamed(dataset):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()

    done = claire("dicom", edited(renamed), "-o", tmp_path / "x", "--review", a_review)
    assert (done.exit_code, "of other runs" in done.stderr) == (2, True)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "report.json").write_text((a_review / "report.json").read_text())
    for npz in a_review.rglob("arrays.npz"):
        (copy / npz.parent.name).mkdir()
        (copy / npz.parent.name / "arrays.npz").write_bytes(npz.read_bytes()[:300])
    done = claire("dicom", a_study, "-o", tmp_path / "x", "--review", copy)
    assert (done.exit_code, "is damaged" in done.stderr) == (2, True)
