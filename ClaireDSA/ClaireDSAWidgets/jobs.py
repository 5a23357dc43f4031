"""Analysis jobs: the library's worker process, looked after by a Qt timer."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import qt

from . import settings_panel

POLL_MS = 60
_WARM_S, _COLD_S = 600.0, 5.0
"""The process ends, and frees the graphics card, after so long without a job."""
_GIL_PAUSE_S = 0.003
"""Slicer's main thread holds Python's lock while Qt waits; this pause lets the worker's reader thread run."""


@dataclass
class Job:
    """One job of the worker: a run, or the two runs of a biplane pair."""

    job_id: str
    run_ids: tuple[str, ...]
    fraction: float = 0.0
    context: dict[str, Any] = field(default_factory=dict)
    """Whatever the caller wants to keep with it; a temporary ``folder`` is removed with the job."""

    def clean(self) -> None:
        """Remove the job's temporary folder."""
        if self.context.get("folder") is not None:
            self.context["folder"].cleanup()


class Jobs:
    """Submits, follows and cancels jobs; all callbacks come on the main thread.

    Parameters
    ----------
    on_event : callable
        ``on_event(job, event)`` for every ``WorkerEvent``.
    on_change : callable
        Called after events were delivered, for progress bars.
    """

    def __init__(self, on_event: Callable[[Job, Any], None], on_change: Callable[[], None]) -> None:
        self._on_event, self._on_change = on_event, on_change
        self._worker: Any = None
        self._jobs: dict[str, Job] = {}
        self._finished = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def active(self) -> list[Job]:
        """Jobs that wait or run, in their order."""
        return list(self._jobs.values())

    @property
    def fraction(self) -> float:
        """Progress over everything submitted since the worker was last idle."""
        total = self._finished + len(self._jobs)
        return (self._finished + sum(j.fraction for j in self._jobs.values())) / total if total else 0.0

    def job_of(self, run_id: str) -> Job | None:
        return next((j for j in self._jobs.values() if run_id in j.run_ids), None)

    def submit(self, analyze_job: Any, run_ids: tuple[str, ...], **context: Any) -> Job:
        """Queue a job; starts the worker process when there is none."""
        if not self._jobs:
            self._finished = 0
        job = Job(self._get_worker().submit(analyze_job), run_ids, context=context)
        self._jobs[job.job_id] = job
        self._timer.start()
        return job

    def cancel(self, job: Job) -> None:
        self._worker.cancel(job.job_id)

    def cancel_all(self) -> None:
        """Stop everything, last submitted first, so that the next one does not start meanwhile."""
        for job in reversed(self.active):
            self._worker.cancel(job.job_id)

    def release(self, job: Job) -> None:
        """Delete the arrays of a finished job once they are in the scene."""
        if self._worker is not None:
            self._worker.release(job.job_id)

    def close(self) -> None:
        """End the worker process; jobs under way are lost."""
        self._timer.stop()
        for job in self.active:
            job.clean()
        self._jobs.clear()
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _get_worker(self) -> Any:
        if self._worker is None:
            from ClaireDSALib.pipeline.worker import Worker

            idle_s = _WARM_S if settings_panel.value("keepWarm", True) else _COLD_S
            self._worker = Worker(shutil.which("PythonSlicer") or sys.executable, idle_s=idle_s)
        return self._worker

    def _poll(self) -> None:
        time.sleep(_GIL_PAUSE_S)
        events = self._worker.poll() if self._worker is not None else []
        for event in events:
            job = self._jobs.get(event.job_id)
            if job is None:
                continue
            if event.progress is not None:
                job.fraction = event.progress.fraction
            if event.is_last:
                del self._jobs[event.job_id]
                self._finished += 1
            self._on_event(job, event)
        if events:
            self._on_change()
        if not self._jobs:
            self._timer.stop()
