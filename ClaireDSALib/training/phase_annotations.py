"""Runs whose phases people named, as training examples: a table says in which frame each phase begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.models.networks.sequence_net import PHASES
from ClaireDSALib.training.sequence_examples import SequenceExample, pack
from ClaireDSALib.training.user_table import read_rows

COLUMNS = ("path", "patient", *PHASES)


def load_annotated_runs(table: Path) -> tuple[list[SequenceExample], list[str]]:
    """Read a CSV or TSV and the runs it names.

    Parameters
    ----------
    table : Path
        Columns ``path`` (a DICOM file or folder with one run, relative to the table), ``patient``, and one per
        phase with the number of its first frame, counted from 1; empty where the run does not show it.

    Returns
    -------
    examples : list of SequenceExample
        Prepared as inference prepares a run; all but phases, patient and view is unknown.
    left_out : list of str
        A sentence for every run that cannot be subtracted.

    Raises
    ------
    ValueError
        For a missing column, a frame that the run does not have, phases that go backwards, or a path that does not
        hold exactly one run.
    """
    from ClaireDSALib.dsa.read import read

    examples: list[SequenceExample] = []
    left_out: list[str] = []
    for number, row in read_rows(table, COLUMNS, filled=("path", "patient")):
        name = row["path"]
        found = read(table.parent / name).series
        if len(found) != 1:
            msg = f"{table.name} line {number}: {name} holds {len(found)} runs; name one file or folder per run"
            raise ValueError(msg)
        series = found[0]
        phases = phases_of_starts([row[phase] for phase in PHASES], series.n_frames, f"{table.name} line {number}")
        try:
            examples.append(_example(series, phases, row["patient"]))
        except ValueError as problem:
            left_out.append(f"{name}: {problem}")
    return examples, left_out


def phases_of_starts(starts: Sequence[str], n_frames: int, place: str) -> npt.NDArray[np.int8]:
    """Phase of every frame ``(T,)`` from the first frames of the phases, written as numbers from 1 or empty.

    Raises
    ------
    ValueError
        When none is given, one lies outside the run, a later phase begins before an earlier one, or the first frame
        has no phase.
    """
    given = {phase: text.strip() for phase, text in zip(PHASES, starts, strict=True) if text and text.strip()}
    if not given or any(not text.isdigit() or not 1 <= int(text) <= n_frames for text in given.values()):
        msg = f"{place}: first frames must be numbers from 1 to {n_frames}, at least one; got {given}"
        raise ValueError(msg)
    firsts = [int(text) for text in given.values()]
    if firsts[0] != 1 or any(b <= a for a, b in pairwise(firsts)):
        msg = f"{place}: phases must begin with frame 1 and one after the other; got {given}"
        raise ValueError(msg)
    phases = np.zeros(n_frames, np.int8)
    for phase, first in zip(given, firsts, strict=True):
        phases[first - 1 :] = PHASES.index(phase)
    return phases


def _example(series: DsaSeries, phases: npt.NDArray[np.int8], patient: str) -> SequenceExample:
    from ClaireDSALib.dsa.subtraction import subtract
    from ClaireDSALib.models.sequence_input import choose_frames, normalise, shrink
    from ClaireDSALib.training.sequence_data import STACK_PX

    kept = choose_frames(series.times_s)
    frames = subtract(series)
    stack = np.stack([shrink(frames.read(int(index)), STACK_PX) for index in kept])
    return SequenceExample(
        stack=pack(normalise(stack)),
        times_s=np.asarray(series.times_s)[kept],
        phases=phases[kept],
        thrombus=False,
        site=(np.nan, np.nan),
        territory=np.zeros((STACK_PX // 4, STACK_PX // 4), np.uint8),
        patient=patient,
        view=series.geometry.view,
        site_name="unknown",
        pair=series.run_id,
    )
