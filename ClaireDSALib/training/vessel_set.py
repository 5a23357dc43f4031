"""A simulated set for the vessel networks: head runs with peak opacity, frames once a second and exact truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.frame_evidence import frame_evidence
from ClaireDSALib.dsa.motion import CorrectedFrames, correct_motion
from ClaireDSALib.dsa.opacity_frames import OpacityArray
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.subtraction import SubtractedFrames, subtract
from ClaireDSALib.models.longer_side import resized
from ClaireDSALib.models.vessel_input import RELATIVE_RANGE, strongest_opacity
from ClaireDSALib.models.vessel_sequence import course_of_run, one_per_second
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.training.simulated_set import draw_look, draw_patient, draw_split, simulate_missing

if TYPE_CHECKING:
    from ClaireDSALib.simulator.case import Run
    from ClaireDSALib.simulator.plan import RunPlan

UNSEEN_SHARE = 0.5
"""Share of test patients with the look that no other patient has."""
SPLITS = (("train", 0.72), ("validation", 0.82), ("test", 1.0))
SIZES_PX, SIZE_SHARES = (384, 512, 768), (0.55, 0.3, 0.15)
SEQUENCE_PX = 384
"""Runs of this size keep their frames."""

_RUNS_PER_VIEW = 2
_HEAD_SHARE = 0.3
_WITHOUT_CONTRAST_KEPT = 0.6
_SEVERE_KEPT = 0.5


@dataclass(frozen=True)
class VesselSetPlan:
    """What to simulate.

    Parameters
    ----------
    folder : Path
    patients : int
    seed : int
        First patient's seed.
    runs : int
        Runs per patient.
    anatomy : Path, optional
        Folder with SWC trees and head CTs, searched with its sub-folders.
    sizes_px : tuple of int, optional
        Sizes to draw from instead of ``SIZES_PX``.
    """

    folder: Path
    patients: int = 100
    seed: int = 7_000_000
    runs: int = 8
    anatomy: Path | None = None
    sizes_px: tuple[int, ...] = ()


def make_vessel_set(plan: VesselSetPlan, progress: Callable[[int, int], None] = lambda _i, _n: None) -> Path:
    """Simulate what is missing and return the folder; patients stand in the index completely or not at all.

    Every run becomes ``runs/<seed>_<run>.npz`` with ``peak`` (H, W) float16 peak opacity as the analysis computes it,
    after motion correction where the patient moved and the mask can be moved along, ``region`` (H, W) bool,
    ``vessels`` (3, H, W) bool (vessel, artery, vein that the MinIP shows), ``course`` (4, H, W) float16 (what the
    frames tell beside their peak, relative to its 99.5th percentile), ``evidence`` (28,) float32 (before motion
    correction) and ``frames`` (N, h, w) uint8, opacity once a second at 384 px or less (see :func:`packed`). One
    line of ``index.jsonl`` describes it: patient, split, vendor look, motion, quality, spacing, size, injected vessel.
    Runs whose mask already holds contrast are left out: what they show dark is not what the truth says.
    """
    seeds = range(plan.seed, plan.seed + plan.patients)
    return simulate_missing(plan.folder, seeds, partial(_simulate, plan), progress)


def packed(opacity: npt.NDArray[np.floating], peak: float) -> npt.NDArray[np.uint8]:
    """Opacity relative to ``peak``, -0.5 to 1.5, in 256 steps; same shape."""
    return np.round(np.clip(opacity / max(peak, 1e-6) + 0.5, 0, 2) * 127.5).astype(np.uint8)


def unpacked(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Relative opacity of :func:`packed` frames."""
    return frames.astype(np.float32) / np.float32(127.5) - np.float32(0.5)


def _simulate(plan: VesselSetPlan, seed: int) -> list[dict[str, Any]]:
    from ClaireDSALib.simulator.case import take_run

    rng = np.random.default_rng([seed, 91])
    split = draw_split(SPLITS, rng)
    patient = draw_patient(seed, split, rng, anatomy=plan.anatomy, head_share=_HEAD_SHARE)
    look = draw_look(split, rng, unseen_share=UNSEEN_SHARE)
    lines = []
    for number, run_plan in enumerate(_plans(plan, look, rng)):
        run = take_run(patient, run_plan, f"run{number:02d}")
        pictures = _pictures(run)
        if pictures is None or run_plan.injection.start_s < 0:
            continue
        name = f"runs/{seed}_run{number:02d}.npz"
        np.savez_compressed(plan.folder / name, **pictures)
        line = {"npz": name, "patient": str(seed), "split": split, "vendor": run.plan.look.name}
        line |= {"anatomy_id": patient.anatomy.anatomy_id, "quality": run.quality, "motion": run.plan.motion_grade}
        line |= {"spacing_mm": run.plan.view.isocentre_spacing_mm, "size_px": run.frames.shape[1]}
        line |= {"contrast": run.plan.contrast, "injected": run.plan.injection.vessel, "labels": run.labels}
        lines.append(line | {"duration_s": float(run.plan.times_s[-1])})
    return lines


def _plans(plan: VesselSetPlan, look: str, rng: np.random.Generator) -> Iterator[RunPlan]:
    """Head runs, each view used twice; fewer without contrast and with severe motion than chance would give."""
    view = None
    for number in range(plan.runs):
        if number % _RUNS_PER_VIEW == 0:
            size = int(rng.choice(plan.sizes_px) if plan.sizes_px else rng.choice(SIZES_PX, p=SIZE_SHARES))
            view = None
        run = _draw(rng, look, size, view)
        view = run.view
        yield run


def _draw(rng: np.random.Generator, look: str, size: int, view: Any) -> RunPlan:
    from ClaireDSALib.simulator.plan import draw_plan

    while True:
        run = draw_plan(rng, size=size, vendor=look, body_part="head", view=view)
        if run.contrast or rng.random() < _WITHOUT_CONTRAST_KEPT:
            break
    if run.motion_grade == "severe" and rng.random() > _SEVERE_KEPT:
        run = replace(run, motion_grade="none")
    return replace(run, single_frame=False, roadmap=False)


def _pictures(run: Run) -> dict[str, Any] | None:
    if not (run.subtractable or run.plan.delivery == "subtracted"):
        return None
    series = series_of(run)
    vessels = np.stack([run.visible, run.arteries_shown, run.veins_shown])
    evidence = frame_evidence(subtract(series), run.region)
    frames = _opacity(run, series)
    opacity = OpacityArray(np.stack([frames.read(index) for index in range(series.n_frames)]))
    peak = opacity.peak(range(series.n_frames))
    pictures = {"peak": peak.astype(np.float16), "region": run.region, "vessels": vessels}
    strongest = strongest_opacity(peak)
    course = np.clip(course_of_run(opacity, series.times_s) / strongest, *RELATIVE_RANGE)
    pictures["course"] = course.astype(np.float16)
    if evidence is not None:
        pictures["evidence"] = evidence
    samples = [resized(sample, min(SEQUENCE_PX, max(peak.shape))) for sample in one_per_second(opacity, series.times_s)]
    pictures["frames"] = np.stack([packed(sample, strongest) for sample in samples])
    return pictures


def _opacity(run: Run, series: DsaSeries) -> SubtractedFrames | CorrectedFrames:
    """Subtracted frames; of a patient who moved, after motion correction, as the analysis does when it sees motion."""
    subtracted = subtract(series)
    return subtracted if run.plan.motion_grade == "none" else correct_motion(subtracted).frames
