"""The module in the stand-in desktop: opening, the case list, views, review, closing."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.desktop


def test_the_module_opens_in_less_than_a_second(desktop: Any) -> None:
    from Testing.slicer.conftest import MODULE
    from Testing.slicer.desktop.start import load_module, unload_module

    began = time.process_time()  # other programs on the machine are not the module's fault
    load_module(MODULE)
    representation = desktop.modules.clairedsa.widgetRepresentation()
    representation.enter()
    took_s = time.process_time() - began
    assert representation.self().base_setup_called
    assert took_s < 1.0
    unload_module("ClaireDSA")
    load_module(MODULE)


def test_the_sample_data_and_the_settings_page_are_registered_after_startup(desktop: Any, panel: Any) -> None:
    sources = desktop.modules.sampleDataSources["CLAIRE-DSA"]
    assert [s.sampleName for s in sources] == ["ClaireDSADemoCase"]
    assert "CLAIRE-DSA" in desktop.app._native.settingsDialog().panels


def test_runs_in_the_scene_appear_in_the_list_with_picture_view_and_frames(
    panel: Any, small_run: Any, pump: Any
) -> None:
    panel.case.add_series([small_run(n_frames=7, run_id="one"), small_run(run_id="two")], [], print)
    pump(0.3)
    table = panel.ui.runTable
    assert table.rowCount == 2
    assert [table.item(0, c).text() for c in (1, 2)] == ["AP", "7"]
    assert not table.item(0, 0).icon().isNull()
    assert panel.session.selected_run == "one"


def test_choosing_a_row_shows_that_run_in_both_views(panel: Any, small_run: Any, pump: Any, desktop: Any) -> None:
    panel.case.add_series([small_run(run_id="one"), small_run(run_id="two")], [], print)
    pump(0.2)
    panel.ui.runTable.selectRow(1)
    pump(0.2)
    nodes, _results = panel.case.nodes("two")
    expected = {nodes.proxy.GetID(), nodes.subtracted_proxy.GetID() if nodes.subtracted_proxy else ""}
    for view in ("ClaireDSASequence1", "ClaireDSAProjection1"):
        composite = desktop.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() in expected


def test_the_sequence_is_shown_subtracted_unless_the_user_wants_it_raw(
    panel: Any, small_run: Any, pump: Any, desktop: Any
) -> None:
    panel.case.add_series([small_run()], [], print)
    pump(20, until=lambda: panel.case.nodes("selftest")[0].subtracted_proxy is not None)
    pump(0.2)
    nodes, _results = panel.case.nodes("selftest")
    composite = desktop.app.layoutManager().sliceWidget("ClaireDSASequence1").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == nodes.subtracted_proxy.GetID()
    panel.ui.subtractedCheck.checked = False
    assert composite.GetBackgroundVolumeID() == nodes.proxy.GetID()
    assert nodes.subtracted_sequence.GetNumberOfDataNodes() == nodes.sequence.GetNumberOfDataNodes()


def test_the_slider_moves_the_browser_and_the_browser_moves_the_slider(panel: Any, small_run: Any, pump: Any) -> None:
    panel.case.add_series([small_run(n_frames=9)], [], print)
    pump(0.2)
    nodes, _results = panel.case.nodes("selftest")
    panel.ui.frameSlider.value = 5
    assert nodes.browser.GetSelectedItemNumber() == 5
    nodes.browser.SetSelectedItemNumber(2)
    assert panel.ui.frameSlider.value == 2
    assert panel.ui.frameLabel.text == "3 / 9   1.00 s"


def test_play_advances_frames_and_pause_stops_them(panel: Any, small_run: Any, pump: Any) -> None:
    panel.case.add_series([small_run(n_frames=9)], [], print)
    pump(0.2)
    panel.case.nodes("selftest")[0].browser.SetPlaybackRateFps(30)
    panel.ui.playButton.click()
    pump(3.0, until=lambda: panel.ui.frameSlider.value >= 3)
    panel.ui.playButton.click()
    stopped = panel.ui.frameSlider.value
    pump(0.2)
    assert panel.ui.frameSlider.value == stopped


def test_the_layouts_have_the_views_they_promise(panel: Any, small_run: Any, pump: Any, desktop: Any) -> None:
    panel.case.add_series([small_run(run_id="one"), small_run(run_id="two")], [], print)
    pump(0.2)
    panel.ui.secondRunCombo.setCurrentIndex(panel.ui.secondRunCombo.findData("two"))
    expected = {0: 2, 1: 4, 2: 2}
    for index, views in expected.items():
        panel.ui.layoutCombo.setCurrentIndex(index)
        pump(0.1)
        assert len(desktop.app.layoutManager().sliceViewNames()) == views
    second = desktop.app.layoutManager().sliceWidget("ClaireDSAProjection2").mrmlSliceCompositeNode()
    nodes, _results = panel.case.nodes("two")
    expected = {nodes.proxy.GetID(), nodes.subtracted_proxy.GetID() if nodes.subtracted_proxy else ""}
    assert second.GetBackgroundVolumeID() in expected


def test_keys_go_to_the_next_run_only_while_the_module_is_shown(panel: Any, small_run: Any, pump: Any) -> None:
    panel.case.add_series([small_run(run_id="one"), small_run(run_id="two")], [], print)
    pump(0.2)
    panel.runs.step(1)
    assert panel.session.selected_run == "two"
    panel.runs.step(1)
    assert panel.session.selected_run == "two"
    panel.parent.exit()
    assert not any(s.enabled for s in panel.shortcuts._shortcuts)
    panel.parent.enter()
    assert all(s.enabled for s in panel.shortcuts._shortcuts)


def test_a_sequence_loaded_by_another_module_can_be_used(panel: Any, small_run: Any, pump: Any, desktop: Any) -> None:
    import numpy as np

    sequence = desktop.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for index, frame in enumerate(small_run(n_frames=5).to_array()):
        volume = desktop.util.addVolumeFromArray(np.asarray(frame)[None].astype(np.int16))
        sequence.SetDataNodeAtValue(volume, str(index))
        desktop.mrmlScene.RemoveNode(volume)
    pump(0.1)
    panel.ui.sequenceSelector.setCurrentNode(sequence)
    assert panel.ui.adoptButton.enabled
    panel.ui.adoptButton.click()
    pump(0.2)
    assert panel.ui.runTable.rowCount == 1
    assert "not read by CLAIRE-DSA" in panel.ui.statusLabel.text


def test_clearing_the_scene_empties_the_panel(panel: Any, small_run: Any, pump: Any, desktop: Any) -> None:
    panel.case.add_series([small_run()], [], print)
    pump(0.2)
    desktop.mrmlScene.Clear(False)
    pump(0.2)
    assert panel.ui.runTable.rowCount == 0
    assert panel.case.report is None
    assert not panel.ui.frameSlider.enabled


def test_unloading_the_module_leaves_no_observer_and_no_process(panel: Any, small_run: Any, pump: Any) -> None:
    from Testing.slicer.desktop.start import unload_module

    panel.case.add_series([small_run()], [], print)
    pump(0.2)
    assert panel.Observations
    unload_module("ClaireDSA")
    assert not panel.Observations
    assert not panel.playback.Observations
    assert panel.analysis.jobs._worker is None


def test_every_mrml_widget_of_the_panel_has_the_scene(panel: Any, desktop: Any) -> None:
    assert panel.ui.sequenceSelector.mrmlScene() is desktop.mrmlScene


def test_the_settings_page_sets_what_new_scenes_start_with(panel: Any, desktop: Any, pump: Any) -> None:
    from PySide6.QtWidgets import QComboBox, QLineEdit

    page = desktop.app._native.settingsDialog().panels["CLAIRE-DSA"]
    try:
        page.findChildren(QLineEdit)[2].setText("AB")
        page.findChildren(QComboBox)[0].setCurrentText("cpu")
        desktop.mrmlScene.Clear(False)
        pump(0.2)
        assert panel.session.parameters.reviewer == "AB"
        assert panel.session.parameters.device.value == "cpu"
        assert panel.logic.settings().device == "cpu"
    finally:
        page.findChildren(QLineEdit)[2].setText("")
        page.findChildren(QComboBox)[0].setCurrentText("auto")


def test_a_case_is_exported_in_the_background(panel: Any, small_run: Any, pump: Any, tmp_path: Any) -> None:
    panel.case.add_series([small_run(size_px=64, n_frames=6)], [], print)
    pump(0.2)
    panel.ui.analyseButton.click()
    pump(120, until=lambda: not panel.analysis.is_busy)
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "out")
    panel.ui.exportButton.click()
    pump(60, until=lambda: not panel.export._background.is_running)
    assert "Exported" in panel.ui.statusLabel.text
    assert (tmp_path / "out" / "report.json").is_file()
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_batch_writes_one_report_per_sub_folder(panel: Any, pump: Any, tmp_path: Any) -> None:
    dicom = pytest.importorskip("Testing.unit.dsa_read.dicom_builder", reason="the builder of DICOM files is missing")
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        dicom.write_run(tmp_path / "in" / name / "run.dcm")
    panel.ui.batchInputEdit.currentPath = str(tmp_path / "in")
    panel.ui.batchOutputEdit.currentPath = str(tmp_path / "out")
    panel.ui.batchButton.click()
    assert panel.ui.batchCancelButton.enabled
    pump(120, until=lambda: not panel.batch.is_running)
    assert [panel.ui.batchTable.item(r, 0).text() for r in range(2)] == ["a", "b"]
    assert all("suitable" in panel.ui.batchTable.item(r, 2).text() for r in range(2))
    assert all((tmp_path / "out" / name / "report.json").is_file() for name in ("a", "b"))
    assert panel.ui.runTable.rowCount == 0


def test_results_written_over_the_cases_are_refused(panel: Any, tmp_path: Any) -> None:
    from Testing.slicer.desktop.proxies import callback_errors

    (tmp_path / "a").mkdir()
    panel.ui.batchInputEdit.currentPath = str(tmp_path)
    panel.ui.batchOutputEdit.currentPath = str(tmp_path)
    panel.ui.batchButton.click()
    assert "not the folder of the cases" in str(callback_errors.pop()[1])
    assert not panel.batch.is_running
