"""The batch tab: every sub-folder is a case, analysed in the worker and exported; the scene stays untouched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import words
from .background import Background
from .jobs import Job, Jobs


class Batch:
    """Joins the batch tab to a queue of its own.

    Parameters
    ----------
    ui : namespace of the panel's widgets
    settings : callable returning the analysis settings
    ensure : callable returning True when the needed packages are there
    """

    def __init__(self, ui: Any, settings: Callable[[], Any], ensure: Callable[[], bool]) -> None:
        self._ui, self._settings, self._ensure = ui, settings, ensure
        self._jobs = Jobs(self._on_event, self._show_progress)
        self._writer = Background(self._written)
        self._to_write: list[tuple[Job, Any]] = []
        self._rows: dict[str, int] = {}
        ui.batchTable.setColumnCount(3)
        ui.batchTable.setHorizontalHeaderLabels([_("Case"), _("Runs"), _("State")])
        ui.batchTable.verticalHeader().hide()
        ui.batchTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        ui.batchTable.horizontalHeader().setSectionResizeMode(2, qt.QHeaderView.Stretch)
        ui.batchButton.connect("clicked()", self.start)
        ui.batchCancelButton.connect("clicked()", self._jobs.cancel_all)

    @property
    def is_running(self) -> bool:
        return bool(self._jobs.active or self._to_write)

    def start(self) -> None:
        """Queue every case of the chosen folder."""
        from ClaireDSALib.pipeline.worker import AnalyzeJob

        with slicer.util.tryWithErrorDisplay(_("The batch could not be started.")):
            source, target = Path(self._ui.batchInputEdit.currentPath), Path(self._ui.batchOutputEdit.currentPath)
            cases = cases_in(source)
            if not target.name or target.resolve() == source.resolve():
                msg = _("choose a folder for the results which is not the folder of the cases")
                raise ValueError(msg)
            if not self._ensure():
                return
            self._ui.batchInputEdit.addCurrentPathToHistory()
            self._ui.batchOutputEdit.addCurrentPathToHistory()
            self._rows = {}
            self._ui.batchTable.setRowCount(len(cases))
            for row, case in enumerate(cases):
                self._write(row, case.name, "", _("waiting"))
                job = AnalyzeJob(paths=(str(case),), settings=self._settings())
                queued = self._jobs.submit(job, (), name=case.name, case=str(case), target=target / case.name)
                self._rows[queued.job_id] = row
            self._show_progress()

    def close(self) -> None:
        self._jobs.close()
        self._writer.close()

    def _on_event(self, job: Job, event: Any) -> None:
        row, name = self._rows[job.job_id], job.context["name"]
        if event.kind == "progress":
            self._write(row, name, "", f"{words.percent(event.progress.fraction)} {words.plain(event.progress.step)}")
        elif event.kind == "done":
            self._write(row, name, str(len(event.result.report.runs)), _("writing"))
            self._to_write.append((job, event.result))
            self._write_next()
        elif event.is_last:
            self._write(row, name, "", event.message or _("cancelled"))

    def _write_next(self) -> None:
        """Write finished cases one after the other, beside the analysis of the next ones."""
        if self._to_write and not self._writer.is_running:
            job, result = self._to_write[0]
            self._writer.start(lambda: _write_files(Path(job.context["case"]), job.context["target"], result))

    def _written(self, _report: Any, error: BaseException | None) -> None:
        job, result = self._to_write.pop(0)
        text = _summary(result.report) if error is None else _("could not be written: {why}").format(why=error)
        self._write(self._rows[job.job_id], job.context["name"], str(len(result.report.runs)), text)
        self._jobs.release(job)
        self._write_next()
        self._show_progress()

    def _write(self, row: int, name: str, runs: str, state: str) -> None:
        for column, text in enumerate((name, runs, state)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            self._ui.batchTable.setItem(row, column, item)

    def _show_progress(self) -> None:
        self._ui.batchProgress.value = round(1000 * self._jobs.fraction)
        self._ui.batchButton.enabled = not self.is_running
        self._ui.batchCancelButton.enabled = self.is_running


def _write_files(case: Path, target: Path, result: Any) -> Any:
    """Runs in a thread: read the headers again, write report and pictures."""
    from ClaireDSALib.dsa import read
    from ClaireDSALib.export.files import write_case

    return write_case(target, read(case).series, result)


def _summary(report: Any) -> str:
    suitable = sum(1 for r in report.runs if r.suitability is not None and r.suitability.suitable)
    failed = sum(1 for r in report.runs if r.error)
    text = _("{n} suitable").format(n=suitable)
    return text + (_(", {n} failed").format(n=failed) if failed else "")


def cases_in(folder: Path) -> list[Path]:
    """Sub-folders of a folder, or the folder itself when it holds none.

    Raises
    ------
    ValueError
        When there is no such folder or nothing in it.
    """
    if not folder.name or not folder.is_dir():
        msg = _("there is no folder {folder}").format(folder=folder)
        raise ValueError(msg)
    visible = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    cases = [p for p in visible if p.is_dir()]
    if not visible:
        msg = _("folder {folder} is empty").format(folder=folder)
        raise ValueError(msg)
    return cases or [folder]
