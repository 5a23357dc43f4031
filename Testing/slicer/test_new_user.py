"""A new user's first quarter of an hour: import the simulated demo case, analyse, look, correct, save, load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.desktop

ROOT = Path(__file__).resolve().parents[2]
LONGEST_PAUSE_S = 0.1
"""The main thread may not work longer than this in one go while the analysis runs."""
_MAKE_BUNDLE = """
from pathlib import Path
from ClaireDSALib.models.store import add
from Testing.unit.models.tiny_bundle import write_tiny_bundle
import sys
write_tiny_bundle(Path(sys.argv[1]) / "tiny_labels", onnx=False)
add(str(Path(sys.argv[1]) / "tiny_labels"), confirm=lambda bundle: True)
"""


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo case, smaller and shorter than the real one."""
    demo = pytest.importorskip("ClaireDSALib.simulator.demo", reason="the simulator is not there")
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo_case(folder, size=192, frames=10, truth=False)
    return folder


@pytest.fixture(scope="module")
def tiny_labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A label bundle of random weights in a model folder of its own; its answers mean nothing, its workings do."""
    pytest.importorskip("torch", reason="the tiny bundle is made with PyTorch")
    folder = tmp_path_factory.mktemp("models")
    before = os.environ.get("CLAIRE_DSA_HOME")
    os.environ["CLAIRE_DSA_HOME"] = str(folder / "home")
    made = subprocess.run(
        [sys.executable, "-c", _MAKE_BUNDLE, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-2000:]
    yield "tiny_labels"
    if before is None:
        del os.environ["CLAIRE_DSA_HOME"]
    else:
        os.environ["CLAIRE_DSA_HOME"] = before


@pytest.fixture
def imported(panel: Any, desktop: Any, demo_folder: Path, tiny_labels: str, pump: Callable[..., None]) -> Any:
    """The panel with the demo case imported through the DICOM module's way."""
    from Testing.slicer.desktop.dicom_database import import_folder

    database = desktop.dicomDatabase._native
    database.forget()
    series = import_folder(database, demo_folder)
    plugin = desktop.modules.dicomPlugins["ClaireDSADICOMPlugin"]()
    offered = plugin.examine([database.filesForSeries(s) for s in series])
    assert all(loadable.selected for loadable in offered)
    for loadable in offered:
        plugin.load(loadable)
    panel.session.parameters.labelBundle = tiny_labels
    panel.session.parameters.segmentUnsuitable = True
    pump(0.3)
    pump(20, until=lambda: not panel.views._subtraction.is_running)
    return panel


def _wait(panel: Any, desktop: Any, limit_s: float = 150) -> float:
    """Let the application run until the analysis has ended; returns the longest work of the main thread in seconds.

    Processor time of this thread, because other programs on the machine are not the panel's fault.
    """
    longest_s, end = 0.0, time.monotonic() + limit_s
    while panel.analysis.is_busy:
        began = time.thread_time()
        desktop.app.processEvents()
        longest_s = max(longest_s, time.thread_time() - began)
        assert time.monotonic() < end, "the analysis did not end"
        time.sleep(0.002)
    return longest_s


def test_the_first_case_from_import_to_saved_review(
    imported: Any, desktop: Any, pump: Any, tmp_path: Path, window: Any
) -> None:
    panel = imported
    assert panel.ui.runTable.rowCount == 6
    assert [panel.ui.runTable.item(r, 1).text() for r in range(2)] == ["AP", "lateral"]

    _analyse_all_but_one(panel, desktop)
    _look_at_labels_and_maps(panel, pump, desktop)
    _correct_a_label(panel)
    _save_clear_and_load(panel, desktop, pump, tmp_path / "case.mrb")

    picture = os.environ.get("CLAIRE_DSA_SCREENSHOT")
    if picture:
        window.grab().save(picture)


def _analyse_all_but_one(panel: Any, desktop: Any) -> None:
    victim = panel.runs.run_ids[-1]
    panel.ui.analyseButton.click()
    assert panel.ui.cancelButton.enabled
    panel.runs.select(victim)
    assert panel.ui.cancelRunButton.enabled
    panel.ui.cancelRunButton.click()
    longest_s = _wait(panel, desktop)
    assert longest_s < LONGEST_PAUSE_S, f"the panel stood still for {longest_s:.3f} s"
    assert panel.runs.table.row(victim).state == "cancelled"
    assert panel.case.run_report(victim) is None
    done = [panel.case.run_report(r) for r in panel.runs.run_ids[:-1]]
    assert all(r is not None and r.error == "" for r in done)
    assert all(len(r.labels) == 9 for r in done)
    assert all(r.suitability is not None for r in done)
    assert not panel.ui.cancelButton.enabled
    assert len(panel.case.report.pairs) == 2
    verdicts = [panel.ui.runTable.item(r, 3).text() for r in range(5)]
    assert set(verdicts) <= {"suitable", "unsuitable"}


