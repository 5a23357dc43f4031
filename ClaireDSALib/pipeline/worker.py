"""The application's side of the worker: a separate warm process that analyses and can be killed.

A crash, a kill or an exhausted memory ends the process, never the application; the job is tried
once more on the CPU and the report says so.

Examples
--------
>>> with Worker() as worker:  # doctest: +SKIP
...     job = worker.submit(AnalyzeJob(paths=("case",)))
...     for event in worker.events(job):
...         print(event.kind)
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

import ClaireDSALib
from ClaireDSALib.pipeline import worker_protocol as protocol
from ClaireDSALib.pipeline.progress import Progress
from ClaireDSALib.pipeline.report import CaseReport, CaseResult, RunReport, run_from_dict
from ClaireDSALib.pipeline.settings import Settings

EventKind = Literal["progress", "run_done", "done", "failed", "cancelled"]

CANCEL_GRACE_S = 0.6
"""A running job that has not stopped by itself this long after a cancel is killed."""
_QUIT_GRACE_S = 2.0
_MAX_ATTEMPTS = 2
_STDERR_LINES = 40


@dataclass(frozen=True)
class AnalyzeJob:
    """What to analyse.

    Parameters
    ----------
    paths : tuple of str
        Files or folders the worker reads itself.
    stored : tuple of str
        Folders written by :func:`ClaireDSALib.pipeline.series_store.save_series`.
    run_ids : tuple of str
        Only these runs of the above; empty means all.
    settings : Settings
    """

    paths: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class WorkerEvent:
    """Something that happened to a job; ``done``, ``failed`` and ``cancelled`` are the last of it."""

    job_id: str
    kind: EventKind
    progress: Progress | None = None
    run: RunReport | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Memory-mapped arrays of a ``run_done``; valid until the job is released."""
    result: CaseResult | None = None
    message: str = ""

    @property
    def is_last(self) -> bool:
        return self.kind in ("done", "failed", "cancelled")


