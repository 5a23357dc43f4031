"""Simulated runs before and after treatment, with the true delay of the tissue and the truly reperfused share.

The clot either stays, goes, or moves on into a branch of the vessel it blocked, which gives every grade between.
Patient position, C-arm angles, dose and injection differ between the two runs as they do in practice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.area_mean import area_mean
from ClaireDSALib.dsa.subtraction import subtract
from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.case import Patient, Run, take_run
from ClaireDSALib.simulator.flow import ArterialFlow, arterial_flow
from ClaireDSALib.simulator.geometry import HeadPose, ViewGeometry
from ClaireDSALib.simulator.occlusion import Occlusion, occlude, occluded_node
from ClaireDSALib.simulator.parenchyma import Blush
from ClaireDSALib.simulator.plan import RunPlan, draw_detector, draw_plan
from ClaireDSALib.simulator.vessel_tree import VesselTree

DOWNSTREAM = {"ICA-T": ("M1", "M2", "M3", "A2"), "M1": ("M1", "M2", "M3"), "M2": ("M2", "M3")}
"""Where a clot of a site may move on to."""

_RATES: tuple[tuple[Literal["fixed", "variable"], float, int], ...] = (
    ("fixed", 1.5, 20), ("fixed", 2.0, 25), ("variable", 3.0, 19), ("variable", 4.0, 20),
)  # fmt: skip
"""Pattern, frames per second, frames: 12 to 15 s, long enough to see late collaterals."""

_TRIES = 24
_FAINT_BLUSH = 0.05
"""Share of undiluted contrast below which the tissue of a pixel counts as not reached."""

_THIN_TISSUE = 0.02
"""Of the thickest tissue in the view; thinner is outside the brain."""

_SMALLEST_TERRITORY = 0.04
"""Of the injected circulation; a smaller one is no target of a thrombectomy."""


@dataclass(frozen=True)
class ReperfusionPlan:
    """What to generate: one file per patient with an AP and a lateral pair of runs, before and after."""

    folder: Path
    patients: int
    first_seed: int = 5_000_000
    size_px: int = 256
    grid_px: int = 128


@dataclass(frozen=True)
class SimulatedRun:
    """One run on the grid of the maps.

    Attributes
    ----------
    opacity : (T, h, w) float32 ndarray
        Measured, with noise and motion.
    times_s : (T,) float64 ndarray
    background : (h, w) float32 ndarray
        Attenuation of the mask frame: bone, which the two runs have in common.
    delay_s : (h, w) float32 ndarray
        True delay of the tissue; NaN where no contrast arrives.
    missing : (h, w) float32 ndarray
        True share of tissue without antegrade flow, 0 to 1.
    tissue : (h, w) bool ndarray
        Where the blush is stronger than arteries and veins together.
    phases : (T,) tuple of str
    perfused_fraction : float
        True share of the injected circulation's tissue with antegrade flow.
    pixel_mm : float
        Of the grid, at the isocentre.
    view, site : str
    """

    opacity: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]
    background: npt.NDArray[np.float32]
    delay_s: npt.NDArray[np.float32]
    missing: npt.NDArray[np.float32]
    tissue: npt.NDArray[np.bool_]
    phases: tuple[str, ...]
    perfused_fraction: float
    pixel_mm: float
    view: str
    site: str


@dataclass(frozen=True)
class BeforeAfter:
    """Two runs of one view."""

    patient: str
    before: SimulatedRun
    after: SimulatedRun

    @property
    def reperfused_fraction(self) -> float:
        """True share of the lost tissue that has antegrade flow again, of the whole volume."""
        lost = 1 - self.before.perfused_fraction
        return float((self.after.perfused_fraction - self.before.perfused_fraction) / lost)


def generate(plan: ReperfusionPlan, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Write ``<seed>.npz`` per patient; patients that are there already are left alone."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    for number in range(plan.patients):
        path = plan.folder / f"{plan.first_seed + number:07d}.npz"
        if not path.exists():
            _save(path, list(simulate_patient(plan.first_seed + number, plan.size_px, plan.grid_px)))
        if progress is not None:
            progress(number + 1, plan.patients)


def simulate_patient(seed: int, size_px: int = 256, grid_px: int = 128) -> Iterator[BeforeAfter]:
    """The AP and the lateral pair of one patient; nothing when no clot of the kind fits the anatomy."""
    rng = np.random.default_rng([seed, 78])
    patient = Patient(seed)
    base = _base_plan(rng, size_px)
    clots = _clots(rng, patient, base)
    if clots is None:
        return
    injections = [replace(base.injection, start_s=float(rng.uniform(0.5, 1.2))) for _ in range(2)]
    injections[1] = replace(injections[1], rate_ml_s=base.injection.rate_ml_s * float(rng.uniform(0.85, 1.18)))
    poses = [_pose(rng) for _ in range(2)]
    for primary in (0.0, 90.0 if base.injection.side == "left" else -90.0):
        view = _view(rng, primary, size_px)
        runs = []
        for number, (clot, injection, pose) in enumerate(zip(clots, injections, poses, strict=True)):
            turned = _retaken(rng, view) if number else view
            plan = replace(
                base,
                view=replace(turned, pose=pose),
                occlusion=clot,
                injection=injection,
                seed=int(rng.integers(2**31)),
                detector=draw_detector(rng, size_px),
            )
            runs.append(_small(patient, take_run(patient, plan, f"{seed}-{primary:.0f}-{number}"), grid_px))
        yield BeforeAfter(f"{seed}", *runs)


def tissue_delay_s(patient: Patient, plan: RunPlan) -> npt.NDArray[np.float32]:
    """When contrast reaches the tissue behind each pixel: the truth that a Tmax map is held against.

    Parameters
    ----------
    patient : Patient
    plan : RunPlan
        With an injection into a carotid artery.

    Returns
    -------
    (H, W) float32 ndarray
        Seconds after contrast reached the carotid siphon, mean over the tissue along the ray weighted by its
        contrast; NaN where next to none arrives. How much a clot slows the trunk before it is left out on both sides
        of the difference.
    """
    tree = patient.anatomy.arteries_fed_by(plan.injection)
    flow = arterial_flow(patient.anatomy, plan.injection)
    node = occluded_node(tree, plan.occlusion)
    if node is not None and flow.fraction[node] > 0:
        flow = occlude(tree, flow, node, plan.occlusion)[0]
    blush = Blush(patient.anatomy.tissue(), plan.view)
    ends = blush.tissue.terminals
    fraction, arrival = flow.fraction[ends], flow.arrival_s[ends]
    contrast, moment, tissue = blush.render(
        np.column_stack([fraction, fraction * arrival, np.ones(len(ends))]).astype(np.float32)
    )
    trunk = tree.select("ICA", side=plan.injection.sign) & (flow.fraction > 0)
    start = float(flow.arrival_s[trunk].mean()) if trunk.any() else 0.0
    seen = contrast > np.maximum(_FAINT_BLUSH * tissue, _THIN_TISSUE * float(tissue.max()))
    return np.where(seen, moment / np.maximum(contrast, 1e-9) - start, np.nan).astype(np.float32)


def load_pairs(folder: Path) -> Iterator[BeforeAfter]:
    """All pairs of all ``*.npz`` in a folder, in the order of the file names."""
    for path in sorted(folder.glob("*.npz")):
        if path.name.endswith(".part.npz"):
            continue
        with np.load(path, allow_pickle=False) as data:
            for number in range(int(data["n"])):
                runs = [_loaded(data, f"{number}.{stage}") for stage in ("before", "after")]
                yield BeforeAfter(path.stem, *runs)


def _base_plan(rng: np.random.Generator, size_px: int) -> RunPlan:
    vessel = "ICA" if rng.random() < 0.85 else "CCA"
    drawn = draw_plan(rng, size=size_px, body_part="head", vessel=vessel)
    pattern, rate, frames = _RATES[int(rng.integers(len(_RATES)))]
    return replace(
        drawn,
        injection=replace(
            drawn.injection, reflux=0.0, rate_ml_s=float(rng.uniform(3.5, 6.5)), concentration_mg_ml=300.0, tip=0.2
        ),
        contrast=True,
        times_s=frame_times(pattern, frames, rate),
        delivery="unsubtracted",
        mask_frames=(0,),
        motion_grade="mild" if rng.random() < 0.3 else "none",
        devices=(),
        roadmap=False,
        single_frame=False,
        marks=False,
    )


def _clots(rng: np.random.Generator, patient: Patient, plan: RunPlan) -> tuple[Occlusion, Occlusion] | None:
    """The clot before, and what is left of it after treatment."""
    tree = patient.anatomy.arteries_fed_by(plan.injection)
    flow = arterial_flow(patient.anatomy, plan.injection)
    side, grade = plan.injection.side, int(rng.integers(0, 5))
    for _ in range(_TRIES):
        site = str(rng.choice(["ICA-T", "M1", "M2"], p=[0.2, 0.5, 0.3]))
        before = Occlusion(site, side, "complete", grade, float(rng.uniform(4, 14)), int(rng.integers(2**31)))  # type: ignore[arg-type]
        node = occluded_node(tree, before)
        if node is not None and flow.fraction[node] > 0 and _lost(patient, tree, flow, node) >= _SMALLEST_TERRITORY:
            break
    else:
        return None
    outcome = str(rng.choice(["open", "stays", "moves"], p=[0.2, 0.15, 0.65]))
    if outcome == "stays":
        return before, before
    after = replace(before, site="none")
    if outcome == "moves":
        wanted = float(rng.uniform(0.05, 0.95)) * _lost(patient, tree, flow, node)
        after = _moved_on(rng, tree, before, lambda reached: abs(_lost(patient, tree, flow, reached) - wanted), node)
    return before, after


def _moved_on(
    rng: np.random.Generator, tree: VesselTree, clot: Occlusion, distance: Callable[[int], float], node: int
) -> Occlusion:
    """The clot in a vessel behind the one it blocked, the drawn one whose territory comes nearest to what is wanted."""
    best, found = np.inf, replace(clot, site="none")
    below = tree.downstream(node)
    for _ in range(_TRIES):
        further = str(rng.choice(DOWNSTREAM[clot.site]))
        drawn = replace(clot, site=further, length_mm=5.0, seed=int(rng.integers(2**31)))  # type: ignore[arg-type]
        reached = occluded_node(tree, drawn)
        if reached is not None and reached != node and below[reached] and distance(reached) < best:
            best, found = distance(reached), drawn
    return found


def _lost(patient: Patient, tree: VesselTree, flow: ArterialFlow, node: int) -> float:
    tissue = patient.anatomy.tissue()
    native = flow.native[tissue.terminals]
    behind = tree.downstream(node)[tissue.terminals] & native
    return float(tissue.share[behind].sum() / max(tissue.share[native].sum(), 1e-9))


def _view(rng: np.random.Generator, primary: float, size_px: int) -> ViewGeometry:
    lateral = abs(primary) > 45
    sid, sod = float(rng.uniform(1050, 1220)), float(rng.uniform(700, 780))
    width_mm = float(rng.uniform(205, 250))
    return ViewGeometry(
        primary_deg=primary + float(rng.normal(0, 2.5)),
        secondary_deg=float(rng.normal(0, 2) if lateral else rng.normal(-8, 5)),
        sid_mm=sid,
        sod_mm=sod,
        shape=(size_px, size_px),
        detector_pitch_mm=width_mm * sid / sod / size_px,
        isocentre_mm=tuple(float(v) for v in rng.normal((0, 3, -12), (4, 5, 6))),  # type: ignore[arg-type]
    )


def _retaken(rng: np.random.Generator, view: ViewGeometry) -> ViewGeometry:
    """The same view after the table was moved and the C-arm came back to nearly the same place."""
    shift = rng.normal(0, 4, 3)
    zoom = float(rng.choice([1.0, 1.0, 1.12, 0.9]))
    return replace(
        view,
        primary_deg=view.primary_deg + float(rng.normal(0, 1.5)),
        secondary_deg=view.secondary_deg + float(rng.normal(0, 1.5)),
        detector_pitch_mm=view.detector_pitch_mm * zoom,
        isocentre_mm=tuple(float(a + b) for a, b in zip(view.isocentre_mm, shift, strict=True)),  # type: ignore[arg-type]
    )


def _pose(rng: np.random.Generator) -> HeadPose:
    return HeadPose(tuple(float(a) for a in rng.normal(0, (2.5, 1.5, 2.0))))  # type: ignore[arg-type]


def _small(patient: Patient, run: Run, grid_px: int) -> SimulatedRun:
    series = series_of(run)
    frames = subtract(series)
    factor = max(1, run.opacity.shape[0] // grid_px)
    delay = tissue_delay_s(patient, run.plan)
    iodine = run.iodine
    tissue = (iodine.blush_peak > iodine.artery_peak + iodine.vein_peak) & run.region
    return SimulatedRun(
        opacity=np.stack([area_mean(frames.read(i), factor) for i in range(series.n_frames)]),
        times_s=series.times_s,
        background=area_mean(frames.reference(series.n_frames - 1), factor),
        delay_s=delay[factor // 2 :: factor, factor // 2 :: factor],
        missing=area_mean(run.iodine.territory_missing, factor),
        tissue=area_mean(tissue, factor) > 0.6,
        phases=run.iodine.phases,
        perfused_fraction=float(run.iodine.perfused_fraction),
        pixel_mm=run.plan.view.isocentre_spacing_mm * factor,
        view=series.geometry.view,
        site=run.plan.occlusion.site if run.iodine.site_px is not None else "none",
    )


def _save(path: Path, pairs: list[BeforeAfter]) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, pair in enumerate(pairs):
        for stage in ("before", "after"):
            one: SimulatedRun = getattr(pair, stage)
            place = f"{number}.{stage}"
            arrays[f"{place}.opacity"] = one.opacity.astype(np.float16)
            arrays[f"{place}.times_s"] = one.times_s
            arrays[f"{place}.background"] = one.background.astype(np.float16)
            arrays[f"{place}.delay_s"] = one.delay_s.astype(np.float16)
            arrays[f"{place}.missing"] = one.missing.astype(np.float16)
            arrays[f"{place}.tissue"] = one.tissue
            arrays[f"{place}.numbers"] = np.array([one.perfused_fraction, one.pixel_mm])
            arrays[f"{place}.words"] = np.array([one.view, one.site, *one.phases])
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, n=np.asarray(len(pairs)), **arrays)
    temporary.replace(path)


def _loaded(data: Any, place: str) -> SimulatedRun:
    fraction, pixel_mm = (float(v) for v in data[f"{place}.numbers"])
    view, site, *phases = (str(word) for word in data[f"{place}.words"])
    return SimulatedRun(
        opacity=data[f"{place}.opacity"].astype(np.float32),
        times_s=data[f"{place}.times_s"],
        background=data[f"{place}.background"].astype(np.float32),
        delay_s=data[f"{place}.delay_s"].astype(np.float32),
        missing=data[f"{place}.missing"].astype(np.float32),
        tissue=data[f"{place}.tissue"],
        phases=tuple(phases),
        perfused_fraction=fraction,
        pixel_mm=pixel_mm,
        view=view,
        site=site,
    )
