"""The demo case: a simulated stroke patient before and after thrombectomy, and two runs no network should see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .acquisition import frame_times
from .case import Case, Patient, take_run
from .collimator import Collimator
from .flow import Injection
from .geometry import HeadPose, ViewGeometry
from .occlusion import NO_OCCLUSION, Occlusion
from .plan import RunPlan
from .vendor import LOOKS, VendorLook
from .xray import Detector

DEMO_SEED = 11
DEMO_RUNS = (
    "before_ap", "before_lateral", "after_ap", "after_lateral", "unsuitable_motion", "extracranial_neck",
)  # fmt: skip

_CLOT = Occlusion("M1", "left", "complete", collateral_grade=2, length_mm=9.0, seed=4)


def demo_case(*, size: int = 512, frames: int = 20, seed: int = DEMO_SEED) -> Case:
    """Six runs of one patient.

    A biplane run (ap and lateral) with the left middle cerebral artery occluded, the same after a simulated
    thrombectomy, a subtracted run spoilt by severe motion, and one of the carotid bifurcation in the neck.
    """
    patient = Patient(seed)
    times = frame_times("variable", frames, 3.0)
    ap, lateral = _view(0.0, -8.0, size), _view(90.0, 0.0, size)
    injection = Injection("ICA", "left", rate_ml_s=5.0, duration_s=2.0, start_s=0.9, speed_scale=1.0, tip=0.15)
    detector = Detector(photons=6000 * (512 / size) ** 2, scatter_to_primary=0.5)
    plain = VendorLook("north", "LIN", 12, edge_gain=0.2, white_level=0.8)
    base = RunPlan(
        seed=1, body_part="head", view=ap, injection=injection, times_s=times, occlusion=_CLOT, delivery="unsubtracted",
        mask_frames=(0, 1), motion_kind="breathing", motion_grade="none", detector=detector, look=plain,
        collimator=Collimator("rectangular", (0.03, 0.97, 0.02, 1.0), softness_px=3.0), fillings=True,
    )  # fmt: skip
    opened = replace(base, occlusion=NO_OCCLUSION)
    spoilt = replace(
        base, seed=5, view=_view(-3.0, -10.0, size), occlusion=NO_OCCLUSION, delivery="subtracted", motion_kind="jerk",
        motion_grade="severe", look=LOOKS["east"],
    )  # fmt: skip
    neck = replace(
        base, seed=6, body_part="neck", view=_view(25.0, 0.0, size, (14.0, 8.0, -150.0), 170.0), occlusion=NO_OCCLUSION,
        injection=replace(injection, vessel="CCA", tip=0.1, rate_ml_s=6.0), delivery="subtracted",
        times_s=frame_times("fixed", 12, 4.0), look=LOOKS["north"], collimator=Collimator(),
    )  # fmt: skip
    plans: tuple[tuple[RunPlan, dict[str, str]], ...] = (
        (base, {"biplane": "before", "stage": "before"}),
        (replace(base, seed=2, view=lateral), {"biplane": "before", "stage": "before"}),
        (replace(opened, seed=3), {"biplane": "after", "stage": "after"}),
        (replace(opened, seed=4, view=lateral), {"biplane": "after", "stage": "after"}),
        (spoilt, {}),
        (neck, {}),
    )
    runs = [take_run(patient, plan, name, ties) for (plan, ties), name in zip(plans, DEMO_RUNS, strict=True)]
    return Case(seed, patient.anatomy, tuple(runs))


def write_demo_case(folder: Path | str, *, size: int = 512, frames: int = 20, truth: bool = True) -> list[Path]:
    """Write the demo case as DICOM.

    Parameters
    ----------
    folder : Path or str
        Made when missing.
    size, frames : int
        Smaller ones serve tests.
    truth : bool
        Also write the truth, into ``folder/truth``.

    Returns
    -------
    list of Path
        Six DICOM files, named after ``DEMO_RUNS``.
    """
    return demo_case(size=size, frames=frames).write_dicom(Path(folder), truth=truth)


def _view(
    primary_deg: float, secondary_deg: float, size: int, isocentre_mm: tuple[float, float, float] = (0.0, 2.0, -14.0),
    width_mm: float = 232.0,
) -> ViewGeometry:  # fmt: skip
    return ViewGeometry(
        primary_deg, secondary_deg, 1180.0, 760.0, (size, size), round(width_mm * 1180 / 760 / size, 4),
        isocentre_mm=isocentre_mm, pose=HeadPose((4.0, -1.5, 1.0)),
    )  # fmt: skip


def pictures_for_eyes(case: Case) -> dict[str, np.ndarray]:
    """MinIP of each run as 8-bit pictures, for pages and checks by eye."""
    from .truth import pictures

    shown = {}
    for run in case.runs:
        arrays = pictures(run)
        image = arrays.get("subtracted_minip", arrays["minip"]).astype(np.float32)
        low, high = np.percentile(image, (0.05, 99.95))
        shown[run.run_id] = np.round(255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    return shown