def _look_at_labels_and_maps(panel: Any, pump: Any, desktop: Any) -> None:
    first = panel.runs.run_ids[0]
    panel.runs.select(first)
    pump(0.2)
    assert panel.ui.labelTable.rowCount == 9
    panel.ui.labelTable.selectRow(3)
    pump(0.2)
    _nodes, results = panel.case.nodes(first)
    label = panel.session.label
    assert results.overlay.GetAttribute("ClaireDSA.active") == f"cam:{label.name}:{label.predicted}"
    assert "logit" in panel.ui.legendLabel.text
    assert panel.ui.classTable.rowCount == len(label.classes)
    projection = desktop.app.layoutManager().sliceWidget("ClaireDSAProjection1")
    assert projection.mrmlSliceCompositeNode().GetForegroundVolumeID() == results.overlay.GetID()
    panel.ui.opacitySlider.value = 0.4
    assert projection.mrmlSliceCompositeNode().GetForegroundOpacity() == pytest.approx(0.4)
    assert results.segmentation.GetDisplayNode().GetVisibility()
    panel.ui.vesselsCheck.checked = False
    assert not results.segmentation.GetDisplayNode().GetVisibility()
    panel.ui.vesselsCheck.checked = True
    for other in panel.runs.run_ids[1:-1]:
        _nodes, hidden = panel.case.nodes(other)
        assert not hidden.segmentation.GetDisplayNode().GetVisibility()


def _correct_a_label(panel: Any) -> None:
    panel.ui.reviewerEdit.text = "NR"
    panel.ui.commentEdit.text = "patient swallowed"
    label = panel.session.label
    other = next(c for c in label.classes if c != label.predicted)
    panel.ui.correctCombo.setCurrentIndex(panel.ui.correctCombo.findData(other))
    panel.ui.correctButton.click()
    (override,) = panel.session.report.overrides
    assert (override.label, override.verdict, override.value) == (label.name, "correct", other)
    assert (override.comment, override.reviewer) == ("patient swallowed", "NR")
    assert panel.session.report.label(label.name).predicted == label.predicted
    assert "→" in panel.ui.labelTable.item(3, 3).text()
    panel.ui.unsureButton.click()
    panel.ui.unsureButton.click()
    assert panel.session.report.overrides == ()
    panel.ui.commentEdit.text = "patient swallowed"
    panel.ui.correctCombo.setCurrentIndex(panel.ui.correctCombo.findData(other))
    panel.ui.correctButton.click()


def _save_clear_and_load(panel: Any, desktop: Any, pump: Any, path: Path) -> None:
    report, runs, selected = panel.case.report, panel.runs.run_ids, panel.session.selected_run
    assert desktop.util.saveScene(str(path))
    desktop.mrmlScene.Clear(False)
    pump(0.3)
    assert panel.ui.runTable.rowCount == 0
    desktop.util.loadScene(str(path))
    pump(0.5)
    assert panel.case.report == report
    assert panel.runs.run_ids == runs
    assert panel.session.selected_run == selected
    assert panel.ui.labelTable.rowCount == 9
    assert "→" in panel.ui.labelTable.item(3, 3).text()
    _nodes, results = panel.case.nodes(selected)
    assert results.segmentation is not None
    assert len(results.cams) >= 9
    assert panel.session.parameters.reviewer == "NR"


def test_cancelling_a_running_analysis_takes_less_than_a_second(imported: Any, pump: Any) -> None:
    panel = imported
    panel.ui.analyseButton.click()
    pump(60, until=lambda: any(0 < job.fraction < 1 for job in panel.analysis.jobs.active))
    began = time.monotonic()
    panel.ui.cancelButton.click()
    pump(3, until=lambda: not panel.analysis.jobs.active)
    assert time.monotonic() - began < 1.5  # the worker's second, and the poll of a loaded machine
    pump(2, until=lambda: not panel.analysis.is_busy)
    assert panel.runs.table.row(panel.runs.run_ids[-1]).state == "cancelled"


def test_other_rules_change_the_verdict_without_a_new_analysis(imported: Any, desktop: Any, pump: Any) -> None:
    panel = imported
    panel.analysis.analyse(panel.runs.run_ids[:1])
    _wait(panel, desktop)
    before = panel.session.report
    panel.ui.thresholdSlider.value = 0.95
    pump(0.1)
    after = panel.session.report
    assert after.labels == before.labels
    assert after.suitability.preset.endswith("(edited)")
    assert not panel.analysis.jobs.active


def test_runs_are_analysed_on_import_when_asked_for(panel: Any, small_run: Any, desktop: Any, pump: Any) -> None:
    panel.ui.analyseOnImportCheck.checked = True
    panel.case.add_series([small_run(size_px=64, n_frames=6)], [], print)
    pump(2, until=lambda: panel.analysis.is_busy)
    _wait(panel, desktop)
    assert panel.case.run_report("selftest").error == ""
    panel.ui.analyseOnImportCheck.checked = False


def test_a_worker_that_dies_is_told_and_the_panel_goes_on(panel: Any, small_run: Any, desktop: Any, pump: Any) -> None:
    import signal

    panel.case.add_series([small_run(size_px=64, n_frames=6)], [], print)
    pump(0.2)
    panel.ui.analyseButton.click()
    worker = panel.analysis.jobs._worker
    for _attempt in range(2):
        pump(20, until=lambda: worker.pid is not None or not panel.analysis.jobs.active)
        if worker.pid is not None and panel.analysis.jobs.active:
            os.kill(worker.pid, signal.SIGKILL)
            pump(0.3)
    _wait(panel, desktop)
    state = panel.runs.table.row("selftest").state
    report = panel.case.run_report("selftest")
    assert state == "failed" or report.error == ""
    panel.ui.analyseRunButton.click()
    _wait(panel, desktop)
    assert panel.case.run_report("selftest").error == ""


def test_the_modules_own_self_test_passes(desktop: Any, panel: Any) -> None:
    desktop.selfTests["ClaireDSA"](msec=0)
