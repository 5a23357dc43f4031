"""One simulated patient and the runs taken of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .acquisition import Delivered, Exposed, carried, deliver, expose
from .beam import Beam
from .body import Body, BodyLayers
from .collimator import burn_marks
from .devices import Device, catheter, fillings, make_device, total_thickness_mm
from .head import procedural_head
from .iodine import IodineRun, Projector
from .labels import Shown, devices_shown, nine_labels, vault_is_ambiguous, vault_shown
from .motion import Motion, draw_motion, fit_motion
from .patient import Anatomy, simulate_anatomy
from .plan import RunPlan, draw_occlusion, draw_plan
from .shown_vessels import shown_vessels
from .trunk import chest, groin
from .voxels import fractal_image
from .xray import METAL_PER_MM, attenuation_bins, transmit

FloatImage = npt.NDArray[np.float32]

_REDRAWS = 8


@dataclass(frozen=True)
class Run:
    """One simulated run.

    Attributes
    ----------
    run_id : str
    plan : RunPlan
    frames : (T, H, W) uint16 ndarray
        Stored values, contrast dark (MONOCHROME1 files hold their inverse).
    region : (H, W) bool ndarray
        Inside the collimator.
    labels : dict
        The nine labels, see :func:`~ClaireDSALib.simulator.labels.nine_labels`.
    iodine : IodineRun
        Vessel truth; its frames are dropped to save memory.
    opacity : (H, W) float32 ndarray
        Noise-free opacity over time (the perfect subtracted MinIP, contrast positive). Vessels of a run that is
        delivered subtracted lie where the patient moved them, as in its pixels; those of an unsubtracted run where they
        lie in the mask, as after motion correction.
    visible, arteries_shown, veins_shown : (H, W) bool ndarray
        Vessels that the MinIP can show, see :func:`~ClaireDSALib.simulator.shown_vessels.shown_vessels`; arteries and
        veins may overlap.
    devices_shown : (H, W) bool ndarray
        Where a labelled device stands out, see :func:`~ClaireDSALib.simulator.labels.devices_shown`.
    motion : Motion or None
    quality : dict
        Artefact level, noise, contrast-to-noise ratio and a score from 0 to 1.
    device_kinds : tuple of str
        Everything placed in the field, also what subtraction hides.
    pair_key : str
        Equal for views of one injection (biplane) and for twins: see ``relations``.
    relations : dict
        ``biplane``, ``twin``, ``stage`` keys that tie runs of a case together.
    """

    run_id: str
    plan: RunPlan
    frames: npt.NDArray[np.uint16]
    region: npt.NDArray[np.bool_]
    labels: dict[str, str | None]
    iodine: IodineRun
    opacity: FloatImage
    visible: npt.NDArray[np.bool_]
    arteries_shown: npt.NDArray[np.bool_]
    veins_shown: npt.NDArray[np.bool_]
    devices_shown: npt.NDArray[np.bool_]
    motion: Motion | None
    quality: dict[str, float]
    device_kinds: tuple[str, ...]
    relations: dict[str, str] = field(default_factory=dict)

    @property
    def subtractable(self) -> bool:
        """True for unsubtracted runs with a frame before the contrast."""
        return self.plan.delivery == "unsubtracted" and bool(self.plan.mask_frames) and len(self.frames) > 1


@dataclass(frozen=True)
class Case:
    """One patient with the runs taken of it."""

    seed: int
    anatomy: Anatomy
    runs: tuple[Run, ...]

    def write_dicom(self, folder: Path | str, **options: Any) -> list[Path]:
        """Write every run as XA DICOM with truth beside it; see :func:`ClaireDSALib.simulator.dicom.write_case`."""
        from .dicom import write_case

        return write_case(self, Path(folder), **options)


class Patient:
    """An anatomy with its bodies and projections, kept for all runs of the patient."""

    def __init__(self, seed: int, *, anatomy_dir: Path | None = None, head_ct: Path | None = None) -> None:
        self.seed = seed
        self.anatomy = simulate_anatomy(seed, anatomy_dir=anatomy_dir)
        self._head_ct = head_ct
        self._bodies: dict[str, Body] = {}
        self._projectors: dict[tuple[Any, ...], Projector] = {}
        self._layers: dict[tuple[Any, ...], BodyLayers] = {}

    def body(self, body_part: str) -> Body:
        """The voxels behind a body part."""
        kind = body_part if body_part in ("arch", "groin") else "head"
        if kind not in self._bodies:
            self._bodies[kind] = self._build(kind)
        return self._bodies[kind]

    def layers(self, plan: RunPlan) -> BodyLayers:
        """Path lengths behind a view, on its detector grid."""
        key = (plan.body_part in ("arch", "groin") and plan.body_part, plan.view)
        if key not in self._layers:
            self._forget(self._layers)
            layers = self.body(plan.body_part).cast(plan.view).resized(plan.view.shape)
            self._layers[key] = _with_trabeculae(layers, np.random.default_rng([self.seed, 11]))
        return self._layers[key]

    def projector(self, plan: RunPlan) -> Projector:
        """Projected vessels of a view."""
        key = (plan.body_part == "groin", plan.view)
        if key not in self._projectors:
            self._forget(self._projectors)
            self._projectors[key] = Projector(self.anatomy, plan.view)
        return self._projectors[key]

    def _build(self, kind: str) -> Body:
        if kind == "arch":
            return chest(self.seed)
        if kind == "groin":
            return groin(self.seed)
        if self._head_ct is not None:
            from .head_ct import ct_head

            return ct_head(self._head_ct, self.anatomy.brain_centre_mm, self.anatomy.brain_radii_mm, self.seed)
        return procedural_head(self.seed, self.anatomy.brain_centre_mm, self.anatomy.brain_radii_mm)

    @staticmethod
    def _forget(cache: dict[Any, Any]) -> None:
        """Keep the last three views: runs of one view follow each other."""
        while len(cache) > 2:
            cache.pop(next(iter(cache)))


def take_run(
    patient: Patient, plan: RunPlan, run_id: str, relations: dict[str, str] | None = None, *, device: str = "cpu"
) -> Run:
    """Simulate one run, its detector on ``device``.

    The same patient, plan and ``run_id`` give the same run to the last bit.
    """
    rng = np.random.default_rng([plan.seed, 5])
    layers = patient.layers(plan)
    devices = _place_devices(patient.anatomy, plan)
    static = total_thickness_mm([d for d in devices if not d.moves], plan.view)
    late = total_thickness_mm([d for d in devices if d.moves], plan.view)
    region = plan.collimator.valid_region(plan.view.shape)
    motion = _fit(plan, layers, static, region, rng)
    vessels_move = motion is not None and plan.delivery == "subtracted"
    iodine = patient.projector(plan).render(
        plan.injection,
        plan.occlusion,
        times_s=plan.times_s,
        carried=partial(carried, motion=motion, spacing_mm=plan.view.isocentre_spacing_mm) if vessels_move else None,
    )
    frames = iodine.frames if plan.contrast else np.zeros_like(iodine.frames)
    if plan.roadmap:
        frames = np.maximum(frames.max(0)[None] * 0.9, frames) if len(frames) > 1 else frames
        frames[1:] *= 0.05
    exposed = expose(
        layers,
        frames,
        static,
        late,
        1,
        motion,
        plan.collimator,
        plan.detector,
        plan.view.isocentre_spacing_mm,
        rng,
        device,
        opacity_moves=vessels_move,
    )
    delivered = deliver(exposed, plan.look, plan.delivery, plan.mask_frames or (0,), rng)
    stored = delivered.stored
    if plan.single_frame:
        stored, iodine, plan, motion = _keep_one(stored, frames, iodine, plan, motion)
    if plan.marks:
        burn_marks(stored, rng, plan.look.max_value)
    beam = exposed.beam
    opacity = beam.detected(exposed.opacity) * delivered.kept(beam.counts(), beam.counts(exposed.opacity))
    noise = beam.noise(exposed.opacity)
    device_opacity = _device_opacity(devices, plan, motion, beam, delivered)
    shown = Shown(opacity, region, device_opacity, noise, exposed.artefact)
    anatomy = patient.anatomy
    vault = 0.0
    if plan.body_part in ("head", "neck"):
        vault = vault_shown(plan.view, anatomy.brain_centre_mm, anatomy.brain_radii_mm, region)
    labels = nine_labels(
        plan.view,
        plan.body_part,
        plan.injection.vessel,
        plan.injection.side,
        plan.delivery == "subtracted",
        vault,
        shown,
    )
    dark = plan.contrast and not plan.roadmap  # a roadmap's mask holds the contrast: vessels are bright
    blur = plan.detector.blur_px
    arteries, veins = shown_vessels(iodine, opacity, noise, region, contrast=dark, blur_px=blur)
    return Run(
        run_id=run_id,
        plan=plan,
        frames=stored,
        region=region,
        labels=labels,
        iodine=replace(iodine, frames=np.empty((0, *plan.view.shape), np.float32)),
        opacity=exposed.opacity,
        visible=arteries | veins,
        arteries_shown=arteries,
        veins_shown=veins,
        devices_shown=devices_shown(shown),
        motion=motion,
        quality=_quality(exposed, opacity),
        device_kinds=tuple(d.kind for d in devices),
        relations=relations or {},
    )


def simulate_case(
    seed: int,
    *,
    runs: int = 10,
    size: int = 384,
    anatomy_dir: Path | None = None,
    head_ct: Path | None = None,
    vendor: str | None = None,
    device: str = "cpu",
) -> Case:
    """Simulate a patient with independent runs, views used twice, and occluded/open twins.

    Parameters
    ----------
    seed : int
        The same seed gives the same case on the same kind of machine.
    runs : int
        Runs to take; views are used for two runs each, which saves a third of the time.
    size : int
        Rows and columns.
    anatomy_dir : Path or None
        SWC files of real arterial trees; None for procedural ones.
    head_ct : Path or None
        Head CT for the background; None for the procedural head.
    vendor : str or None
        Name of a look in ``vendor.LOOKS``; None mixes them.
    device : "cpu" or "cuda"
        Where the detector is computed; cases differ in their noise between devices.

    Returns
    -------
    Case

    Examples
    --------
    >>> case = simulate_case(1, runs=2, size=64)
    >>> len(case.runs)
    2
    """
    patient = Patient(seed, anatomy_dir=anatomy_dir, head_ct=head_ct)
    return Case(seed, patient.anatomy, tuple(iterate_runs(patient, runs=runs, size=size, vendor=vendor, device=device)))


def iterate_runs(
    patient: Patient, *, runs: int, size: int, vendor: str | None = None, device: str = "cpu"
) -> Iterator[Run]:
    """Yield the runs of :func:`simulate_case` one at a time."""
    rng = np.random.default_rng([patient.seed, 6])
    for number in range(0, runs, 2):
        first, second, kind = pair_of_plans(rng, patient, size, vendor)
        for offset, plan in enumerate((first, second)):
            if number + offset < runs:
                relations = {"view": f"{patient.seed}-{number // 2}", kind: f"{patient.seed}-{number // 2}"}
                yield take_run(patient, plan, f"run{number + offset:02d}", relations, device=device)


def pair_of_plans(
    rng: np.random.Generator, patient: Patient, size: int, vendor: str | None
) -> tuple[RunPlan, RunPlan, str]:
    """Two runs: twins that differ in the clot alone, two views of one injection, or two runs of one view."""
    first = draw_plan(rng, size=size, vendor=vendor)
    for _ in range(_REDRAWS):
        region = first.collimator.valid_region(first.view.shape)
        share = vault_shown(first.view, patient.anatomy.brain_centre_mm, patient.anatomy.brain_radii_mm, region)
        if first.body_part != "head" or not vault_is_ambiguous(share):
            break
        first = draw_plan(rng, size=size, vendor=vendor, body_part=first.body_part)
    if first.thrombus_possible and rng.random() < 0.5:
        clot = first.occlusion
        while clot.site == "none":
            clot = _certain_clot(rng, first)
        pair = [replace(first, occlusion=clot), replace(first, occlusion=replace(clot, site="none"))]
        if rng.random() < 0.5:
            pair.reverse()
        return pair[0], pair[1], "twin"
    if first.body_part == "head" and rng.random() < 0.35:
        return first, _other_plane(rng, first, size), "biplane"
    second = draw_plan(
        rng, size=size, vendor=vendor, body_part=first.body_part, view=first.view,
        vessel=None if first.body_part == "head" else first.injection.vessel, side=None,
    )  # fmt: skip
    if vault_is_ambiguous(
        vault_shown(
            second.view,
            patient.anatomy.brain_centre_mm,
            patient.anatomy.brain_radii_mm,
            second.collimator.valid_region(second.view.shape),
        )
    ):
        second = replace(second, collimator=first.collimator)
    return first, second, "same_view"


def _other_plane(rng: np.random.Generator, first: RunPlan, size: int) -> RunPlan:
    """The second plane of a biplane run: about 90 degrees away, taken at the same times."""
    turn = 90.0 if first.view.primary_deg < 45 else -90.0
    fresh = draw_plan(rng, size=size, body_part="head")
    view = replace(
        fresh.view,
        primary_deg=first.view.primary_deg + turn + float(rng.normal(0, 3)),
        secondary_deg=float(rng.normal(0, 3)),
        isocentre_mm=first.view.isocentre_mm,
        pose=first.view.pose,
    )
    return replace(
        first, seed=fresh.seed, view=view, collimator=fresh.collimator, detector=fresh.detector, marks=fresh.marks
    )


def _certain_clot(rng: np.random.Generator, plan: RunPlan):
    """An occlusion for certain."""
    return draw_occlusion(rng, plan, share=1.1)


def _keep_one(stored, contrast, iodine: IodineRun, plan: RunPlan, motion: Motion | None):
    """Hand over the frame with the most contrast alone; without a mask it cannot be subtracted any more."""
    best = max(1, int(contrast.sum((1, 2)).argmax())) if len(stored) > 1 else 0
    moved = None
    if motion is not None:
        moved = Motion(
            motion.kind,
            motion.shift_mm[best : best + 1],
            motion.rotation_deg[best : best + 1],
            motion.local,
            motion.parallax,
        )
    alone = replace(plan, times_s=np.zeros(1), mask_frames=() if plan.delivery == "unsubtracted" else plan.mask_frames)
    return stored[best : best + 1], replace(iodine, phases=iodine.phases[best : best + 1]), alone, moved


def _with_trabeculae(layers: BodyLayers, rng: np.random.Generator) -> BodyLayers:
    """Fine structure of bone that voxels are too coarse for, separately in the two halves."""
    shape = layers.soft_mm.shape
    far, near = (1 + rng.uniform(0.02, 0.045) * fractal_image(rng, shape, rng.uniform(1.3, 2.0)) for _ in range(2))
    return BodyLayers(layers.soft_mm, layers.bone_far_mm * far, layers.bone_near_mm * near)


def _place_devices(anatomy: Anatomy, plan: RunPlan) -> list[Device]:
    own = np.random.default_rng([plan.seed, 8])
    placed = [make_device(kind, anatomy, plan.injection, own) for kind in plan.devices]
    placed.append(catheter(anatomy, plan.injection, own))
    if plan.fillings and plan.body_part in ("head", "neck"):
        filled = fillings(anatomy, own)
        placed += [filled] if filled is not None else []
    return placed


def _fit(
    plan: RunPlan, layers: BodyLayers, static: FloatImage, region: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Motion | None:
    if len(plan.times_s) < 2:
        return None
    motion = draw_motion(
        rng, plan.motion_kind, plan.times_s, plan.view, float(plan.times_s[max(plan.mask_frames, default=0)])
    )
    log_air = -np.log(np.maximum(transmit(attenuation_bins(layers, static)), 1e-20))
    return fit_motion(motion, plan.motion_grade, log_air, region, plan.view.isocentre_spacing_mm, rng)[0]


def _device_opacity(
    devices: list[Device], plan: RunPlan, motion: Motion | None, beam: Beam, delivered: Delivered
) -> FloatImage:
    """What of the labelled devices is detected and delivered: all of it, or what changed since the mask."""
    labelled = [d for d in devices if d.kind not in ("catheter", "filling")]
    moving = np.float32(METAL_PER_MM[1]) * total_thickness_mm([d for d in labelled if d.moves], plan.view)
    static = np.float32(METAL_PER_MM[1]) * total_thickness_mm([d for d in labelled if not d.moves], plan.view)
    if plan.delivery == "unsubtracted":
        return beam.detected(moving, removed=static) * delivered.kept(beam.counts(-static), beam.counts(moving))
    if motion is None:
        return moving * 0
    frame = int(np.argmax(np.abs(motion.shift_mm).sum(1)))
    from .motion import shift_image

    left = shift_image(static, motion, frame, plan.view.isocentre_spacing_mm) - static
    return beam.detected(moving + left)


def _quality(exposed: Exposed, detected: FloatImage) -> dict[str, float]:
    inside = detected[exposed.region]
    strength = float(np.percentile(inside, 99)) if inside.size else 0.0
    ratio = strength / max(exposed.noise, 1e-6)
    motion = min(exposed.artefact / 0.4, 1.0)
    score = (1 - 0.6 * motion) * (1 - np.exp(-ratio / 6.0))
    return {
        "artefact": round(exposed.artefact, 5),
        "noise": round(exposed.noise, 5),
        "contrast_to_noise": round(ratio, 3),
        "score": round(float(score), 4),
    }
