"""The whole service: receive, wait until a study is complete, analyse, send; nothing acknowledged is ever lost.

One thread analyses, one for each destination sends, one tidies up. All they share is the queue, so each can be
killed at any moment: what it had claimed is taken up again at the next start.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.pacs import durable
from ClaireDSALib.pacs.analysis import (
    Analyser,
    AnalysisFailedError,
    NothingToAnalyseError,
    UnusableStudyError,
    WorkerAnalyser,
)
from ClaireDSALib.pacs.destination import Destination, destination_for
from ClaireDSALib.pacs.health import HealthServer
from ClaireDSALib.pacs.identity import identify, short_key
from ClaireDSALib.pacs.journal import Journal, lock_folder
from ClaireDSALib.pacs.memory import give_memory_back
from ClaireDSALib.pacs.metrics import Metrics
from ClaireDSALib.pacs.outbox import Outbox
from ClaireDSALib.pacs.receiver import Receiver, adopt_orphans
from ClaireDSALib.pacs.sender import Sender
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.spool import Spool
from ClaireDSALib.pacs.study_queue import ResultObject, StudyJob, StudyQueue

_LOG = logging.getLogger(__name__)

_TICK_S = 0.2
_TIDY_EVERY_S = 60.0
_DAY_S = 86400.0
_STOP_GRACE_S = 10.0


class Station:
    """One receiver with its queue, analysis and destinations.

    Parameters
    ----------
    settings : ListenSettings
    analyser : Analyser, optional
        The real one by default.
    destinations : sequence of Destination, optional
        Those of the settings by default.

    Raises
    ------
    RuntimeError
        When another process works in the same folder.
    ValueError
        When a certificate or secret cannot be used.

    Examples
    --------
    >>> with Station(ListenSettings(Path("spool"))) as station:  # doctest: +SKIP
    ...     station.wait()
    """

    def __init__(
        self,
        settings: ListenSettings,
        *,
        analyser: Analyser | None = None,
        destinations: Sequence[Destination] | None = None,
    ) -> None:
        self.settings = settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        self._claim: sqlite3.Connection | None = lock_folder(settings.folder)
        self.spool = Spool(settings.folder, reserve_bytes=int(settings.reserve_gb * 1e9))
        self._journal = Journal(settings.folder / "queue.sqlite")
        self.queue, self.outbox = StudyQueue(self._journal), Outbox(self._journal)
        self.metrics = Metrics()
        if destinations is None:
            destinations = [destination_for(remote) for remote in settings.destinations]
        self._destinations = list(destinations)
        self._analyser = analyser or WorkerAnalyser(settings.analysis, timeout_s=settings.analysis_timeout_s)
        self._receiver = Receiver(
            self.spool,
            self.queue,
            self.metrics,
            ae_title=settings.ae_title,
            peers=settings.peers,
            limits=settings.limits,
            tls=settings.tls,
        )
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._health: HealthServer | None = None
        self.port = 0
        self.health_port = 0

    def __enter__(self) -> Station:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Take up what was under way, then listen.

        Raises
        ------
        OSError
            When a port cannot be bound.
        """
        give_memory_back()
        lost = self.spool.forget_unfinished()
        self.queue.recover(most_interruptions=self.settings.most_interruptions)
        adopted = adopt_orphans(self.spool, self.queue)
        if lost or adopted:
            _LOG.info("taken up again: %d objects filed, %d unfinished ones dropped", adopted, lost)
        self._run("analyse", self._analyse_next)
        for destination in self._destinations:
            sender = Sender(destination, self.outbox, self.spool, self.metrics, self.settings, self._stopping.is_set)
            self._run(f"send {destination.name}", sender.send_next)
        self._run("tidy", self._tidy, every_s=_TIDY_EVERY_S)
        if self.settings.health_port >= 0:
            self._health = HealthServer(self.problems, self.metrics_text, self.settings.health_port)
            self.health_port = self._health.port
        self.port = self._receiver.start(self.settings.host, self.settings.port)
        _LOG.info("%s listens on %s:%d", self.settings.ae_title, self.settings.host, self.port)

    def wait(self) -> None:
        """Return once :meth:`stop` was called from elsewhere."""
        while not self._stopping.wait(1.0):
            pass

    def stop(self) -> None:
        """Take nothing more, end what is under way as if it had not begun, and close; may be called again."""
        if self._claim is None:
            return
        self._stopping.set()
        self._receiver.stop()
        self._analyser.stop()
        for thread in self._threads:
            thread.join(_STOP_GRACE_S)
        if self._health is not None:
            self._health.close()
        self._analyser.close()
        for destination in self._destinations:
            destination.close()
        self._journal.close()
        self._claim.close()
        self._claim = None

    def problems(self) -> list[str]:
        """What keeps the service from working, one sentence each."""
        found = [f"the thread '{one.name}' ended" for one in self._threads if not one.is_alive()]
        if not self._receiver.is_listening:
            found.append("the receiver does not listen")
        try:
            self.queue.counts()
            if not self.spool.has_room():
                found.append("the disk's reserve is reached; objects are refused")
        except (sqlite3.Error, OSError) as problem:
            found.append(f"the queue or the disk cannot be used ({problem})")
        return found

    def metrics_text(self) -> str:
        """Counters and the queue's present state for Prometheus."""
        counts = self.queue.counts()
        return self.metrics.text(
            {
                "studies": counts["studies"],
                "results": counts["results"],
                "oldest_waiting_seconds": self.queue.oldest_waiting_s(),
                "open_connections": self._receiver.access.n_open,
                "free_bytes": self.spool.free_bytes(),
            }
        )

    def _run(self, name: str, step: Callable[[], bool], *, every_s: float = _TICK_S) -> None:
        """Repeat a step in a thread of its own: at once while it finds work, else after a while."""

        def loop() -> None:
            while not self._stopping.is_set():
                try:
                    found_work = step()
                except Exception:  # noqa: BLE001 - a thread that ends would stop the service until somebody looks
                    _LOG.exception("'%s' failed and goes on", name)
                    found_work = False
                    self._stopping.wait(1.0)
                if not found_work:
                    self._stopping.wait(every_s)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _analyse_next(self) -> bool:
        job = self.queue.next_study(self.settings.quiet_s)
        if job is None:
            return False
        study, began = short_key(job.study_uid), time.monotonic()
        _LOG.info("study %s: complete with %d objects, analysing", study, len(job.paths))
        outcome = "failed"
        try:
            outcome = self._analyse(job)
        except NothingToAnalyseError as problem:
            outcome = "nothing"
            self.queue.settle(job, "nothing", str(problem))
            _LOG.info("study %s: nothing to analyse: %s", study, problem)
        except UnusableStudyError as problem:
            outcome = "aside"
            self._set_aside(job, str(problem))
        except AnalysisFailedError as problem:
            self._failed(job, str(problem))
        except Exception as problem:  # noqa: BLE001 - whatever a study causes must not end the service
            _LOG.exception("study %s: the analysis failed in an unforeseen way", study)
            self._failed(job, f"{type(problem).__name__}: {problem}")
        self.metrics.count("analyses_total", outcome=outcome)
        self.metrics.count("analysis_seconds_total", time.monotonic() - began)
        return True

    def _analyse(self, job: StudyJob) -> str:
        files = [self.spool.folder / place for place in job.paths]
        work = self.spool.work_folder()
        try:
            written = self._analyser.analyse(files, work)
            uids = {path.relative_to(work).as_posix(): _sop_instance_uid(path) for path in written}
            final = self.spool.result_folder(job.study_uid, job.revision)
            durable.move_folder_into_place(work, final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        place = final.relative_to(self.spool.folder)
        results = [ResultObject(uid, (place / name).as_posix()) for name, uid in uids.items()]
        destinations = [destination.name for destination in self._destinations]
        study = short_key(job.study_uid)
        if not self.queue.finish_analysis(job, results, destinations):
            shutil.rmtree(final, ignore_errors=True)
            _LOG.info("study %s: objects arrived meanwhile, it will be analysed again", study)
            return "outdated"
        _LOG.info("study %s: analysed, %d objects to send", study, len(results))
        return "done"

    def _failed(self, job: StudyJob, reason: str) -> None:
        if self._stopping.is_set():
            self.queue.analyse_later(job, 0.0, "", count=False)
        elif job.failures + 1 >= self.settings.most_failures:
            self._set_aside(job, f"failed {job.failures + 1} times: {reason}")
        else:
            wait_s = self.settings.backoff.wait_s(job.failures + 1)
            self.queue.analyse_later(job, wait_s, reason)
            _LOG.warning("study %s: failed, again in %.0f s: %s", short_key(job.study_uid), wait_s, reason)

    def _set_aside(self, job: StudyJob, reason: str) -> None:
        self.queue.settle(job, "aside", reason)
        _LOG.error("study %s: set aside: %s", short_key(job.study_uid), reason)

    def _tidy(self) -> bool:
        moment = time.time() - self.settings.keep_days * _DAY_S
        for study_uid in self.queue.settled_before(moment):
            places, revision = self.queue.forget_files(study_uid, moment)
            self.spool.delete_files(study_uid, places, revision)
            _LOG.info("study %s: files deleted after %g days", short_key(study_uid), self.settings.keep_days)
        return False


def _sop_instance_uid(path: Path) -> str:
    try:
        return identify(path).sop_instance_uid
    except UnusableError as problem:
        msg = f"the result {path.name} is no DICOM object: {problem}"
        raise UnusableStudyError(msg) from problem
