"""Opening a case and analysing it in the worker process while the viewer stays live."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from trame_server.utils.asynchronous import create_task

from ClaireDSALib import mrml
from ClaireDSALib.dsa.series import Pair, Skipped
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.worker import AnalyzeJob, Worker, WorkerEvent
from ClaireDSALib.web.logic.display import DisplayLogic
from ClaireDSALib.web.logic.labels import LabelsLogic
from ClaireDSALib.web.logic.runs import RunsLogic, in_order
from ClaireDSALib.web.opening import Opened, open_path
from ClaireDSALib.web.session import Session, notify
from ClaireDSALib.web.views import Views

_POLL_S = 0.1
REVIEW_FILE = "claire_dsa_review.json"


class CaseLogic:
    """Opens, analyses, cancels.

    Parameters
    ----------
    review_dir : Path, optional
        Where corrections are written; beside the case by default.
    """

    def __init__(
        self,
        server: Any,
        session: Session,
        views: Views,
        runs: RunsLogic,
        display: DisplayLogic,
        labels: LabelsLogic,
        settings: Settings,
        review_dir: Path | None = None,
    ) -> None:
        self._server, self._state = server, server.state
        self._session, self._views = session, views
        self._runs, self._display, self._labels = runs, display, labels
        self._settings, self._review_dir = settings, review_dir
        self._worker: Worker | None = None
        self._job = ""
        self._task: Any = None
        for name in ("open_case", "open_demo", "close_case", "cancel_analysis", "analyse"):
            server.controller.trigger(name)(getattr(self, name))

    def warm_up(self) -> None:
        """Start the worker ahead of the first case."""
        self._ensure_worker().start()

    def open_case(self, path: str) -> None:
        """Open what the user named."""
        if str(path).strip():
            create_task(self.open(Path(str(path).strip()).expanduser()))

    def open_demo(self) -> None:
        """Write the simulated demo case, once, and open it."""
        create_task(self._open_demo())

    def close_case(self) -> None:
        """Back to the start screen."""
        self.cancel_analysis()
        self._state.playing = False
        self._forget()
        self._state.screen = "start"

    def cancel_analysis(self) -> None:
        if self._job and self._worker is not None:
            self._state.analysis_text = "stopping"
            self._worker.cancel(self._job)

    def analyse(self) -> None:
        """Analyse all runs of the case (again)."""
        if self._session.source is not None and not self._state.analysing:
            self._start((str(self._session.source),))

    async def open(self, path: Path) -> None:
        """Read a case and begin its analysis."""
        with self._state:
            self._state.screen, self._state.open_error = "reading", ""
            self._state.case_title, self._state.analysis_text = path.name, "looking for runs"
            self._state.analysis_fraction = 0.0
        loop = asyncio.get_running_loop()

        def tell(done: int, total: int, step: str) -> None:
            loop.call_soon_threadsafe(self._reading, done, total, step)

        try:
            opened = await loop.run_in_executor(None, open_path, path, tell)
            with self._state:
                self._show(path, opened)
        except (OSError, ValueError) as error:
            with self._state:
                self._forget()
                self._state.screen, self._state.open_error = "start", str(error)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    async def _open_demo(self) -> None:
        from ClaireDSALib.web.demo import demo_folder

        with self._state:
            self._state.screen, self._state.open_error = "reading", ""
            self._state.case_title, self._state.analysis_text = "Simulated demo case", "simulating"
        try:
            folder = await asyncio.get_running_loop().run_in_executor(None, demo_folder)
        except (OSError, ValueError, ImportError) as error:
            with self._state:
                self._state.screen, self._state.open_error = "start", f"The demo case could not be made: {error}"
            return
        await self.open(folder)

    def _reading(self, done: int, total: int, step: str) -> None:
        with self._state:
            self._state.analysis_fraction = done / max(total, 1)
            self._state.analysis_text = f"reading {step}, {done} of {total}"

    def _forget(self) -> None:
        self._session.reset()
        self._state.current = ""
        self._state.runs = []
        notify(self._session.case_changed)

    def _show(self, path: Path, opened: Opened) -> None:
        self._forget()
        self._session.source = path
        if opened.scene is not None:
            opened = self._from_scene(opened.scene)
        self._session.series = {s.run_id: s for s in in_order(opened.series)}
        self._session.pairs, self._session.skipped = opened.pairs, opened.skipped
        self._state.skipped = [{"source": s.source, "reason": s.reason} for s in opened.skipped]
        if opened.report is not None:
            self._session.case_report = opened.report
            self._session.reports = {r.run_id: r for r in opened.report.runs}
            self._session.arrays = dict(opened.arrays or {})
        self._labels.open_book(self._review_file(path))
        self._state.screen = "review"
        notify(self._session.case_changed)
        self._display.select_run(next(iter(self._session.series)))
        if opened.paths:
            self._start(opened.paths)

    def _from_scene(self, scene: Path) -> Opened:
        host = self._session.host
        mrml.load_scene(host, scene)
        result = mrml.restore_result(host)
        series = []
        for run_id in mrml.run_ids(host):
            nodes, results = mrml.find_nodes(host, run_id)
            if nodes is None:
                continue
            series.append(mrml.series_from_nodes(nodes))
            self._session.nodes[run_id] = nodes
            if results is not None:
                self._session.results[run_id] = results
        if not series:
            msg = f"{scene.name} is a scene without a run of CLAIRE-DSA"
            raise ValueError(msg)
        arrays = {k: dict(v) for k, v in result.arrays.items()} if result else {}
        by_id = {s.run_id: s for s in series}
        pairs = tuple(
            Pair(by_id[p.run_ids[0]], by_id[p.run_ids[1]], p.reason)
            for p in (result.report.pairs if result else ())
            if all(r in by_id for r in p.run_ids)
        )
        return Opened(tuple(series), pairs, report=result.report if result else None, arrays=arrays)

    def _review_file(self, path: Path) -> Path | None:
        """Beside the case where that can be written, else in the folder named; None keeps corrections in memory."""
        if self._review_dir is not None:
            return self._review_dir / f"{path.stem}_{REVIEW_FILE}"
        if path.is_dir():
            return path / REVIEW_FILE if os.access(path, os.W_OK) else None
        return path.parent / f"{path.stem}_{REVIEW_FILE}" if os.access(path.parent, os.W_OK) else None

    def _ensure_worker(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(sys.executable)
        return self._worker

    def _start(self, paths: tuple[str, ...]) -> None:
        job = AnalyzeJob(paths=paths, settings=self._settings)
        self._job = self._ensure_worker().submit(job)
        self._state.analysing, self._state.analysis_fraction = True, 0.0
        self._state.analysis_text = "starting"
        if self._task is None or self._task.done():
            self._task = create_task(self._watch())

    async def _watch(self) -> None:
        while self._job and self._worker is not None:
            events = self._worker.poll()
            if events:
                with self._state:
                    for event in events:
                        if event.job_id == self._job:
                            self._take(event)
            await asyncio.sleep(_POLL_S)

    def _take(self, event: WorkerEvent) -> None:
        if event.progress is not None:
            self._state.analysis_fraction = event.progress.fraction
            self._state.analysis_text = event.progress.text or event.progress.step
            if event.progress.run_id in self._session.series and event.progress.run_id not in self._session.reports:
                self._runs.set_stage(event.progress.run_id, "working")
        if event.run is not None and event.run.run_id in self._session.series:
            self._session.take_result(event.run, event.arrays)
        if event.result is not None:
            self._finish(event)
        if event.is_last:
            self._job = ""
            self._state.analysing = False
            self._state.toast = {"cancelled": "Analysis stopped", "failed": event.message}.get(event.kind, "")
            for run_id in self._session.series:
                if run_id not in self._session.reports:
                    self._runs.set_stage(run_id, "stopped")

    def _finish(self, event: WorkerEvent) -> None:
        if event.result is None:
            return
        self._session.case_report = event.result.report
        for run in event.result.report.runs:
            known = self._session.reports.get(run.run_id)
            if (known is None or known != run) and run.run_id in self._session.series:
                self._session.take_result(run, event.result.arrays.get(run.run_id, {}))
        skipped = (Skipped(s.source, s.reason) for s in event.result.report.skipped)
        self._state.skipped = [{"source": s.source, "reason": s.reason} for s in skipped]
        mrml.store_report(self._session.host, self._session.report(self._labels.overrides()))
