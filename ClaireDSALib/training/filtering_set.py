"""A mixed set of simulated runs, good and degraded, for measuring what filtering by suitability is worth.

Runs are drawn as :func:`ClaireDSALib.simulator.plan.draw_plan` draws them, with nothing chosen for this purpose: 78 %
of the head, 22 % of neck, arch and groin; one in six without contrast, one in eight of the others with a weak
injection, one in twenty late; motion none 42 %, mild 30 %, severe 28 %; 58 % delivered subtracted; 22 % oblique; 3 %
single pictures and 3 % road maps. How often real thrombectomies have each of these is not published; the paper's 42 %
success without a filter says that more than half of its runs were unusable, and so are about as many of these.

Every patient is new: other seeds than any training set, arterial trees of the test split alone, no scanned head, and
for half of them a vendor look that no label or vessel network has seen in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ClaireDSALib.dsa.frame_evidence import frame_evidence
from ClaireDSALib.dsa.motion import correct_motion
from ClaireDSALib.dsa.opacity_frames import OpacityFrames
from ClaireDSALib.dsa.projection import brightest, minip
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.subtraction import choose_mask, subtract
from ClaireDSALib.models.vessel_sequence import course_of_run
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.training.simulated_set import draw_look, draw_patient, simulate_missing

if TYPE_CHECKING:
    from ClaireDSALib.simulator.case import Run

FIRST_SEED = 8_000_000
_UNSEEN_SHARE = 0.5
_FEWEST_FRAMES = 4
"""With fewer, early and late parts of the passage mean nothing."""


@dataclass(frozen=True)
class FilteringSetPlan:
    """What to simulate.

    Parameters
    ----------
    folder : Path
    patients : int
    seed : int
        First patient's seed.
    runs : int
        Runs per patient.
    size_px : int
    anatomy : Path, optional
        Folder with SWC trees, searched with its sub-folders; procedural anatomy without.
    """

    folder: Path
    patients: int = 48
    seed: int = FIRST_SEED
    runs: int = 8
    size_px: int = 384
    anatomy: Path | None = None


def make_filtering_set(
    plan: FilteringSetPlan, progress: Callable[[int, int], None] = lambda _i, _n: None, *, workers: int = 1
) -> Path:
    """Simulate what is missing and return the folder; patients stand in the index completely or not at all.

    Every run becomes ``runs/<seed>_<run>.npz`` with what an analysis would have: ``minip`` (H, W) as stored,
    ``region`` (H, W) bool, of a run stored unsubtracted ``brightest`` (H, W), where the run can be subtracted ``peak``
    (H, W) float16, ``times`` (4, H, W) float16 and ``evidence`` (28,) float32 of its frames, where motion correction
    changes them ``corrected_peak`` and ``corrected_times`` beside them, and with the truth ``vessels`` (H, W) bool. One
    line of ``index.jsonl`` describes it.
    """
    seeds = range(plan.seed, plan.seed + plan.patients)
    return simulate_missing(plan.folder, seeds, partial(_simulate, plan), progress, workers=workers)


def _simulate(plan: FilteringSetPlan, seed: int) -> list[dict[str, Any]]:
    from ClaireDSALib.simulator.case import iterate_runs

    rng = np.random.default_rng([seed, 53])
    patient = draw_patient(seed, "test", rng, anatomy=plan.anatomy, head_share=0.0)
    look = draw_look("test", rng, unseen_share=_UNSEEN_SHARE)
    lines = []
    for run in iterate_runs(patient, runs=plan.runs, size=plan.size_px, vendor=look):
        name = f"runs/{seed}_{run.run_id}.npz"
        pictures, maskable = _pictures(run)
        np.savez_compressed(plan.folder / name, **pictures)
        lines.append(_line(run, name, seed, patient.anatomy.anatomy_id, maskable))
    return lines


def _pictures(run: Run) -> tuple[dict[str, Any], bool]:
    """Arrays of one run, and whether one of its own frames can serve as mask."""
    series = series_of(run)
    maskable = choose_mask(series) is not None
    pictures: dict[str, Any] = {"minip": minip(series, workers=1), "region": run.region, "vessels": run.visible}
    if run.plan.delivery != "subtracted" and series.n_frames > 1:
        pictures["brightest"] = brightest(series, workers=1)
    if maskable or run.plan.delivery == "subtracted":
        subtracted = subtract(series)
        pictures |= _projected(subtracted, series, "")
        evidence = frame_evidence(subtracted, series.valid_region)
        if evidence is not None:
            pictures["evidence"] = evidence
        correction = correct_motion(subtracted) if run.plan.motion_grade != "none" else None
        if correction is not None and correction.applied:
            pictures |= _projected(correction.frames, series, "corrected_")
    return pictures, maskable


def _projected(opacity: OpacityFrames, series: DsaSeries, prefix: str) -> dict[str, Any]:
    """Peak opacity and, of a run with enough frames, what they tell beside it."""
    peak = np.maximum.reduce([opacity.read(index) for index in range(series.n_frames)])
    pictures = {f"{prefix}peak": peak.astype(np.float16)}
    if series.n_frames >= _FEWEST_FRAMES:
        pictures[f"{prefix}times"] = course_of_run(opacity, series.times_s).astype(np.float16)
    return pictures


def _line(run: Run, name: str, seed: int, anatomy_id: str, maskable: bool) -> dict[str, Any]:
    plan = run.plan
    return {
        "npz": name,
        "patient": str(seed),
        "split": "test",
        "vendor": plan.look.name,
        "anatomy_id": anatomy_id,
        "labels": run.labels,
        "quality": run.quality,
        "delivery": plan.delivery,
        "maskable": maskable,
        "body_part": plan.body_part,
        "single_frame": plan.single_frame,
        "spacing_mm": plan.view.isocentre_spacing_mm,
    }
