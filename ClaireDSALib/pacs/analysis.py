"""From a study's files to the objects that are sent back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ClaireDSALib.pipeline.report import CaseResult
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.worker import AnalyzeJob, Worker

_MOST_REASONS = 3


class NothingToAnalyseError(Exception):
    """No object of the study is an angiographic run; that is no failure."""


class UnusableStudyError(Exception):
    """The study cannot be analysed, and trying again would not help."""


class AnalysisFailedError(Exception):
    """The analysis failed in a way that another try may overcome."""


class Analyser(Protocol):
    """Analyses one study at a time."""

    def analyse(self, files: Sequence[Path], folder: Path) -> list[Path]:
        """Write the resulting DICOM objects into ``folder``, which exists and is empty, and return their paths.

        Raises
        ------
        NothingToAnalyseError, UnusableStudyError, AnalysisFailedError
        """

    def stop(self) -> None:
        """End an analysis under way; it may raise AnalysisFailedError."""

    def close(self) -> None:
        """Free everything."""


class WorkerAnalyser:
    """Analyses in the crash-safe worker process and writes standard DICOM objects.

    Parameters
    ----------
    settings : Settings, optional
    timeout_s : float
        A study that takes longer is given up.
    worker : Worker, optional
        To reuse one; it is closed with the analyser.
    """

    def __init__(
        self, settings: Settings | None = None, *, timeout_s: float = 3600.0, worker: Worker | None = None
    ) -> None:
        self._settings = settings or Settings()
        self._timeout_s = timeout_s
        self._worker = worker or Worker()
        self._is_stopping = False

    def __enter__(self) -> WorkerAnalyser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def analyse(self, files: Sequence[Path], folder: Path) -> list[Path]:
        """See :class:`Analyser`."""
        job_id = self._worker.submit(AnalyzeJob(paths=tuple(str(path) for path in files), settings=self._settings))
        try:
            result = self._wait_for(job_id)
            _judge(result)
            return _write(result, files, folder)
        finally:
            self._worker.release(job_id)

    def stop(self) -> None:
        """See :class:`Analyser`."""
        self._is_stopping = True
        self._worker.cancel_all()

    def close(self) -> None:
        """See :class:`Analyser`."""
        self._worker.close()

    def _wait_for(self, job_id: str) -> CaseResult:
        deadline = time.monotonic() + self._timeout_s
        while True:
            for event in self._worker.poll():
                if event.job_id == job_id and event.is_last:
                    if event.result is None:
                        raise AnalysisFailedError(event.message or "the analysis was cancelled")
                    return event.result
            if time.monotonic() > deadline or self._is_stopping:
                self._worker.cancel(job_id)
                msg = "the receiver stops" if self._is_stopping else f"it took more than {self._timeout_s:g} s"
                raise AnalysisFailedError(msg)
            time.sleep(0.05)


def _judge(result: CaseResult) -> None:
    runs = result.report.runs
    if not runs:
        reasons = list(dict.fromkeys(one.reason for one in result.report.skipped))[:_MOST_REASONS]
        raise NothingToAnalyseError("; ".join(reasons) or "the study holds no file")
    errors = [run.error for run in runs if run.error]
    if len(errors) == len(runs):
        raise UnusableStudyError("; ".join(dict.fromkeys(errors)))


def _write(result: CaseResult, files: Sequence[Path], folder: Path) -> list[Path]:
    from ClaireDSALib.dsa.read import read
    from ClaireDSALib.export.dicom_objects import write_dicom_objects

    wanted = {run.run_id: place for place, run in enumerate(result.report.runs)}
    series = sorted(
        (one for one in read(list(files)).series if one.run_id in wanted), key=lambda one: wanted[one.run_id]
    )
    try:
        return list(write_dicom_objects(result, series, folder))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        msg = f"the results could not be written as DICOM ({type(problem).__name__}: {problem})"
        raise UnusableStudyError(msg) from problem
