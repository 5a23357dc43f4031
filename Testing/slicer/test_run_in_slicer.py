"""The batch script under plain python with slicer-core, through its exit codes and files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytest.importorskip("slicer", reason="the batch script needs slicer-core")
SCRIPT = Path(__file__).parent / "run_in_slicer.py"


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_run_becomes_a_report_and_a_scene(tmp_path: Path) -> None:
    dicom = pytest.importorskip("Testing.unit.dsa_read.dicom_builder", reason="the builder of DICOM files is missing")
    mask = [dicom.item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], SubtractionItemID=1)]
    (tmp_path / "in").mkdir()
    dicom.write_run(tmp_path / "in" / "run.dcm", MaskSubtractionSequence=mask)
    (tmp_path / "in" / "note.txt").write_text("no DICOM")
    done = _run("analyse", tmp_path / "in", tmp_path / "out", "--no-pictures")
    assert done.returncode == 0, done.stderr
    assert "1 runs analysed, 0 failed" in done.stdout
    from ClaireDSALib.pipeline.report import CaseReport

    report = CaseReport.from_json((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert len(report.runs) == 1
    with ZipFile(tmp_path / "out" / "case.mrb") as scene:
        assert any(name.endswith(".seq.nrrd") for name in scene.namelist())


def test_an_empty_folder_gives_one(tmp_path: Path) -> None:
    assert _run("analyse", tmp_path, tmp_path / "out").returncode == 1
    assert _run("analyse", tmp_path / "nowhere", tmp_path / "out").returncode == 1


def test_bad_usage_gives_two(tmp_path: Path) -> None:
    assert _run("dance").returncode == 2
    assert _run().returncode == 2


def test_the_self_test_says_that_it_needs_slicer() -> None:
    done = _run("selftest")
    assert done.returncode == 2
    assert "needs 3D Slicer" in done.stderr
