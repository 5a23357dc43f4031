"""The verbs, run as a user runs them: what they write, what they say, how they exit."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ClaireDSALib.cli.main import app
from ClaireDSALib.pipeline.report import CaseReport

_NO_MODELS = '{"label_bundle": "none", "thrombus_bundle": "none", "vessel_bundle": "none"}'


@pytest.fixture
def claire():
    """Call ``claire-dsa`` in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def settings_file(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(_NO_MODELS)
    return path


@pytest.fixture
def a_review(claire, a_study_folder, settings_file, tmp_path):
    out = tmp_path / "review"
    result = claire("review", a_study_folder, "--out", out, "--settings", settings_file)
    assert result.exit_code == 3, result.output
    return out


def test_info_lists_every_run_and_why_a_file_was_not_used(claire, a_study_folder):
    result = claire("info", a_study_folder, "--json")
    assert result.exit_code == 3
    data = json.loads(result.stdout)
    assert [run["n_frames"] for run in data["runs"]] == [10, 10]
    assert data["runs"][0]["times_s"][:3] == [0.0, 0.5, 1.0]
    assert data["skipped"][0]["source"] == "readme.txt"


def test_info_for_people_names_the_view(claire, a_study_folder):
    assert " ap " in claire("info", a_study_folder).output


def test_a_folder_without_angiograms_ends_with_code_1(claire, tmp_path):
    (tmp_path / "a.txt").write_text("nothing")
    result = claire("info", tmp_path)
    assert result.exit_code == 1
    assert "not a DICOM file" in result.output


@pytest.mark.parametrize("arguments", [("info", "no-such-path"), ("minip",), ("frobnicate",)])
def test_bad_usage_ends_with_code_2(claire, arguments):
    assert claire(*arguments).exit_code == 2


def test_minip_writes_the_minimum_as_it_is(claire, a_study_folder, tmp_path):
    import pydicom
    import tifffile

    result = claire("minip", a_study_folder / "run1.dcm", "--out", tmp_path / "m", "--json")
    assert result.exit_code == 0, result.output
    (run,) = json.loads(result.stdout)["written"]
    tiff = next(f for f in run["files"] if f.endswith("_minip.tif"))
    expected = pydicom.dcmread(a_study_folder / "run1.dcm").pixel_array.min(0)
    np.testing.assert_array_equal(tifffile.imread(tiff), expected)


def test_review_writes_a_valid_report_and_every_file_it_names(a_review):
    report = CaseReport.from_json((a_review / "report.json").read_text())
    assert len(report.runs) == 2
    for run in report.runs:
        assert run.error == ""
        assert {"minip.png", "minip.tif", "subtracted_minip.png", "cine.webp", "time_to_peak.png"} <= set(run.files)
        for name, path in run.files.items():
            assert (a_review / path).stat().st_size > 0, name


def test_the_cine_runs_on_true_times(a_review):
    report = CaseReport.from_json((a_review / "report.json").read_text())
    with Image.open(a_review / report.runs[0].files["cine.webp"]) as cine:
        assert cine.n_frames == 10
        cine.seek(3)
        cine.load()
        assert cine.info["duration"] == 500


def test_the_page_asks_nobody_for_anything(a_review):
    page = (a_review / "index.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("Research software, not a medical device") == 1


def test_no_identifier_of_the_patient_leaves_the_dicom_files(a_review):
    for path in a_review.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"Doe" not in content, path.name
            assert b"SECRET-7" not in content, path.name


def test_no_unfinished_file_is_left(a_review):
    assert not list(a_review.rglob("*.part*"))


def test_bad_settings_are_named(claire, a_study_folder, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"colour": "red"}')
    result = claire("review", a_study_folder, "--out", tmp_path / "o", "--settings", bad)
    assert result.exit_code == 2
    assert "unknown settings ['colour']" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process group")
def test_an_interrupted_review_leaves_only_whole_files(write_xa, settings_file, tmp_path):
    from Testing.conftest import injected_frames

    for number in range(14):  # writing them takes long enough to be interrupted on a busy machine
        write_xa(tmp_path / "many" / f"{number}.dcm", injected_frames(10, 256, number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ClaireDSALib.cli.main", "review", str(tmp_path / "many"), "--out", str(out)]
    command += ["--settings", str(settings_file)]
    # A shell's background job would hand down an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        deadline = time.monotonic() + 60
        while next(out.rglob("*.png"), None) is None and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert not list(out.rglob("*.part*"))
    for path in out.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
