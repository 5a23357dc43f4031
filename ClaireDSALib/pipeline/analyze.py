"""One use case for every front end: series in, report out.

Examples
--------
>>> import numpy as np
>>> from ClaireDSALib.dsa.series import DsaSeries
>>> from ClaireDSALib.pipeline.settings import Settings
>>> run = DsaSeries.from_array(np.full((2, 32, 32), 900, np.uint16))
>>> analyze([run], Settings(label_bundle="none")).report.runs[0].acquisition.n_frames
2
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ClaireDSALib.dsa.series import DsaSeries, Pair, Skipped
from ClaireDSALib.pipeline import provenance
from ClaireDSALib.pipeline.before_after import compare_before_after
from ClaireDSALib.pipeline.fusion import judge_pair
from ClaireDSALib.pipeline.model_set import ModelSet, is_out_of_memory
from ClaireDSALib.pipeline.progress import (
    CancelCheck,
    Cancelled,
    Progress,
    ProgressCallback,
    ignore_progress,
    never_cancel,
)
from ClaireDSALib.pipeline.report import (
    CaseReport,
    CaseResult,
    RunReport,
    SkippedRecord,
)
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.side_by_side import SharedProgress, side_by_side
from ClaireDSALib.pipeline.steps import STEPS, RunState

if TYPE_CHECKING:
    from ClaireDSALib.models.sequence_reader import SequenceFindings

RunCallback = Callable[[RunReport, Mapping[str, np.ndarray]], None]

_RUN_ERRORS = (ValueError, OSError, ArithmeticError, MemoryError, RuntimeError, IndexError, KeyError, TypeError)
"""What pixel data and bundles can raise; such a run gets a sentence, the others go on."""


def analyze(
    series: Sequence[DsaSeries],
    settings: Settings | None = None,
    *,
    pairs: Sequence[Pair] = (),
    skipped: Sequence[Skipped] = (),
    progress: ProgressCallback = ignore_progress,
    cancel: CancelCheck = never_cancel,
    on_run: RunCallback | None = None,
    models: ModelSet | None = None,
) -> CaseResult:
    """Analyse the runs of one case.

    Parameters
    ----------
    series : sequence of DsaSeries
    settings : Settings, optional
    pairs, skipped : what the reader found beside the runs; they go into the report.
    progress : callable taking a Progress
        Called from several threads, one at a time.
    cancel : callable; when it returns True the analysis raises Cancelled at the next step.
        Called from several threads.
    on_run : callable, optional
        Called with the report and the arrays of each run as soon as it and those before it are finished.
    models : ModelSet, optional
        Warm models to reuse over several cases.

    Returns
    -------
    CaseResult
        A run that could not be analysed is in the report with its ``error``.

    Raises
    ------
    Cancelled
        When ``cancel`` returned True.
    """
    settings = settings or Settings()
    models = models or ModelSet()
    start = time.perf_counter()
    runs: list[RunReport] = []
    arrays: dict[str, Mapping[str, np.ndarray]] = {}
    findings: dict[str, SequenceFindings] = {}
    states: dict[str, RunState] = {}
    board = SharedProgress(progress, len(series))

    def analyze_one(numbered: tuple[int, DsaSeries], cancelled: CancelCheck) -> tuple[RunState, RunReport]:
        number, one = numbered
        answer = _analyze_run(one, settings, models, board.of_run(number, one.run_id), cancelled)
        board.finish(number)
        return answer

    for state, report in side_by_side(analyze_one, tuple(enumerate(series)), cancel):
        run_id, found = report.run_id, state.arrays
        states[run_id] = state
        runs.append(report)
        arrays[run_id] = found
        if state.findings is not None:
            findings[run_id] = state.findings
        if on_run is not None:
            on_run(report, found)
    reperfusion, compared = compare_before_after(states, settings.before_after) if settings.perfusion else ((), {})
    for run_id, pictures in compared.items():
        arrays[run_id] = {**arrays[run_id], **pictures}
    progress(Progress(1.0, "done"))
    report_of_case = CaseReport(
        runs=tuple(runs),
        pairs=tuple(judge_pair(pair, findings) for pair in pairs),
        reperfusion=reperfusion,
        skipped=tuple(SkippedRecord(s.source, s.reason) for s in skipped),
        provenance=provenance.collect(
            settings,
            device=_device(models),
            models=models.records(),
            fallbacks=models.take_fallbacks(),
            timings_s={"analyze": round(time.perf_counter() - start, 4)},
        ),
    )
    return CaseResult(report_of_case, arrays)


def _analyze_run(
    series: DsaSeries,
    settings: Settings,
    models: ModelSet,
    progress: Callable[[float, str], None],
    cancel: CancelCheck,
) -> tuple[RunState, RunReport]:
    state = RunState(series, settings, models, cancel)
    error = ""
    for number, (name, step) in enumerate(STEPS):
        progress(number / len(STEPS), name)
        try:
            step(state)
        except Cancelled:
            raise
        except _RUN_ERRORS as problem:
            if is_out_of_memory(problem):
                raise
            error = f"{name} failed: {problem or type(problem).__name__}"
            break
    state.release()
    report = state.report()
    if error:
        report = dataclasses.replace(report, error=error)
    return state, report


def _device(models: ModelSet) -> str:
    devices = sorted({record.device for record in models.records()})
    return ", ".join(devices) or "cpu"
