"""Whole sets of simulated cases: resumable, split by patient, on several processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from .case import Case, Patient, iterate_runs
from .expose_torch import check_device
from .truth import facts, pictures, save_npz, write_truth

Format = Literal["npz", "dicom"]
INDEX_NAME = "index.jsonl"

_COARSEST_PIXEL_MM = 1.5
_COARSEST_SLICE_MM = 3.0

_SPLITS = (("train", 0.75), ("validation", 0.88), ("test", 1.0))


@dataclass(frozen=True)
class DatasetPlan:
    """What to generate.

    Parameters
    ----------
    folder : Path
    cases : int
        Patients.
    seed : int
        Patients get the seeds ``seed * 100000 + 0, 1, ...``.
    runs_per_case : int
    size : int
        Rows and columns.
    format : "npz" or "dicom"
    anatomy : Path or None
        Folder with SWC trees and head CTs (``*.nrrd``), searched with its sub-folders.
    vendor : str or None
        One named look for all; None mixes them.
    device : "cpu" or "cuda"
        Where the detector is computed.

    Raises
    ------
    ValueError
        When counts are not positive or the format is unknown.
    """

    folder: Path
    cases: int
    seed: int = 0
    runs_per_case: int = 10
    size: int = 384
    format: Format = "npz"
    anatomy: Path | None = None
    vendor: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_device(self.device)
        if min(self.cases, self.runs_per_case) < 1 or self.size < 32:
            given = (self.cases, self.runs_per_case, self.size)
            msg = f"cases and runs_per_case must be at least 1 and size at least 32; got {given}"
            raise ValueError(msg)
        if self.format not in ("npz", "dicom"):
            msg = f"format must be npz or dicom; got {self.format!r}"
            raise ValueError(msg)

    def seeds(self) -> range:
        """Seed of every patient."""
        return range(self.seed * 100_000, self.seed * 100_000 + self.cases)


def generate(plan: DatasetPlan, *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Path:
    """Generate what is missing.

    Parameters
    ----------
    plan : DatasetPlan
    workers : int
        Processes.
    progress : callable or None
        Called with cases done and cases in all.

    Returns
    -------
    Path
        The index: one JSON object per run with ``npz`` (or ``dicom``), ``patient``, ``split``, ``labels`` and the
        facts of :func:`ClaireDSALib.simulator.truth.facts`. A case stands in it completely or not at all, so that an
        interrupted generation goes on where it stopped.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    index = plan.folder / INDEX_NAME
    done = _finished_seeds(index)
    todo = [seed for seed in plan.seeds() if seed not in done]
    count = plan.cases - len(todo)
    if progress is not None:
        progress(count, plan.cases)
    with index.open("a", encoding="utf-8") as stream:
        for lines in _results(plan, todo, workers):
            stream.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
            stream.flush()
            os.fsync(stream.fileno())
            count += 1
            if progress is not None:
                progress(count, plan.cases)
    return index


def split_of(anatomy_id: str) -> str:
    """``train`` (75 %), ``validation`` (13 %) or ``test`` (12 %); the same for every run and variant of an anatomy."""
    share = int(hashlib.sha256(anatomy_id.encode()).hexdigest()[:8], 16) / 2**32
    return next(name for name, limit in _SPLITS if share <= limit)


def _results(plan: DatasetPlan, seeds: list[int], workers: int) -> Iterator[list[dict[str, Any]]]:
    jobs = [(plan, seed) for seed in seeds]
    if workers <= 1:
        yield from map(_generate_case, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_generate_case, jobs)


def _generate_case(job: tuple[DatasetPlan, int]) -> list[dict[str, Any]]:
    plan, seed = job
    swc, head = anatomy_sources(plan.anatomy, seed)
    patient = Patient(seed, anatomy_dir=swc, head_ct=head)
    split = split_of(patient.anatomy.anatomy_id)
    lines = []
    for run in iterate_runs(patient, runs=plan.runs_per_case, size=plan.size, vendor=plan.vendor, device=plan.device):
        case = Case(seed, patient.anatomy, (run,))
        line = facts(case, run, split)
        if plan.format == "npz":
            name = f"runs/{seed:07d}_{run.run_id}.npz"
            (plan.folder / "runs").mkdir(exist_ok=True)
            save_npz(plan.folder / name, pictures(run))
            line["npz"] = name
        else:
            from .dicom import TRUTH_FOLDER, write_run

            folder = plan.folder / f"case{seed:07d}"
            folder.mkdir(exist_ok=True)
            path = write_run(case, run, folder)
            (folder / TRUTH_FOLDER).mkdir(exist_ok=True)
            write_truth(folder / TRUTH_FOLDER, run.run_id, case, run)
            line["dicom"] = path.relative_to(plan.folder).as_posix()
        lines.append(line)
    return lines


def anatomy_sources(folder: Path | None, seed: int) -> tuple[Path | None, Path | None]:
    """Folder of arterial trees and head CT for one patient, drawn by the seed from what ``folder`` holds.

    Returns
    -------
    trees, head : Path or None
        None where the folder has none, and for one patient in five each, so that procedural anatomy stays in the set.
    """
    if folder is None:
        return None, None
    import numpy as np

    rng = np.random.default_rng([seed, 9])
    trees = sorted(
        {path.parent for path in folder.rglob("*records.swc")} or {path.parent for path in folder.rglob("*.swc")}
    )
    heads = _head_cts(folder)
    use_tree, use_head = rng.random(2) > 0.2
    return (
        trees[int(rng.integers(len(trees)))] if trees and use_tree else None,
        heads[int(rng.integers(len(heads)))] if heads and use_head else None,
    )


@lru_cache(maxsize=4)
def _head_cts(folder: Path) -> tuple[Path, ...]:
    """Scans that are fine enough for a skull: pixels of 1.5 mm at most, slices of 3 mm at most."""
    import SimpleITK

    fine = []
    for path in sorted(folder.rglob("*.nrrd")):
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        spacing = reader.GetSpacing()
        if len(spacing) == 3 and max(spacing[:2]) <= _COARSEST_PIXEL_MM and spacing[2] <= _COARSEST_SLICE_MM:
            fine.append(path)
    return tuple(fine)


def _finished_seeds(index: Path) -> set[int]:
    if not index.exists():
        return set()
    return {
        int(json.loads(line)["case_seed"]) for line in index.read_text(encoding="utf-8").splitlines() if line.strip()
    }
