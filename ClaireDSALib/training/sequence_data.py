"""Simulated biplane pairs for the sequence network: occluded and open twins of the same injection.

Twins differ in nothing but the clot, so that neither dose nor view nor timing tells the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ClaireDSALib.dsa.subtraction import subtract
from ClaireDSALib.models.networks.sequence_net import PHASES
from ClaireDSALib.models.sequence_input import choose_frames, normalise, shrink
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.case import Patient, Run, take_run
from ClaireDSALib.simulator.occlusion import NO_OCCLUSION, Occlusion
from ClaireDSALib.simulator.plan import RunPlan, draw_occlusion, draw_plan
from ClaireDSALib.training.sequence_examples import SequenceExample, pack, save_examples

STACK_PX = 160
"""Side of the stored frames; the network's maps have it too."""


@dataclass(frozen=True)
class SequenceDataPlan:
    """What to generate: ``patients`` files of ``2 * injections * (1 + clots)`` runs, seeds from ``first_seed`` on.

    Every injection is seen in two views, open and with each of ``clots`` different occlusions.
    """

    folder: Path
    patients: int
    first_seed: int = 0
    injections: int = 3
    clots: int = 1
    size_px: int = 256


def generate(plan: SequenceDataPlan, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
    """Write ``<seed>.npz`` per patient; patients that are there already are left alone."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(plan.first_seed, plan.first_seed + plan.patients)
    todo = [seed for seed in seeds if not _path(plan, seed).exists()]
    for number, _ in enumerate(_mapped(plan, todo, workers), plan.patients - len(todo) + 1):
        if progress is not None:
            progress(number, plan.patients)


def simulate_patient(seed: int, injections: int, size_px: int, clots: int = 1) -> Iterator[SequenceExample]:
    """Runs of one patient: for every injection two views, each open and with ``clots`` occlusions."""
    rng = np.random.default_rng([seed, 77])
    patient = Patient(seed)
    for number in range(injections):
        for run in _twins(rng, patient, size_px, number, clots):
            yield example_of(run, f"{seed}")


def example_of(run: Run, patient: str) -> SequenceExample:
    """Prepare one simulated run the way inference prepares a real one."""
    series = series_of(run)
    kept = choose_frames(series.times_s)
    frames = subtract(series)
    stack = np.stack([shrink(frames.read(int(i)), STACK_PX) for i in kept])
    height = run.opacity.shape[0]
    site = (np.nan, np.nan)
    if run.iodine.site_px is not None:
        row, column = ((p + 0.5) * STACK_PX / height - 0.5 for p in run.iodine.site_px)
        if 0 <= row < STACK_PX and 0 <= column < STACK_PX:
            site = (float(row), float(column))
    return SequenceExample(
        stack=pack(normalise(stack)),
        times_s=np.asarray(series.times_s)[kept],
        phases=np.array([PHASES.index(run.iodine.phases[int(i)]) for i in kept], np.int8),
        thrombus=run.iodine.site_px is not None,
        site=site,
        territory=_cells(run.iodine.territory_missing, STACK_PX // 4),
        patient=patient,
        view=series.geometry.view,
        site_name=run.plan.occlusion.site if run.iodine.site_px is not None else "none",
        pair=run.relations["pair"],
        pixel_mm=run.plan.view.isocentre_spacing_mm * height / STACK_PX,
        missing_mm2=float((run.iodine.territory_missing * run.region).sum() * run.plan.view.isocentre_spacing_mm**2),
    )


def _twins(rng: np.random.Generator, patient: Patient, size_px: int, number: int, clots: int) -> Iterator[Run]:
    """Runs of one injection; a clot that the injection does not reach would be its open twin again and is left out."""
    base = _base_plan(rng, size_px)
    views = [base.view, _turned(rng, base, size_px)]
    seeds = rng.integers(2**31, size=2)
    for name, occlusion in _occlusions(rng, base, clots).items():
        for view, seed in zip(views, seeds, strict=True):
            plan = replace(base, view=view, occlusion=occlusion, seed=int(seed))
            pair = f"{patient.seed}-{number}-{name}"
            run = take_run(patient, plan, f"{pair}-{plan.view.primary_deg:.0f}", {"pair": pair})
            if run.iodine.site_px is not None or occlusion is NO_OCCLUSION:
                yield run


def _occlusions(rng: np.random.Generator, plan: RunPlan, clots: int) -> dict[str, Occlusion]:
    """``open`` and ``clot``, ``clot1`` ... at different sites."""
    found = {"clot": draw_occlusion(rng, plan, share=1.0)}
    while len(found) < min(clots, 3):
        another = draw_occlusion(rng, plan, share=1.0)
        if another.site not in {one.site for one in found.values()}:
            found[f"clot{len(found)}"] = another
    return {"open": NO_OCCLUSION, **found}


def _base_plan(rng: np.random.Generator, size_px: int) -> RunPlan:
    """A run in which a clot could be seen: contrast, head, at least six frames, no worse than mild motion."""
    while True:
        vessel = str(rng.choice(["ICA", "ICA", "CCA", "VA"]))
        plan = draw_plan(rng, size=size_px, body_part="head", vessel=vessel)
        is_ap = abs(plan.view.primary_deg) < 15
        width_mm = plan.view.isocentre_spacing_mm * size_px
        if plan.thrombus_possible and len(plan.times_s) >= 6 and is_ap and width_mm > 170 and not plan.roadmap:
            grade = "mild" if rng.random() < 0.4 else "none"
            return replace(plan, motion_grade=grade, mask_frames=plan.mask_frames or (0,), single_frame=False)  # type: ignore[arg-type]


def _turned(rng: np.random.Generator, plan: RunPlan, size_px: int):
    fresh = draw_plan(rng, size=size_px, body_part="head").view
    turn = float(rng.choice([-90.0, 90.0]))
    return replace(
        plan.view,
        primary_deg=turn + float(rng.normal(0, 3)),
        secondary_deg=float(rng.normal(0, 3)),
        sid_mm=fresh.sid_mm,
        detector_pitch_mm=plan.view.detector_pitch_mm * fresh.sid_mm / plan.view.sid_mm,
    )


def _cells(missing: npt.NDArray[np.float32], cells: int) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray(np.ascontiguousarray(missing, np.float32)).resize((cells, cells), Image.Resampling.BOX)
    return np.round(np.clip(np.asarray(picture), 0, 1) * 255).astype(np.uint8)


def _path(plan: SequenceDataPlan, seed: int) -> Path:
    return plan.folder / f"{seed:07d}.npz"


def _mapped(plan: SequenceDataPlan, seeds: list[int], workers: int) -> Iterator[None]:
    jobs = [(plan, seed) for seed in seeds]
    if workers <= 1:
        yield from map(_one, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_one, jobs)


def _one(job: tuple[SequenceDataPlan, int]) -> None:
    plan, seed = job
    save_examples(_path(plan, seed), list(simulate_patient(seed, plan.injections, plan.size_px, plan.clots)))
