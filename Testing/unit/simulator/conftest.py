"""One small simulated patient shared by the tests of the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.case import Case, Patient, take_run
from ClaireDSALib.simulator.flow import Injection
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.occlusion import Occlusion
from ClaireDSALib.simulator.plan import RunPlan
from ClaireDSALib.simulator.vendor import VendorLook
from ClaireDSALib.simulator.xray import Detector

SIZE = 128


@pytest.fixture(scope="session")
def small_view() -> ViewGeometry:
    return ViewGeometry(0.0, -5.0, 1150.0, 750.0, (SIZE, SIZE), 2.9, isocentre_mm=(0.0, 2.0, -14.0))


@pytest.fixture(scope="session")
def patient() -> Patient:
    return Patient(3)


@pytest.fixture(scope="session")
def small_plan(small_view: ViewGeometry) -> RunPlan:
    return RunPlan(
        seed=1,
        body_part="head",
        view=small_view,
        injection=Injection("ICA", "left", rate_ml_s=5.0, start_s=0.4, tip=0.1),
        times_s=frame_times("variable", 9, 2.0),
        delivery="unsubtracted",
        mask_frames=(0,),
        detector=Detector(photons=40000.0),
        look=VendorLook(),
    )


@pytest.fixture(scope="session")
def small_case(patient: Patient, small_plan: RunPlan) -> Case:
    """Biplane (unsubtracted LIN), a LOG run, a subtracted 8-bit run with an M1 occlusion, one single frame."""
    lateral = replace(small_plan, seed=2, view=replace(small_plan.view, primary_deg=90.0))
    plans = {
        "frontal": (small_plan, {"biplane": "a"}),
        "lateral": (lateral, {"biplane": "a"}),
        "logarithm": (replace(small_plan, seed=3, look=VendorLook("log", "LOG", 12)), {}),
        "eight_bit": (
            replace(
                small_plan,
                seed=4,
                delivery="subtracted",
                occlusion=Occlusion("M1", "left", collateral_grade=0),
                look=VendorLook("display", "DISP", 8, "MONOCHROME1"),
            ),
            {},
        ),
        "single": (replace(small_plan, seed=5, single_frame=True), {}),
    }
    return Case(3, patient.anatomy, tuple(take_run(patient, plan, name, ties) for name, (plan, ties) in plans.items()))
