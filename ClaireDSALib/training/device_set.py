"""A simulated set for finding devices: the brightest picture of unsubtracted runs, and where devices stand out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ClaireDSALib.dsa.projection import brightest
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.training.simulated_set import draw_look, draw_patient, draw_split, simulate_missing

if TYPE_CHECKING:
    from ClaireDSALib.simulator.plan import RunPlan

SIZES_PX = (384, 512, 768)
SIZE_SHARES = (0.35, 0.4, 0.25)
SPLITS = (("train", 0.9), ("validation", 1.0))
"""Test patients are those of the label set, whose unseen look these never have."""

_HEAD_SHARE = 0.45
_RUNS_PER_VIEW = 6


@dataclass(frozen=True)
class DeviceSetPlan:
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
    sizes_px : tuple of int
        Sides of the pictures, for every view one; by default a mixture of 384, 512 and 768.
    """

    folder: Path
    patients: int = 300
    seed: int = 9_000_000
    runs: int = 12
    anatomy: Path | None = None
    sizes_px: tuple[int, ...] = ()


def make_device_set(
    plan: DeviceSetPlan, progress: Callable[[int, int], None] = lambda _i, _n: None, *, workers: int = 1
) -> Path:
    """Simulate what is missing and return the folder; patients stand in the index completely or not at all.

    Every run becomes ``runs/<seed>_<run>.npz`` with ``brightest`` (H, W), its largest stored value over time, the first
    frame left out, ``region`` (H, W) bool, and ``device`` (H, W) bool, where a labelled device stands out. One line of
    ``index.jsonl`` describes it: patient, split, vendor look, spacing, size, the kinds of devices placed, the labels.
    """
    seeds = range(plan.seed, plan.seed + plan.patients)
    return simulate_missing(plan.folder, seeds, partial(_simulate, plan), progress, workers=workers)


def _simulate(plan: DeviceSetPlan, seed: int) -> list[dict[str, Any]]:
    from ClaireDSALib.simulator.case import take_run

    rng = np.random.default_rng([seed, 97])
    split = draw_split(SPLITS, rng)
    patient = draw_patient(seed, split, rng, anatomy=plan.anatomy, head_share=_HEAD_SHARE)
    look = draw_look(split, rng, unseen_share=0.0)
    lines = []
    for number, run_plan in enumerate(_plans(plan, look, rng)):
        run = take_run(patient, run_plan, f"run{number:02d}")
        name = f"runs/{seed}_run{number:02d}.npz"
        pictures = {
            "brightest": brightest(series_of(run), workers=1),
            "region": run.region,
            "device": run.devices_shown,
        }
        np.savez_compressed(plan.folder / name, **pictures)
        line = {"npz": name, "patient": str(seed), "split": split, "vendor": run.plan.look.name}
        line |= {"anatomy_id": patient.anatomy.anatomy_id, "spacing_mm": run.plan.view.isocentre_spacing_mm}
        line |= {"size_px": run.frames.shape[1], "devices": list(run.device_kinds), "labels": run.labels}
        lines.append(line)
    return lines


def _plans(plan: DeviceSetPlan, look: str, rng: np.random.Generator) -> Iterator[RunPlan]:
    """Unsubtracted runs of two frames or more, each view used several times."""
    from ClaireDSALib.simulator.plan import draw_plan

    view, part = None, None
    for number in range(plan.runs):
        if number % _RUNS_PER_VIEW == 0:
            size = int(rng.choice(plan.sizes_px) if plan.sizes_px else rng.choice(SIZES_PX, p=SIZE_SHARES))
            view, part = None, None
        run = draw_plan(rng, size=size, vendor=look, body_part=part, view=view)
        view, part = run.view, run.body_part
        yield replace(run, delivery="unsubtracted", single_frame=False)
