"""What one run is to be: every factor drawn on its own, so that no nuisance tells a label."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from .acquisition import Delivery, frame_times
from .collimator import Collimator, draw_collimator
from .devices import DEVICE_KINDS, DeviceKind
from .flow import Injection
from .geometry import HeadPose, ViewGeometry
from .motion import MOTION_KINDS, MotionGrade, MotionKind
from .occlusion import NO_OCCLUSION, Occlusion, Site
from .vendor import VendorLook, random_look
from .xray import Detector

BodyPart = Literal["head", "neck", "arch", "groin"]

ANTERIOR_SITES: tuple[Site, ...] = ("ICA-T", "M1", "M1", "M2", "M2", "M3", "A1", "A2")
POSTERIOR_SITES: tuple[Site, ...] = ("basilar", "P1", "P2")


@dataclass(frozen=True)
class RunPlan:
    """Everything that decides one run apart from the patient; ``seed`` drives noise, devices and motion."""

    seed: int
    body_part: BodyPart
    view: ViewGeometry
    injection: Injection
    times_s: npt.NDArray[np.float64]
    occlusion: Occlusion = NO_OCCLUSION
    delivery: Delivery = "subtracted"
    mask_frames: tuple[int, ...] = (0,)
    """Frames taken as mask; empty when the run holds none."""
    motion_kind: MotionKind = "drift"
    motion_grade: MotionGrade = "none"
    devices: tuple[DeviceKind, ...] = ()
    fillings: bool = False
    collimator: Collimator = field(default_factory=Collimator)
    detector: Detector = field(default_factory=Detector)
    look: VendorLook = field(default_factory=VendorLook)
    contrast: bool = True
    marks: bool = False
    roadmap: bool = False
    """The mask holds contrast, so that vessels show bright and devices dark."""
    single_frame: bool = False
    """Only the frame with the most contrast is handed over."""

    @property
    def thrombus_possible(self) -> bool:
        """True where an occlusion of an intracranial artery could be seen."""
        return self.body_part == "head" and self.contrast and self.injection.vessel in ("ICA", "CCA", "VA")


def draw_view(rng: np.random.Generator, body_part: BodyPart, size: int, side: str) -> ViewGeometry:
    """A C-arm position for a body part.

    Parameters
    ----------
    size : int
        Rows and columns.
    side : "left" or "right"
        Injected side; neck views are centred on it, heads are not.
    """
    projection = rng.choice(["ap", "lateral", "oblique"], p=[0.4, 0.38, 0.22])
    primary = {
        "ap": rng.normal(0, 3.5),
        "lateral": rng.choice([-90.0, 90.0]) + rng.normal(0, 3.5),
        "oblique": rng.choice([-1.0, 1.0]) * rng.uniform(26, 64),
    }[projection]
    if projection == "ap":
        primary = float(np.clip(primary, -12, 12))
    elif projection == "lateral":
        primary = float(np.sign(primary) * np.clip(abs(primary), 78, 102))
    secondary = float(rng.normal(-5, 14)) if projection != "lateral" else float(rng.normal(0, 3))
    if body_part == "groin":
        primary, secondary = float(rng.choice([0.0, -32.0, 32.0, 40.0]) + rng.normal(0, 2)), 0.0
    sid = float(rng.uniform(980, 1250))
    sod = float(rng.uniform(680, 790))
    width_mm = _field_width(rng, body_part)
    sign = 1.0 if side == "left" else -1.0
    centre = {
        "head": rng.normal((0, 4, -18), (7, 8, 16)),
        "neck": rng.normal((12 * sign, 8, -150), (10, 8, 16)),
        "arch": rng.normal((0, 14, -255), (9, 8, 16)),
        "groin": rng.normal((10, -10, -5), (14, 8, 20)),
    }[body_part]
    if body_part == "head" and width_mm < 160:
        centre = centre + rng.normal(0, (16, 16, 14))
    lean = HeadPose(
        tuple(float(a) for a in rng.normal(0, (5, 2.5, 3.5)))  # type: ignore[arg-type]
    )
    return ViewGeometry(
        primary_deg=float(primary),
        secondary_deg=float(np.clip(secondary, -38, 38)),
        sid_mm=sid,
        sod_mm=sod,
        shape=(size, size),
        detector_pitch_mm=width_mm * sid / sod / size,
        detector_offset_mm=(0.0, 0.0),
        isocentre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        pose=lean if body_part in ("head", "neck") else HeadPose(),
    )


def draw_plan(
    rng: np.random.Generator,
    *,
    size: int = 384,
    body_part: BodyPart | None = None,
    view: ViewGeometry | None = None,
    vessel: str | None = None,
    side: Literal["left", "right"] | None = None,
    vendor: str | None = None,
) -> RunPlan:
    """Draw one run; arguments that are given are kept.

    Factors are drawn one after another and none looks at another, except where one has no meaning without the other
    (an occlusion needs an injection that reaches it; a sequence without contrast has no bolus).
    """
    part: BodyPart = body_part or str(rng.choice(["head", "neck", "arch", "groin"], p=[0.78, 0.1, 0.07, 0.05]))  # type: ignore[assignment]
    chosen_side: Literal["left", "right"] = side or ("left" if rng.random() < 0.5 else "right")
    chosen_vessel = vessel or _draw_vessel(rng, part)
    chosen_view = view or draw_view(rng, part, size, chosen_side)
    contrast = bool(rng.random() > 0.16)
    times = _draw_times(rng)
    plan = RunPlan(
        seed=int(rng.integers(2**31)),
        body_part=part,
        view=chosen_view,
        injection=_draw_injection(rng, chosen_vessel, chosen_side, contrast),
        times_s=times,
        delivery="subtracted" if rng.random() < 0.58 else "unsubtracted",
        mask_frames=(0,) if rng.random() < 0.7 or len(times) < 4 else (0, 1),
        motion_kind=MOTION_KINDS[int(rng.choice(len(MOTION_KINDS), p=[0.25, 0.27, 0.18, 0.1, 0.07, 0.13]))],
        motion_grade=str(rng.choice(["none", "mild", "severe"], p=[0.42, 0.3, 0.28])),  # type: ignore[arg-type]
        devices=_draw_devices(rng),
        fillings=bool(rng.random() < 0.4),
        collimator=draw_collimator(rng, str(rng.choice(["none", "rectangular", "circular"], p=[0.5, 0.3, 0.2])), size),  # type: ignore[arg-type]
        detector=draw_detector(rng, size),
        look=random_look(rng, vendor) if vendor else random_look(rng),
        contrast=contrast,
        marks=bool(rng.random() < 0.12),
        roadmap=bool(rng.random() < 0.03),
        single_frame=bool(rng.random() < 0.03),
    )
    occlusion = draw_occlusion(rng, plan)
    return replace(plan, occlusion=occlusion)


def draw_occlusion(rng: np.random.Generator, plan: RunPlan, *, share: float = 0.5) -> Occlusion:
    """A clot in the injected circulation, or none; each site is equally likely within a circulation."""
    sites = POSTERIOR_SITES if plan.injection.vessel == "VA" else ANTERIOR_SITES
    site = str(rng.choice(sites))
    occluded = rng.random() < share
    clot = Occlusion(
        site=site,  # type: ignore[arg-type]
        side=plan.injection.side if plan.injection.vessel != "VA" else ("left" if rng.random() < 0.5 else "right"),
        degree="complete" if rng.random() < 0.85 else "partial",
        collateral_grade=int(rng.integers(0, 5)),
        length_mm=float(rng.uniform(4, 18)),
        seed=int(rng.integers(2**31)),
    )
    return clot if occluded and plan.thrombus_possible else NO_OCCLUSION


def draw_detector(rng: np.random.Generator, size: int) -> Detector:
    """Dose, scatter and sharpness; quanta per pixel scale with the area of a pixel."""
    dose = float(np.exp(rng.uniform(np.log(500), np.log(12000))))
    return Detector(
        photons=dose * (512 / size) ** 2,
        scatter_to_primary=float(rng.uniform(0.15, 1.0)),
        glare=float(rng.uniform(0.02, 0.1)),
        blur_px=float(rng.uniform(0.35, 1.1)) * size / 512,
        electronic_noise=float(rng.uniform(1, 8)),
        fluctuation=float(rng.uniform(0, 0.006)),
    )


def _field_width(rng: np.random.Generator, body_part: str) -> float:
    """Width of the picture at the isocentre, mm."""
    if body_part in ("arch", "groin"):
        return float(rng.uniform(200, 290))
    if body_part == "neck":
        return float(rng.uniform(120, 230))
    if rng.random() < 0.55:
        return float(rng.uniform(198, 268))
    return float(rng.uniform(115, 225))


def _draw_vessel(rng: np.random.Generator, body_part: str) -> str:
    if body_part == "head":
        return str(rng.choice(["ICA", "CCA", "ECA", "VA"], p=[0.42, 0.1, 0.14, 0.34]))
    return {"arch": "ARCH", "groin": "FEMORAL"}.get(body_part) or str(
        rng.choice(["CCA", "ICA", "VA"], p=[0.5, 0.1, 0.4])
    )


def _draw_injection(rng: np.random.Generator, vessel: str, side: Literal["left", "right"], contrast: bool) -> Injection:
    weak = rng.random() < 0.12
    late = rng.random() < 0.05
    rate = float(rng.uniform(2.5, 7.0)) * (0.25 if weak else 1.0) * {"ARCH": 4.0, "FEMORAL": 1.2}.get(vessel, 1.0)
    return Injection(
        vessel=vessel,  # type: ignore[arg-type]
        side=side if vessel != "FEMORAL" else "right",
        rate_ml_s=rate,
        duration_s=float(rng.uniform(1.0, 3.0)),
        start_s=float(-rng.uniform(0.5, 2.0)) if late else float(rng.uniform(0.35, 1.3)),
        concentration_mg_ml=float(rng.uniform(200, 350)) if contrast else 0.0,
        reflux=float(rng.uniform(0, 0.8)) if rng.random() < 0.25 else 0.0,
        cross_filling=float(rng.uniform(0.1, 0.9)) if rng.random() < 0.3 else 0.0,
        speed_scale=float(np.exp(rng.normal(0, 0.2))),
        heart_rate_hz=float(rng.uniform(0.85, 1.7)),
        tip=float(rng.uniform(0.05, 0.6)),
    )


def _draw_times(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return frame_times(
        "fixed" if rng.random() < 0.55 else "variable",
        int(rng.integers(8, 17)),
        float(rng.choice([1.5, 2.0, 3.0, 4.0])),
    )


def _draw_devices(rng: np.random.Generator) -> tuple[DeviceKind, ...]:
    if rng.random() < 0.3:
        return ()
    return tuple(DEVICE_KINDS[i] for i in rng.choice(len(DEVICE_KINDS), int(rng.choice([1, 1, 2])), replace=False))
