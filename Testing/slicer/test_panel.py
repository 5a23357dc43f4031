"""The module in the stand-in desktop: opening, the case list, views, review, closing."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.desktop


def test_the_module_opens_in_less_than_a_second(desktop: Any) -> None:
    from Testing.slicer.conftest import MODULE
    from Testing.slicer.desktop.start import load_module, unload_module

    began = time.perf_counter()
    load_module(MODULE)
    representation = desktop.modules.clairedsa.widgetRepresentation()
    representation.enter()
    took_s = time.perf_counter() - began
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
    for view in ("ClaireDSASequence1", "ClaireDSAProjection1"):
        composite = desktop.app.layoutManager().sliceWidget(view).mrmlSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == nodes.proxy.GetID()


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
    assert second.GetBackgroundVolumeID() == panel.case.nodes("two")[0].proxy.GetID()


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
