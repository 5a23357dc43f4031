"""Worker processes on this machine, each with its own pipe; one that dies takes nobody along."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ClaireDSALib.cohort.engines import Event
from ClaireDSALib.cohort.worker import Answer, Job, WorkerCore, WorkerSpec, limit_threads

_LIKELY_VICTIM = "300"
"""When Linux runs out of memory it ends a worker, not the coordinator."""


@dataclass
class _Child:
    process: BaseProcess
    pipe: Connection


class LocalEngine:
    """Processes started with ``spawn``: nothing is inherited from the coordinator's threads.

    Parameters
    ----------
    spec : WorkerSpec
    """

    name = "local"

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._context = multiprocessing.get_context("spawn")
        self._children: dict[int, _Child] = {}
        self._numbers = itertools.count()

    def start(self) -> int:
        """Start a worker and return its number."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._spec), daemon=True)
        with _environment_of(self._spec):
            process.start()
        theirs.close()
        number = next(self._numbers)
        self._children[number] = _Child(process, ours)
        return number

    def send(self, worker: int, job: Job) -> None:
        """Hand over a job; when the worker just died, :meth:`wait` will tell."""
        with contextlib.suppress(OSError):
            self._children[worker].pipe.send(job)

    def wait(self, timeout_s: float) -> list[Event]:
        """Answers and deaths, waiting for the first at most so long."""
        by_pipe = {child.pipe: number for number, child in self._children.items()}
        events: list[Event] = []
        for pipe in wait(list(by_pipe), timeout_s):
            events += self._hear(by_pipe[pipe])  # type: ignore[index]
        return events

    def stop(self, worker: int) -> None:
        """Kill a worker, whatever it does."""
        child = self._children.pop(worker, None)
        if child is not None:
            child.process.kill()
            _bury(child)

    def close(self) -> None:
        """End all workers; those that analyse are killed, their units stay undone."""
        for number in list(self._children):
            self.stop(number)

    def _hear(self, worker: int) -> list[Event]:
        child = self._children[worker]
        events: list[Event] = []
        try:
            while child.pipe.poll():
                events.append(Event.said(worker, child.pipe.recv()))
        except (EOFError, OSError):
            del self._children[worker]
            events.append(Event(worker, death=_bury(child)))
        return events


@contextlib.contextmanager
def _environment_of(spec: WorkerSpec) -> Iterator[None]:
    """What the child inherits: numpy is imported, and asks for its threads, before any line of ours runs there."""
    before = dict(os.environ)
    try:
        limit_threads(spec)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def serve(pipe: Connection, spec: WorkerSpec) -> None:
    """A worker's main: jobs in, answers out, gone as soon as the pipe closes.

    Parameters
    ----------
    pipe : Connection
    spec : WorkerSpec
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    limit_threads(spec)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write(_LIKELY_VICTIM)
    lock = threading.Lock()
    try:
        core = WorkerCore(spec)
        core.prepare()
    except Exception as error:  # noqa: BLE001 - the process boundary: the coordinator says why nobody can work
        _send(pipe, f"{type(error).__name__}: {error}", lock)
        return
    _send(pipe, "", lock)

    def work(job: Job) -> None:
        try:
            answer: Answer | str = core.process(job)
        except Exception as error:  # noqa: BLE001 - the process boundary: a full disk stops the cohort, with its reason
            answer = f"{type(error).__name__}: {error}"
        _send(pipe, answer, lock)

    pool = ThreadPoolExecutor(spec.slots)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pool.submit(work, pipe.recv())
    os._exit(0)  # not waiting for the analysis: the coordinator is gone and its successor may want the unit


def _send(pipe: Connection, answer: Answer | str, lock: threading.Lock) -> None:
    with lock, contextlib.suppress(OSError):
        pipe.send(answer)


def _bury(child: _Child) -> str:
    child.pipe.close()
    child.process.join(5)
    code = child.process.exitcode
    return _how_it_ended(code)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    remark = {"SIGKILL": ", usually because memory ran out", "SIGSEGV": ", a crash in native code"}.get(name, "")
    return f"{name}{remark}"
