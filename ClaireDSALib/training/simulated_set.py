"""What all simulated sets share: an index that is grown patient by patient, and whose patients they are.

A set is a folder with ``index.jsonl``, one JSON object a line with at least ``npz`` and ``patient`` (the seed), and NPZ
files in ``runs``. A patient stands in the index completely or not at all, so an interrupted simulation goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ClaireDSALib.simulator.case import Patient

INDEX_NAME = "index.jsonl"
UNSEEN_LOOK = "east"
"""Vendor look that training and validation patients never have."""

_TREE_SHARE = 0.55
"""Of patients who are offered a scanned arterial tree; the others are procedural."""

Simulate = Callable[[int], list[dict[str, Any]]]
"""Simulates the patient of a seed, writes the NPZ files and returns the lines of the index."""


def simulate_missing(
    folder: Path,
    seeds: Sequence[int],
    simulate: Simulate,
    progress: Callable[[int, int], None] = lambda _i, _n: None,
    *,
    workers: int = 1,
) -> Path:
    """Simulate the patients that the index does not have and return the folder.

    Parameters
    ----------
    folder : Path
    seeds : sequence of int
        All patients of the set.
    simulate : callable
        Sent to the workers, so a module's function or a partial of one.
    progress : callable
        Called with patients done and patients in all after each that was simulated.
    workers : int
        Processes.
    """
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    index = folder / INDEX_NAME
    done = {line["patient"] for line in _lines(index)} if index.exists() else set()
    todo = [seed for seed in seeds if str(seed) not in done]
    for number, made in enumerate(_simulated(simulate, todo, workers), len(seeds) - len(todo) + 1):
        with index.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in made))
        progress(number, len(seeds))
    return folder


def read_index(folder: Path, command: str) -> list[dict[str, Any]]:
    """Lines of a set's index.

    Parameters
    ----------
    folder : Path
    command : str
        What makes such a set, for the message.

    Raises
    ------
    FileNotFoundError
        Without an index.
    """
    index = folder / INDEX_NAME
    if not index.is_file():
        msg = f"{folder} holds no {INDEX_NAME}; make one with '{command}'"
        raise FileNotFoundError(msg)
    return _lines(index)


def draw_split(shares: Sequence[tuple[str, float]], rng: np.random.Generator) -> str:
    """Part of the set for a patient, from names with cumulative shares that end in 1."""
    share = rng.random()
    return next(name for name, limit in shares if share <= limit)


def draw_patient(
    seed: int, split: str, rng: np.random.Generator, *, anatomy: Path | None, head_share: float
) -> Patient:
    """A patient whose tree belongs to this split alone; procedural when the drawn tree belongs to another.

    Parameters
    ----------
    seed : int
    split : str
        Test patients never get a scanned head: there are few.
    rng : Generator
    anatomy : Path or None
        Folder with SWC trees and head CTs, searched with its sub-folders; procedural anatomy without.
    head_share : float
        Of the other patients who get a scanned head.
    """
    from ClaireDSALib.simulator.case import Patient
    from ClaireDSALib.simulator.dataset import split_of

    trees = sorted({path.parent for path in anatomy.rglob("*records.swc")}) if anatomy else []
    heads = sorted(anatomy.rglob("*.nrrd")) if anatomy else []
    tree = trees[0] if trees and rng.random() < _TREE_SHARE else None
    head = heads[0] if heads and split != "test" and rng.random() < head_share else None
    patient = Patient(seed, anatomy_dir=tree, head_ct=head)
    if tree is not None and split_of(patient.anatomy.anatomy_id) != split:
        return Patient(seed, head_ct=head)
    return patient


def draw_look(split: str, rng: np.random.Generator, *, unseen_share: float, unseen: str = UNSEEN_LOOK) -> str:
    """Vendor look of a patient: for test patients ``unseen`` with the share given, never for others."""
    from ClaireDSALib.simulator.vendor import LOOKS

    if split == "test" and rng.random() < unseen_share:
        return unseen
    return str(rng.choice(sorted(set(LOOKS) - {unseen})))


def _simulated(simulate: Simulate, seeds: Sequence[int], workers: int) -> Iterator[list[dict[str, Any]]]:
    """Index lines of each patient, in the order of ``seeds``."""
    if workers <= 1:
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(simulate, seeds)


def _lines(index: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines() if line.strip()]
