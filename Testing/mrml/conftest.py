"""Scenes, a run whose answers are known, and its results."""

import os

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (extra slicer-core)")

from ClaireDSALib.dsa.series import DsaSeries, FrameRef, Geometry, Identity, Pair
from ClaireDSALib.mrml import CoreHost
from ClaireDSALib.pipeline import report as rp

TIMES_S = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
SHAPE = (40, 50)


def make_series(run_id="run-ap", view="ap", spacing_mm=(0.3, 0.2), times_s=TIMES_S, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(900, 1100, (len(times_s), *SHAPE)).astype(np.uint16)
    frames[2:5, 10:20, 5:9] = 200
    return DsaSeries.from_array(
        frames,
        times_s=times_s,
        run_id=run_id,
        frame_refs=tuple(FrameRef("1.2.3", i + 1) for i in range(len(times_s))),
        identity=Identity(study_uid="1.2", series_uid="1.2.3", patient_key="secret-key", series_number=3),
        geometry=Geometry(pixel_spacing_mm=spacing_mm, spacing_source="ImagerPixelSpacing", view=view),
    )


def make_report(series):
    acquisition = rp.Acquisition(
        n_frames=series.n_frames,
        rows=SHAPE[0],
        columns=SHAPE[1],
        times_s=tuple(series.times_s.tolist()),
        times_source="FrameTimeVector",
        view=series.geometry.view,
        primary_angle_deg=0.0,
        secondary_angle_deg=None,
        pixel_spacing_mm=series.geometry.pixel_spacing_mm,
        spacing_source="ImagerPixelSpacing",
        bits_stored=16,
        intensity_relation="LIN",
        polarity_source="default",
        inverted=False,
        subtraction_state="unsubtracted",
        subtraction_source="pixels",
    )
    return rp.RunReport(
        run_id=series.run_id,
        identity={"series_number": 3},
        acquisition=acquisition,
        labels=(
            rp.LabelResult("motion_artefact", ("none", "mild", "severe"), (0.2, 0.3, 0.5), "severe"),
            rp.LabelResult("device", ("absent", "present"), (0.9, 0.1), "absent"),
        ),
        suitability=rp.Suitability(
            "vessel_segmentation", False, 0.8, (rp.Reason("motion_artefact", "exclude", "The patient moved."),)
        ),
        vessels=rp.Vessels("classical", "vessels", centerline_array="centerline", fraction=0.02, length_px=10.0),
        thrombus=rp.Thrombus(0.8, 0.5, True, site_px=(10.0, 20.0)),
        phases=rp.Phases(
            ("non_contrast", "non_contrast", "arterial", "arterial", "parenchymal", "venous")[: series.n_frames],
            "rules",
        ),
        overrides=(rp.Override("device", "correct", "present", "coil", "A. Reader", "2026-01-01T00:00:00Z"),),
    )


def make_arrays(series, seed=1):
    rng = np.random.default_rng(seed)
    vessels = np.zeros(SHAPE, bool)
    vessels[10:20, 5:9] = True
    time_to_peak = np.where(vessels, rng.random(SHAPE) * 3 + 1, np.nan).astype(np.float32)
    return {
        "minip": series.to_array().min(axis=0),
        "time_to_peak": time_to_peak,
        "peak_opacity": np.where(vessels, 1.0, 0.0).astype(np.float32),
        "vessels": vessels,
        "centerline": vessels & (np.arange(SHAPE[1]) == 6),
        "cam.motion_artefact.mild": rng.normal(size=(4, 5)).astype(np.float32),
        "cam.motion_artefact.severe": 2 * rng.normal(size=(4, 5)).astype(np.float32),
        "thrombus_heat": rng.random((4, 5)).astype(np.float32),
        "color_summary": rng.integers(0, 255, (*SHAPE, 3)).astype(np.uint8),
        "motion_shifts": rng.random((series.n_frames, 2)).astype(np.float32),
    }


@pytest.fixture
def host():
    made = CoreHost()
    yield made
    made.scene.Clear(True)


@pytest.fixture
def a_run():
    return make_series()


@pytest.fixture
def a_biplane_pair():
    lateral = make_series("run-lateral", "lateral", times_s=(0.0, 0.6, 1.1, 2.1), seed=5)
    return Pair(make_series(), lateral, "same study, acquired together")


@pytest.fixture
def a_run_result(a_run):
    return rp.CaseResult(rp.CaseReport((make_report(a_run),)), {a_run.run_id: make_arrays(a_run)})
