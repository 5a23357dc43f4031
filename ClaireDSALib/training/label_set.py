"""A simulated set for the label bundle whose test part has unseen anatomies and an unseen vendor look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ClaireDSALib.dsa.frame_evidence import frame_evidence
from ClaireDSALib.dsa.projection import brightest
from ClaireDSALib.dsa.subtraction import subtract, subtracted_minip
from ClaireDSALib.models.vessel_input import RELATIVE_RANGE, strongest_opacity
from ClaireDSALib.models.vessel_sequence import course_of_run
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.training.simulated_set import UNSEEN_LOOK, draw_look, draw_patient, draw_split, simulate_missing

if TYPE_CHECKING:
    from ClaireDSALib.simulator.case import Run

UNSEEN_SHARE = 0.7
"""Share of test patients with the unseen look; the others show what the unseen anatomy alone costs."""
_SPLITS = (("train", 0.74), ("validation", 0.86), ("test", 1.0))
_HEAD_SHARE = 0.45


@dataclass(frozen=True)
class LabelSetPlan:
    """What to simulate.

    Parameters
    ----------
    folder : Path
    patients : int
    seed : int
        First patient's seed.
    runs : int
        Runs per patient.
    unseen : str
        Vendor look that only the test part has.
    size_px : int
    anatomy : Path, optional
        Folder with SWC trees and head CTs, searched with its sub-folders. Test patients never get the head CT.
    """

    folder: Path
    patients: int = 200
    seed: int = 1000
    runs: int = 8
    unseen: str = UNSEEN_LOOK
    size_px: int = 384
    anatomy: Path | None = None


def make_label_set(
    plan: LabelSetPlan, progress: Callable[[int, int], None] = lambda _i, _n: None, *, workers: int = 1
) -> Path:
    """Simulate what is missing and return the folder; patients stand in the index completely or not at all.

    Every run becomes ``runs/<seed>_<run>.npz`` with ``minip`` (H, W), ``region`` (H, W) bool and ``vessels``
    (3, H, W) bool (vessel, artery, vein; only what the MinIP can show). Where the run can be subtracted, there is
    ``peak`` (H, W) float16, its peak opacity as the analysis would compute it, and of three frames or more ``course``
    (4, H, W) float16, what they tell beside it relative to its 99.5th percentile, and ``evidence`` (28,) float32, see
    :func:`~ClaireDSALib.dsa.frame_evidence.frame_evidence`. Where it is stored unsubtracted, with more than one frame,
    there is ``brightest`` (H, W), its largest value over time. A run that is stored unsubtracted and can be subtracted
    stands in the index twice, as ``picture`` ``minip`` and ``subtracted``: the analysis looks at both.

    Raises
    ------
    ValueError
        When the unseen look does not exist.
    """
    from ClaireDSALib.simulator.vendor import LOOKS

    if plan.unseen not in LOOKS:
        msg = f"unknown vendor look {plan.unseen!r}; there are {sorted(LOOKS)}"
        raise ValueError(msg)
    seeds = range(plan.seed, plan.seed + plan.patients)
    return simulate_missing(plan.folder, seeds, partial(_simulate, plan), progress, workers=workers)


def _simulate(plan: LabelSetPlan, seed: int) -> list[dict[str, Any]]:
    from ClaireDSALib.simulator.case import iterate_runs

    rng = np.random.default_rng([seed, 77])
    split = draw_split(_SPLITS, rng)
    patient = draw_patient(seed, split, rng, anatomy=plan.anatomy, head_share=_HEAD_SHARE)
    look = draw_look(split, rng, unseen_share=UNSEEN_SHARE, unseen=plan.unseen)
    lines = []
    for run in iterate_runs(patient, runs=plan.runs, size=plan.size_px, vendor=look):
        name = f"runs/{seed}_{run.run_id}.npz"
        np.savez_compressed(plan.folder / name, **_pictures(run))
        line = {"npz": name, "patient": str(seed), "case_seed": seed, "split": split}
        line |= {"vendor": run.plan.look.name, "anatomy_id": patient.anatomy.anatomy_id, "quality": run.quality}
        line |= {"spacing_mm": run.plan.view.isocentre_spacing_mm, "motion": run.plan.motion_grade}
        lines += [line | {"picture": name, "labels": labels} for name, labels in labels_by_picture(run).items()]
    return lines


def labels_by_picture(run: Run) -> dict[str, dict[str, str | None]]:
    """What each picture of a run is labelled.

    Motion is an artefact of subtraction: a run that was not subtracted does not show it, so its stored picture has
    no answer (None). Subtraction takes devices away, so a subtracted picture has no answer about them.

    Returns
    -------
    dict
        ``minip`` and, for unsubtracted runs with a mask, ``subtracted``; each the nine labels.
    """
    if run.plan.delivery == "subtracted":
        return {"minip": run.labels | {"device": None}}
    pictures = {"minip": run.labels | {"motion_artefact": None}}
    if run.subtractable:
        pictures["subtracted"] = run.labels | {"subtraction": "subtracted", "device": None}
    return pictures


def _pictures(run: Run) -> dict[str, Any]:
    vessels = np.stack([run.visible, run.visible & run.iodine.artery_mask, run.visible & run.iodine.vein_mask])
    pictures = {"minip": run.frames.min(0), "region": run.region, "vessels": vessels}
    series = series_of(run)
    if run.plan.delivery == "unsubtracted" and series.n_frames > 1:
        pictures["brightest"] = brightest(series, workers=1)
    if run.subtractable or run.plan.delivery == "subtracted":
        frames = subtract(series)
        pictures["peak"] = subtracted_minip(series, frames=frames).astype(np.float16)
        evidence = frame_evidence(frames, run.region)
        if evidence is not None:
            pictures["evidence"] = evidence
            course = course_of_run(frames, series.times_s) / strongest_opacity(pictures["peak"].astype(np.float32))
            pictures["course"] = np.clip(course, *RELATIVE_RANGE).astype(np.float16)
    return pictures
