"""A tiny simulated biplane run as a study on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.case import Case, Patient, take_run
from ClaireDSALib.simulator.flow import Injection
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.plan import RunPlan
from ClaireDSALib.simulator.vendor import VendorLook
from ClaireDSALib.simulator.xray import Detector

_SIDE_PX = 64
_SEED = 3


def write_biplane_study(folder: Path) -> list[Path]:
    """Two planes of one run, six frames of 64 pixels."""
    patient = Patient(_SEED)
    view = ViewGeometry(0.0, -5.0, 1150.0, 750.0, (_SIDE_PX, _SIDE_PX), 5.8, isocentre_mm=(0.0, 2.0, -14.0))
    plan = RunPlan(
        seed=1, body_part="head", view=view, injection=Injection("ICA", "left", rate_ml_s=5.0, start_s=0.4, tip=0.1),
        times_s=frame_times("variable", 6, 2.0), delivery="unsubtracted", mask_frames=(0,),
        detector=Detector(photons=40000.0), look=VendorLook(),
    )  # fmt: skip
    lateral = dataclasses.replace(plan, seed=2, view=dataclasses.replace(view, primary_deg=90.0))
    planes = (("ap", plan), ("lateral", lateral))
    runs = tuple(take_run(patient, one, run_id=name, relations={"biplane": "a"}) for name, one in planes)
    Case(_SEED, patient.anatomy, runs).write_dicom(folder, truth=False)
    return sorted(path for path in folder.rglob("*.dcm"))
