"""How many frames of simulated runs get their true phase, and how far off the borders between phases are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.simulator.truth import PHASES
from ClaireDSALib.training.metrics import Estimate, confusion_matrix
from ClaireDSALib.training.reperfusion_data import BeforeAfter, SimulatedRun

_BOOT = 500

ReadPhases = Callable[[SimulatedRun], Sequence[str]]
"""Phase of every frame of a run."""


@dataclass(frozen=True)
class PhaseFigures:
    """Figures with 95 % intervals over patients.

    Attributes
    ----------
    accuracy
        Share of frames with their true phase.
    by_phase : phase -> share of its frames found
    confusion : rows are the truth, in the order of ``PHASES``
    border_error_s
        Median distance between the found and the true start of a phase, where both runs have it.
    """

    runs: int
    frames: int
    accuracy: Estimate
    by_phase: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    border_error_s: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_phases(pairs: Iterable[BeforeAfter], read: ReadPhases) -> PhaseFigures:
    """Compare the phases that ``read`` gives with the truth.

    Parameters
    ----------
    pairs : iterable of BeforeAfter
    read : callable
        Takes a simulated run, returns one phase per frame.

    Raises
    ------
    ValueError
        When there is no run, or a run gets another number of phases than it has frames.
    """
    truths, founds, patients, errors, runs = [], [], [], [], 0
    for pair in pairs:
        for run in (pair.before, pair.after):
            names = tuple(read(run))
            if len(names) != len(run.phases):
                msg = f"a run of {len(run.phases)} frames got {len(names)} phases"
                raise ValueError(msg)
            truth, found = _indices(run.phases), _indices(names)
            truths.append(truth)
            founds.append(found)
            patients.append(pair.patient)
            errors += _border_errors_s(truth, found, run.times_s)
            runs += 1
    if not runs:
        msg = "there is no run to evaluate; generate some first"
        raise ValueError(msg)
    table = confusion_matrix(np.concatenate(truths), np.concatenate(founds), len(PHASES))
    return PhaseFigures(
        runs=runs,
        frames=int(table.sum()),
        accuracy=_accuracy(truths, founds, patients),
        by_phase={
            name: float(row[k] / row.sum())
            for k, (name, row) in enumerate(zip(PHASES, table, strict=True))
            if row.sum()
        },
        confusion=tuple(tuple(int(v) for v in row) for row in table),
        border_error_s=float(np.median(errors)) if errors else float("nan"),
    )


def _indices(names: Sequence[str]) -> npt.NDArray[np.intp]:
    return np.array([PHASES.index(name) for name in names], np.intp)


def _border_errors_s(
    truth: npt.NDArray[np.intp], found: npt.NDArray[np.intp], times_s: npt.NDArray[np.float64]
) -> list[float]:
    """Distance between found and true start of every phase that both have and that is not the first."""
    common = (set(truth.tolist()) & set(found.tolist())) - {int(truth[0]), int(found[0])}
    return [float(abs(times_s[(truth == p).argmax()] - times_s[(found == p).argmax()])) for p in sorted(common)]


def _accuracy(
    truths: Sequence[npt.NDArray[np.intp]], founds: Sequence[npt.NDArray[np.intp]], patients: Sequence[str]
) -> Estimate:
    """Share of frames with a percentile interval over patients drawn anew."""
    names = sorted(set(patients))
    right, total = np.zeros(len(names)), np.zeros(len(names))
    for truth, found, patient in zip(truths, founds, patients, strict=True):
        right[names.index(patient)] += (truth == found).sum()
        total[names.index(patient)] += len(truth)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(names), size=(_BOOT, len(names)))
    low, high = np.percentile(right[drawn].sum(1) / total[drawn].sum(1), (2.5, 97.5))
    return Estimate(float(right.sum() / total.sum()), float(low), float(high))
