"""What a worker process does, whoever started it: claim, analyse, commit, tell."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ClaireDSALib.cohort.analyst import AnalystSpec, CannotGoOnError
from ClaireDSALib.cohort.claims import Claims
from ClaireDSALib.cohort.journal import Journal
from ClaireDSALib.cohort.places import Places
from ClaireDSALib.cohort.store import Store, UnitResult
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.dsa.threads import THREADS_VARIABLE

Verdict = Literal["done", "failed", "busy", "out_of_memory"]


@dataclass(frozen=True)
class WorkerSpec:
    """Everything a worker needs to know; plain values, so that it travels to any process.

    Parameters
    ----------
    out : str
        The cohort's folder; on several machines the same path for all.
    recipe_sha256 : str
    analyst : AnalystSpec
    lanes : int
        Units analysed side by side in one process.
    threads : int
        Threads that one analysis may use.
    environment : mapping
        Set before anything heavy is imported.
    """

    out: str
    recipe_sha256: str
    analyst: AnalystSpec
    lanes: int = 1
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Units a worker has in hand at most: those it analyses and one that it reads ahead."""
        return self.lanes + 1


@dataclass(frozen=True)
class Job:
    """One unit to analyse.

    Parameters
    ----------
    unit : Unit
    key : str
    cpu_only : bool
        The GPU's memory was too small for it before.
    """

    unit: Unit
    key: str
    cpu_only: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Parameters
    ----------
    key : str
    verdict : {"done", "failed", "busy", "out_of_memory"}
        ``busy``: another process has it in hand.
    reason : str
    seconds : float
    """

    key: str
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0


class WorkerCore:
    """Processes jobs; :meth:`process` may run in as many threads as there are slots.

    While ``lanes`` jobs are analysed, one more is read and decoded.

    Parameters
    ----------
    spec : WorkerSpec
    """

    def __init__(self, spec: WorkerSpec) -> None:
        limit_threads(spec)
        places = Places(Path(spec.out))
        self._store, self._journal, self._claims = Store(places.results), Journal(places.journal), Claims(places.claims)
        self._analyst = spec.analyst.make()
        self._reading = threading.Semaphore(1)
        self._analysing = threading.Semaphore(spec.lanes)

    def prepare(self) -> None:
        """Load the models, so that a bundle nobody can load stops the cohort and not each of its runs."""
        self._analyst.prepare()

    def process(self, job: Job) -> Answer:
        """Analyse one unit unless it is finished or in other hands; its result is on disk when this returns."""
        start = time.perf_counter()
        with self._claims.claim(job.key) as mine:
            if not mine:
                return Answer(job.key, "busy")
            if self._store.has(job.key):
                return Answer(job.key, "failed" if self._store.failed(job.key) else "done")
            try:
                result, thumbnails = self._analyse(job)
            except CannotGoOnError:
                raise
            except Exception as error:  # noqa: BLE001 - the process boundary: a unit that fails must not stop the others
                if _is_out_of_memory(error) and not job.cpu_only:
                    return Answer(job.key, "out_of_memory", str(error))
                result, thumbnails = UnitResult("failed", reason=_sentence(error)), {}
            self._store.commit(job.key, result, thumbnails)
            self._journal.write("done", job.key, outcome=result.outcome)
        return Answer(job.key, result.outcome, result.reason, time.perf_counter() - start)

    def close(self) -> None:
        """Release files; for tests that work in one process."""
        self._journal.close()
        self._claims.close()

    def _analyse(self, job: Job) -> tuple[UnitResult, Any]:
        with self._reading:
            start = time.perf_counter()
            loaded = self._analyst.load(job.unit)
            read_s = round(time.perf_counter() - start, 4)
            self._analysing.acquire()  # before the next unit is read: one waits ready, not more
        try:
            self._journal.write("started", job.key)
            result, thumbnails = self._analyst.analyse(loaded, cpu_only=job.cpu_only)
        finally:
            self._analysing.release()
        timings = {**result.timings_s, "read": read_s}
        return UnitResult(result.outcome, result.case, result.reason, timings), thumbnails


def limit_threads(spec: WorkerSpec) -> None:
    """Keep every numerical library to the worker's share of the cores; takes effect before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", THREADS_VARIABLE):
        os.environ[name] = str(spec.threads)
    os.environ.update(spec.environment)


def _is_out_of_memory(error: BaseException) -> bool:
    from ClaireDSALib.pipeline.model_set import is_out_of_memory

    return isinstance(error, MemoryError) or is_out_of_memory(error)


def _sentence(error: BaseException) -> str:
    """What went wrong, without paths: they carry names of patients."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return str(error) or type(error).__name__
