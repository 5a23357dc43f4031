"""Thrombus, phases and measurements in the panel, from a report whose content the test knows."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

vtk = pytest.importorskip("vtk")
pytestmark = pytest.mark.desktop

N_FRAMES = 6
PHASES = ("non_contrast", "arterial", "arterial", "parenchymal", "venous", "venous")
SITE_PX = (20.0, 44.0)


@pytest.fixture
def reported(panel: Any, small_run: Any, pump: Any) -> Any:
    """The panel with one run whose report says: thrombus at a known place, known phases, vessels of known length."""
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.report import CaseReport, Perfusion, Phases, Quality, Thrombus
    from ClaireDSALib.pipeline.settings import Settings

    series = small_run(size_px=64, n_frames=N_FRAMES)
    panel.case.add_series([series], [], print)
    result = analyze([series], Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none"))
    run = dataclasses.replace(
        result.report.runs[0],
        thrombus=Thrombus(
            0.91, 0.5, present=True, site_px=SITE_PX, text="Occlusion is likely.", heat_array="thrombus_heat"
        ),
        phases=Phases(PHASES, "network"),
        quality=Quality("poor", {"good": 0.1, "acceptable": 0.2, "poor": 0.7}, "network"),
        perfusion=Perfusion(
            "automatic", (30.0, 30.0), 40, 0.8, medians={"tmax": 2.34}, late_share=0.12, late_after_s=6.0
        ),
    )
    heat = np.zeros((8, 8), np.float32)
    heat[2, 5] = 3.0
    for _step in panel.case.take_run(run, {**result.arrays["selftest"], "thrombus_heat": heat}):
        pass
    panel.case.take_report(CaseReport(runs=(run,)))
    panel.runs.show_again()
    panel.runs.write_reports()
    pump(0.3)
    return panel


def test_the_list_says_yes_with_its_probability(reported: Any) -> None:
    assert reported.ui.runTable.item(0, 4).text() == "yes (91 %)"


def test_the_findings_tell_thrombus_phases_and_lengths(reported: Any) -> None:
    text = reported.ui.findingsText.toPlainText()
    assert "Occlusion is likely." in text
    assert "arterial from 0.5 s" in text
    assert "venous from 2.0 s" in text
    assert "0.400 × 0.400 mm" in text


def test_the_findings_tell_the_grade_and_the_passage_of_the_blood(reported: Any) -> None:
    rows = reported.ui.findingsText.toPlainText()
    assert "poor (70 %)" in rows
    assert "2.3 s" in rows
    assert "Tissue later than 6.0 s" in rows
    assert "12 %" in rows


def test_the_site_is_marked_where_the_report_says_and_only_in_the_projection(reported: Any, desktop: Any) -> None:
    nodes, results = reported.case.nodes("selftest")
    position = [0.0] * 3
    results.site.GetNthControlPointPosition(0, position)
    matrix = vtk.vtkMatrix4x4()
    nodes.proxy.GetRASToIJKMatrix(matrix)
    column, row, _slice, _one = matrix.MultiplyPoint((*position, 1.0))
    assert (row, column) == pytest.approx(SITE_PX, abs=0.6)
    view = desktop.app.layoutManager().sliceWidget("ClaireDSAProjection1").mrmlSliceNode()
    display = results.site.GetDisplayNode()
    assert list(display.GetViewNodeIDs()) == [view.GetID()]
    assert display.GetVisibility()
    reported.ui.siteCheck.checked = False
    assert not display.GetVisibility()
    reported.ui.siteCheck.checked = True


def test_the_phase_strip_has_the_colours_of_the_phases_on_true_times() -> None:
    pictures = sys.modules["ClaireDSAWidgets.pictures"]
    times_s = (0.0, 1.0, 2.0, 3.0, 4.0, 10.0)
    strip = pictures.phase_strip(PHASES, times_s, 0, 200)
    middle = [tuple(int(c) for c in strip[12, x]) for x in (20, 62, 180)]
    assert middle == [pictures.PHASE_COLORS[n] for n in ("arterial", "parenchymal", "venous")]
    assert strip[12, 0].tolist() == [0, 0, 0]


def test_the_heat_of_the_site_can_be_laid_over_the_projection(reported: Any, pump: Any) -> None:
    combo = reported.ui.overlayCombo
    combo.setCurrentIndex(combo.findData("thrombus_heat"))
    pump(0.1)
    _nodes, results = reported.case.nodes("selftest")
    assert results.overlay.GetAttribute("ClaireDSA.active") == "thrombus_heat"
    assert "Thrombus evidence" in reported.ui.legendLabel.text
    combo.setCurrentIndex(0)
    assert results.overlay.GetAttribute("ClaireDSA.active") == ""
    assert reported.ui.legendLabel.text == ""


def test_a_run_that_failed_says_why(reported: Any) -> None:
    run = dataclasses.replace(reported.case.run_report("selftest"), error="labels failed: no memory", suitability=None)
    reported.case.store(dataclasses.replace(reported.case.report, runs=(run,)))
    reported._report_changed()
    assert reported.ui.runTable.item(0, 3).text() == "failed"
    assert "no memory" in reported.ui.verdictLabel.text


def test_judging_again_by_other_rules_asks_the_grade_too(reported: Any) -> None:
    from ClaireDSALib.models.labels import NINE_LABELS
    from ClaireDSALib.pipeline.report import CaseReport, LabelResult

    fit = {"contrast_fluid": "present", "projection": "ap", "motion_artefact": "none", "subtraction": "subtracted"}
    fit |= {"region": "intracranial", "skull_visibility": "entire", "device": "absent"}
    labels = tuple(
        LabelResult(x.name, x.classes, tuple(float(c == fit.get(x.name, x.classes[0])) for c in x.classes), "")
        for x in NINE_LABELS.labels
    )
    run = dataclasses.replace(reported.case.report.runs[0], labels=labels)
    report = CaseReport(runs=(run,))
    judged = sys.modules["ClaireDSAWidgets.review"].rejudged(report, "vessel_segmentation", 0.0).runs[0].suitability
    assert not judged.suitable
    assert [reason.label for reason in judged.reasons] == ["quality_grade"]