@dataclass
class _Entry:
    job_id: str
    job: AnalyzeJob
    folder: Path
    attempts: int = 0
    fallbacks: list[str] = field(default_factory=list)
    cancelled: bool = False
    runs: dict[str, RunReport] = field(default_factory=dict)
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class Worker:
    """Analyse jobs one after the other in a separate process.

    All methods may be called from the application's main thread; none of them blocks on the
    analysis. Events are fetched with :meth:`poll` (from a timer) or :meth:`events` (headless).

    Parameters
    ----------
    python : str, optional
        Interpreter of the process; PythonSlicer on the desktop, this one by default.
    idle_s : float
        The process ends, and frees the GPU, after so long without a job. The next job starts a new one.
    environment : mapping, optional
        Added to the process's environment.
    """

    def __init__(
        self, python: str | None = None, *, idle_s: float = 600.0, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = python or sys.executable
        self._folder = Path(tempfile.mkdtemp(prefix="claire-dsa-"))
        self._environment = {
            "CLAIRE_DSA_WORKER_IDLE_S": str(idle_s),
            "CLAIRE_DSA_WORKER_FOLDER": str(self._folder),
            "CLAIRE_DSA_WORKER_APPLICATION": str(os.getpid()),
            **(environment or {}),
        }
        self._events: queue.Queue[WorkerEvent] = queue.Queue()
        self._lock = threading.RLock()
        self._waiting: deque[_Entry] = deque()
        self._current: _Entry | None = None
        self._process: subprocess.Popen[str] | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._count = 0
        self._closed = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process ahead of the first job, so that it is warm."""
        with self._lock:
            self._ensure_process()

    def submit(self, job: AnalyzeJob) -> str:
        """Queue a job and return its id.

        Raises
        ------
        ValueError
            When the job names nothing to analyse.
        RuntimeError
            When the worker was closed.
        """
        if not job.paths and not job.stored:
            msg = "a job needs paths or stored series; it got neither"
            raise ValueError(msg)
        with self._lock:
            if self._closed:
                msg = "the worker was closed; make a new one"
                raise RuntimeError(msg)
            self._count += 1
            job_id = f"job_{self._count}"
            self._waiting.append(_Entry(job_id, job, self._folder / job_id))
            self._send_next()
        return job_id

    def poll(self) -> list[WorkerEvent]:
        """All events since the last call, without waiting."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait())
        return found

    def events(self, job_id: str, *, timeout_s: float | None = None) -> Iterator[WorkerEvent]:
        """Events of one job until its last one; for programs without an event loop.

        Raises
        ------
        TimeoutError
            When nothing happened for ``timeout_s``.
        """
        while True:
            try:
                event = self._events.get(timeout=timeout_s)
            except queue.Empty as error:
                msg = f"{job_id} was silent for {timeout_s} s"
                raise TimeoutError(msg) from error
            if event.job_id != job_id:
                continue
            yield event
            if event.is_last:
                return

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once when it waits, within a second when it runs. Unknown ids are ignored."""
        with self._lock:
            for entry in self._waiting:
                if entry.job_id == job_id:
                    self._waiting.remove(entry)
                    self._finish(entry, WorkerEvent(job_id, "cancelled"))
                    return
            entry_now = self._current
            if entry_now is None or entry_now.job_id != job_id or entry_now.cancelled:
                return
            entry_now.cancelled = True
            self._tell("cancel", job=job_id)
        timer = threading.Timer(CANCEL_GRACE_S, self._kill_if_still, args=(job_id,))
        timer.daemon = True
        timer.start()

    def cancel_all(self) -> None:
        """Stop every job."""
        with self._lock:
            ids = [entry.job_id for entry in self._waiting]
            if self._current is not None:
                ids.append(self._current.job_id)
        for job_id in ids:
            self.cancel(job_id)

    def release(self, job_id: str) -> None:
        """Delete the arrays of a finished job from disk."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    @property
    def is_busy(self) -> bool:
        with self._lock:
            return self._current is not None or bool(self._waiting)

    @property
    def pid(self) -> int | None:
        """Process id while the process lives."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """End the process and delete its files; jobs under way are lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.clear()
            self._current = None
            process, self._process = self._process, None
        if process is not None:
            _end(process)
        shutil.rmtree(self._folder, ignore_errors=True)

    # Below: called with the lock held, or by the reader thread.

    def _ensure_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._stderr.clear()
        self._process = subprocess.Popen(
            [self._python, "-m", "ClaireDSALib.pipeline.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            env=_environment(self._environment),
        )
        for target in (self._read_messages, self._read_stderr):
            threading.Thread(target=target, args=(self._process,), daemon=True).start()

    def _send_next(self) -> None:
        if self._current is not None or not self._waiting or self._closed:
            return
        entry = self._current = self._waiting.popleft()
        entry.attempts += 1
        entry.folder.mkdir(parents=True, exist_ok=True)
        self._ensure_process()
        self._tell(
            "job",
            job=entry.job_id,
            folder=str(entry.folder),
            paths=list(entry.job.paths),
            stored=list(entry.job.stored),
            run_ids=list(entry.job.run_ids),
            settings=entry.job.settings.to_dict(),
            fallbacks=entry.fallbacks,
        )

    def _tell(self, kind: str, **values: Any) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A process that just died cannot be told; its reader thread notices and deals with the job.
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(protocol.encode(kind, **values))
            process.stdin.flush()

    def _read_messages(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            try:
                message = protocol.decode(line)
            except ValueError:
                self._stderr.append(line.rstrip())
                continue
            with self._lock:
                if self._process is process:
                    self._take(message)
        process.wait()
        process.stdout.close()
        _close_input(process)
        with self._lock:
            if self._process is process:
                self._process = None
                self._died(process.returncode)

    def _read_stderr(self, process: subprocess.Popen[str]) -> None:
        if process.stderr is None:
            return
        for line in process.stderr:
            self._stderr.append(line.rstrip())
        process.stderr.close()

    def _take(self, message: dict[str, Any]) -> None:
        if message["kind"] == "ready":
            if message.get("protocol") != protocol.PROTOCOL_VERSION:
                self._refuse_version(message.get("protocol"))
            return
        entry = self._current
        if entry is None or message.get("job") != entry.job_id:
            return
        handler = {
            "progress": self._on_progress,
            "run": self._on_run,
            "done": self._on_done,
            "failed": self._on_failed,
            "cancelled": self._on_cancelled,
        }[message["kind"]]
        handler(entry, message)

    def _on_progress(self, entry: _Entry, message: dict[str, Any]) -> None:
        state = Progress(message["fraction"], message["step"], message["run_id"], message["text"])
        self._events.put(WorkerEvent(entry.job_id, "progress", progress=state))

    def _on_run(self, entry: _Entry, message: dict[str, Any]) -> None:
        report = run_from_dict(message["report"])
        arrays = protocol.read_arrays(entry.folder / Path(message["folder"]).name, message["files"])
        entry.runs[report.run_id] = report
        entry.arrays[report.run_id] = arrays
        self._events.put(WorkerEvent(entry.job_id, "run_done", run=report, arrays=arrays))

    def _on_done(self, entry: _Entry, message: dict[str, Any]) -> None:
        for more in message.get("more", ()):
            late = protocol.read_arrays(entry.folder / Path(more["folder"]).name, more["files"])
            entry.arrays[more["run_id"]] = {**entry.arrays.get(more["run_id"], {}), **late}
        result = CaseResult(CaseReport.from_dict(message["report"]), entry.arrays)
        self._finish(entry, WorkerEvent(entry.job_id, "done", result=result))

    def _on_failed(self, entry: _Entry, message: dict[str, Any]) -> None:
        if message.get("out_of_memory"):
            self._again_or_fail(entry, f"memory ran out ({message['message']})")
        else:
            self._finish(entry, WorkerEvent(entry.job_id, "failed", message=message["message"]))

    def _on_cancelled(self, entry: _Entry, _: dict[str, Any]) -> None:
        self._finish(entry, WorkerEvent(entry.job_id, "cancelled"))

    def _died(self, code: int | None) -> None:
        entry = self._current
        if entry is None or self._closed:
            return
        if entry.cancelled:
            self._finish(entry, WorkerEvent(entry.job_id, "cancelled"))
        elif code == 0 and not entry.runs and entry.attempts < _MAX_ATTEMPTS:
            self._requeue(entry)  # it had idled out just as the job was sent
        else:
            self._again_or_fail(entry, f"the analysis process ended unexpectedly ({_how_it_ended(code)})")

    def _again_or_fail(self, entry: _Entry, why: str) -> None:
        if entry.cancelled:
            self._finish(entry, WorkerEvent(entry.job_id, "cancelled"))
            return
        if entry.attempts >= _MAX_ATTEMPTS:
            last = next((line for line in reversed(self._stderr) if line.strip()), "")
            text = f"{why}; it was tried {entry.attempts} times, the last time on the CPU. {last}".strip()
            self._finish(entry, WorkerEvent(entry.job_id, "failed", message=text))
            return
        entry.fallbacks.append(f"{why}; repeated on the CPU in a new process")
        entry.job = replace(entry.job, settings=replace(entry.job.settings, device="cpu"))
        self._requeue(entry)

    def _requeue(self, entry: _Entry) -> None:
        self._kill()
        self._current = None
        self._waiting.appendleft(entry)
        self._send_next()

    def _refuse_version(self, version: object) -> None:
        self._kill()
        text = (
            f"the worker speaks protocol {version}, this program {protocol.PROTOCOL_VERSION}: "
            "two versions of ClaireDSALib are mixed; reinstall the extension"
        )
        if self._current is not None:
            self._finish(self._current, WorkerEvent(self._current.job_id, "failed", message=text))

    def _kill_if_still(self, job_id: str) -> None:
        with self._lock:
            if self._current is not None and self._current.job_id == job_id:
                entry = self._current
                self._kill()
                self._finish(entry, WorkerEvent(job_id, "cancelled"))

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _end(process, grace_s=0.0)

    def _finish(self, entry: _Entry, event: WorkerEvent) -> None:
        if self._current is entry:
            self._current = None
        if event.kind != "done":
            self.release(entry.job_id)
        self._events.put(event)
        self._send_next()


def _end(process: subprocess.Popen[str], *, grace_s: float = _QUIT_GRACE_S) -> None:
    """Ask a process to quit, then make it."""
    _close_input(process)
    deadline = time.monotonic() + grace_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
    process.wait()


def _close_input(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):  # a dead process leaves a broken pipe
            process.stdin.close()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment, with the folder of ClaireDSALib on the module path (a source checkout is not installed)."""
    home = str(Path(ClaireDSALib.__file__).resolve().parents[1])
    path = os.pathsep.join(p for p in (home, os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **extra}


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}" + (", perhaps killed because memory ran out" if code == -9 else "")
    return f"exit code {code}"
