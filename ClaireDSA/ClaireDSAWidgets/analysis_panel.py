"""Analysing runs: queueing, progress, cancelling, and taking results as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import slicer
from slicer.i18n import tr as _

from . import install, words
from .jobs import Job, Jobs
from .run_table import RunTable
from .session import Session
from .steps import Steps


class AnalysisPanel:
    """Joins the analysis buttons to the worker process.

    Parameters
    ----------
    session : Session
    table : RunTable
        Shows the state of each run.
    settings : callable
        Returns the analysis settings that hold now.
    arrived : callable
        ``arrived(run_id)`` after the results of a run were put into the scene.
    """

    def __init__(
        self, session: Session, table: RunTable, settings: Callable[[], Any], arrived: Callable[[str], None]
    ) -> None:
        self._session, self._table, self._settings, self._arrived = session, table, settings, arrived
        self.jobs = Jobs(self._on_event, self.show_progress)
        self._steps = Steps(self._show_failed, self.show_progress)
        ui = session.ui
        for button, action in (
            (ui.analyseButton, self.analyse_all),
            (ui.analyseRunButton, lambda: self.analyse([session.selected_run])),
            (ui.cancelButton, self.jobs.cancel_all),
            (ui.cancelRunButton, self.cancel_run),
            (ui.installButton, self.check_packages),
        ):
            button.connect("clicked()", action)

    @property
    def is_busy(self) -> bool:
        """True while jobs run or results are on their way into the scene."""
        return bool(self.jobs.active) or self._steps.is_busy

    def stop(self) -> None:
        """The scene goes away: cancel jobs and drop results that have not arrived."""
        self.jobs.cancel_all()
        self._steps.clear()

    def close(self) -> None:
        """End the worker process."""
        self._steps.clear()
        self.jobs.close()

    def analyse_all(self) -> None:
        """Analyse every run that has no results yet; all of them again when none is left."""
        idle = [r for r in self._table.run_ids if self.jobs.job_of(r) is None]
        self.analyse([r for r in idle if self._session.case.run_report(r) is None] or idle)

    def analyse(self, run_ids: list[str]) -> None:
        """Queue runs; packages that are needed are asked for first."""
        wanted = [r for r in run_ids if r]
        with slicer.util.tryWithErrorDisplay(_("The analysis could not be started.")):
            if not wanted or not install.ensure():
                return
            settings = self._settings()
            for group in self._session.case.groups(wanted):
                analyze_job, folder = self._session.case.analyze_job(group, settings)
                self.jobs.submit(analyze_job, group, folder=folder)
                for run_id in group:
                    self._table.refresh(run_id, state=_("waiting"))
            self._session.say("")
            self.show_progress()

    def cancel_run(self) -> None:
        """Stop the analysis of the selected run."""
        job = self.jobs.job_of(self._session.selected_run)
        if job is not None:
            self.jobs.cancel(job)

    def show_progress(self) -> None:
        """Bar and buttons as the jobs stand."""
        ui, active, selected = self._session.ui, self.jobs.active, self._session.selected_run
        ui.progressBar.value = round(1000 * self.jobs.fraction) if active else 0
        ui.cancelButton.enabled = bool(active)
        ui.cancelRunButton.enabled = self.jobs.job_of(selected) is not None
        ui.analyseButton.enabled = bool(self._table.run_ids)
        ui.analyseRunButton.enabled = bool(selected) and self.jobs.job_of(selected) is None
        ui.exportButton.enabled = self._session.case.report is not None and not self.is_busy

    def check_packages(self) -> None:
        """Say what is installed, and install what is missing."""
        with slicer.util.tryWithErrorDisplay(_("Packages could not be installed.")):
            ready = install.ensure()
            lines = [f"{s.name}: {s.condition} {s.detail}".strip() for s in install.states()]
            self._session.say("\n".join([_("Ready.") if ready else _("Not ready."), *lines]))

    def _on_event(self, job: Job, event: Any) -> None:
        if event.kind == "progress":
            part = f"{words.percent(event.progress.fraction)} {words.plain(event.progress.step)}"
            for run_id in job.run_ids:
                self._table.refresh(run_id, state=part)
        elif event.kind == "run_done":
            self._steps.add(self._take_run(event))
        if event.is_last:
            self._steps.add(self._take_end(job, event))

    def _take_run(self, event: Any) -> Iterator[None]:
        run_id = event.run.run_id
        yield from self._session.case.take_run(event.run, event.arrays)
        self._table.refresh(run_id, state="", report=self._session.case.run_report(run_id))
        yield
        self._arrived(run_id)

    def _take_end(self, job: Job, event: Any) -> Iterator[None]:
        if event.kind == "done":
            self._session.case.take_report(event.result.report)
            yield
        self._end(job, event)

    def _show_failed(self, error: Exception) -> None:
        logging.error("a result could not be shown", exc_info=error)
        self._session.say(_("A result could not be shown: {why}").format(why=error))

    def _end(self, job: Job, event: Any) -> None:
        state = {"done": "", "cancelled": _("cancelled"), "failed": _("failed")}[event.kind]
        for run_id in job.run_ids:
            self._table.refresh(run_id, state=state, report=self._session.case.run_report(run_id))
            if event.message:
                self._table.refresh(run_id, tip=event.message)
        if event.kind == "failed":
            self._session.say(_("Analysis failed: {why}").format(why=event.message))
        job.clean()
        self.jobs.release(job)
