"""Fixtures of the command line and of the review page."""

import dataclasses

import numpy as np
import pytest

from ClaireDSALib.export.files import write_case
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import (
    CaseReport,
    CaseResult,
    LabelResult,
    PairReport,
    Phases,
    Reason,
    SkippedRecord,
    Suitability,
    Thrombus,
)
from ClaireDSALib.pipeline.settings import Settings


@pytest.fixture
def a_judged_result(a_series):
    """A result with every finding a run can have; the findings are made up, the pictures are computed."""
    found = analyze([a_series], Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none"))
    run = found.report.runs[0]
    cams = {"ap": "cam.projection.ap", "lateral": "cam.projection.lateral"}
    judged = dataclasses.replace(
        run,
        labels=(LabelResult("projection", ("ap", "lateral"), (0.75, 0.25), "ap", cams),),
        suitability=Suitability("vessel_segmentation", False, 0.9, (Reason("x", "exclude", "Too much <motion>."),)),
        thrombus=Thrombus(0.81, 0.5, True, heat_array="thrombus_heat"),
        phases=Phases(("non_contrast",) * 2 + ("arterial",) * 4 + ("venous",) * 4, "model"),
    )
    arrays = dict(found.arrays[run.run_id])
    arrays["cam.projection.ap"] = np.array([[0, 4], [-2, 1]], np.float32)
    arrays["cam.projection.lateral"] = np.array([[0, 0.5], [0, 0]], np.float32)
    arrays["thrombus_heat"] = np.eye(4, dtype=np.float32)
    report = CaseReport(
        (judged,), (PairReport((run.run_id, run.run_id), "same time"),), (SkippedRecord("input 1", "no pixels"),)
    )
    return CaseResult(report, {run.run_id: arrays})


@pytest.fixture
def a_written_case(a_judged_result, a_series, tmp_path):
    """Folder and report of :func:`a_judged_result` once written."""
    return tmp_path, write_case(tmp_path, [a_series], a_judged_result)
