"""The shipped label bundle, on a simulated run with a device: what its frames tell is asked, and shown."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the shipped bundles run in onnxruntime")

from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.case import Patient, take_run
from ClaireDSALib.simulator.plan import draw_plan


@pytest.fixture(scope="module")
def runs():
    """Two runs of one view that differ in their devices alone."""
    plan = draw_plan(np.random.default_rng(4), size=320, body_part="head", vessel="ICA", side="left", vendor="classic")
    plain = replace(plan, delivery="unsubtracted", single_frame=False, roadmap=False, motion_grade="none")
    patient = Patient(4)
    return [
        take_run(patient, replace(plain, devices=devices), name)
        for name, devices in (("empty", ()), ("wired", ("guide_wire", "clip")))
    ]


def test_devices_are_read_off_the_brightest_picture_and_motion_off_the_frames(runs):
    assert [run.labels["device"] for run in runs] == ["absent", "present"]
    series = [replace(series_of(run), run_id=run.run_id) for run in runs]
    result = analyze(series, Settings(device="cpu", vessel_bundle="none", quality_bundle="none"))
    for run, report in zip(runs, result.report.runs, strict=True):
        labels = {label.name: label for label in report.labels}
        assert labels["device"].picture == "brightest"
        assert "free of passing contrast" in labels["device"].source
        assert labels["device"].predicted == run.labels["device"]
        assert labels["motion_artefact"].over_frames
        assert labels["motion_artefact"].predicted == run.labels["motion_artefact"]
    marked = result.arrays["wired"][labels["device"].cam_arrays["present"]]
    scale = np.array(runs[1].devices_shown.shape) / marked.shape
    row, column = ((np.unravel_index(marked.argmax(), marked.shape) + np.full(2, 0.5)) * scale).astype(int)
    near = runs[1].devices_shown[max(row - 5, 0) : row + 6, max(column - 5, 0) : column + 6]
    assert near.any(), "the strongest point of the map lies on a device"
    assert (result.arrays["empty"][labels["device"].cam_arrays["present"]] > 0).mean() < 1e-3
