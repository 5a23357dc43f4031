"""Hands units to workers until all are finished; replaces workers that die and sets their poison aside."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from ClaireDSALib.cohort.engines import Engine, Event
from ClaireDSALib.cohort.journal import Journal
from ClaireDSALib.cohort.store import Store, UnitResult
from ClaireDSALib.cohort.worker import Answer, Job, WorkerSpec

_BUSY_AGAIN_S = 0.5
_TICK_S = 0.5
_START_DEATHS = 3


@dataclass(frozen=True)
class Limits:
    """When to give up.

    Parameters
    ----------
    tries : int
        A unit that ended its worker so often, the last time with nothing else in hand, is set aside.
    silence_s : float
        A worker that answers nothing for so long is killed.

    Raises
    ------
    ValueError
        When one of them is not positive.
    """

    tries: int = 3
    silence_s: float = 900.0

    def __post_init__(self) -> None:
        if self.tries < 1 or self.silence_s <= 0:
            msg = f"tries must be at least 1 and silence_s positive; got {self.tries} and {self.silence_s}"
            raise ValueError(msg)


@dataclass
class _Hands:
    """What a worker has in hand."""

    jobs: dict[str, Job] = field(default_factory=dict)
    ready: bool = False
    heard_at: float = field(default_factory=time.monotonic)


class Dispatcher:
    """One pass over the units that are not finished.

    A worker that dies with several units in hand says nothing about which of them did it: each is tried again alone.

    Parameters
    ----------
    engine : Engine
    spec : WorkerSpec
    n_workers : int
    store, journal
        Of the cohort.
    limits : Limits
    deaths : Counter
        Unit -> how often it ended its worker, in earlier calls as well.
    finished : callable
        Called with every answer that finishes a unit, and the number of runs in it.
    """

    def __init__(
        self,
        engine: Engine,
        spec: WorkerSpec,
        n_workers: int,
        store: Store,
        journal: Journal,
        *,
        limits: Limits,
        deaths: Counter[str],
        finished: Callable[[Answer, int], None],
    ) -> None:
        self._engine, self._slots, self._n_workers = engine, spec.slots, n_workers
        self._store, self._journal, self._limits = store, journal, limits
        self._deaths, self._finished = deaths, finished
        self._hands: dict[int, _Hands] = {}
        self._alone: deque[Job] = deque()
        self._later: deque[tuple[float, Job]] = deque()
        self._start_deaths = 0

    def run(self, jobs: Iterator[Job]) -> None:
        """Work through ``jobs``, taking one from the iterator only when a worker has room for it.

        Raises
        ------
        RuntimeError
            When workers cannot start at all, or cannot write what they found.
        """
        waiting: Job | None = next(jobs, None)
        while waiting is not None or self._open():
            self._hire(self._n_workers if waiting is not None else self._open())
            while waiting is not None and (worker := self._with_room()) is not None:
                if self._deaths[waiting.key]:
                    self._alone.append(waiting)
                else:
                    self._send(worker, waiting)
                waiting = next(jobs, None)
            self._send_loners()
            for event in self._engine.wait(_TICK_S):
                self._take(event)
            self._kill_silent()

    def _open(self) -> int:
        return sum(len(hands.jobs) for hands in self._hands.values()) + len(self._alone) + len(self._later)

    def _hire(self, wanted: int) -> None:
        while len(self._hands) < min(self._n_workers, wanted):
            self._hands[self._engine.start()] = _Hands()

    def _with_room(self) -> int | None:
        """The ready worker with the least in hand; one is kept free while a unit waits to be tried alone."""
        ready = [(len(h.jobs), number) for number, h in self._hands.items() if h.ready]
        if self._alone and ready:
            ready.remove(min(ready))
        room = [(n, number) for n, number in ready if n < self._slots and not self._has_loner(number)]
        return min(room)[1] if room else None

    def _has_loner(self, worker: int) -> bool:
        return any(self._deaths[key] for key in self._hands[worker].jobs)

    def _send_loners(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now and (worker := self._with_room()) is not None:
            self._send(worker, self._later.popleft()[1])
        idle = [number for number, hands in self._hands.items() if hands.ready and not hands.jobs]
        while self._alone and idle:
            self._send(idle.pop(), self._alone.popleft())

    def _send(self, worker: int, job: Job) -> None:
        hands = self._hands[worker]
        if not hands.jobs:
            hands.heard_at = time.monotonic()
        hands.jobs[job.key] = job
        self._engine.send(worker, job)

    def _take(self, event: Event) -> None:
        hands = self._hands.get(event.worker)
        if hands is None:
            return
        hands.heard_at = time.monotonic()
        if event.unable:
            msg = f"the workers cannot go on: {event.unable}"
            raise RuntimeError(msg)
        if event.ready:
            hands.ready, self._start_deaths = True, 0
        elif event.answer is not None:
            self._take_answer(hands, event.answer)
        else:
            self._bury(event.worker, event.death)

    def _take_answer(self, hands: _Hands, answer: Answer) -> None:
        job = hands.jobs.pop(answer.key, None)
        if job is None:
            return
        if answer.verdict == "busy":
            self._later.append((time.monotonic() + _BUSY_AGAIN_S, job))
        elif answer.verdict == "out_of_memory":
            self._later.append((0.0, replace(job, cpu_only=True)))
        else:
            self._deaths.pop(answer.key, None)
            self._finished(answer, len(job.unit.run_ids))

    def _bury(self, worker: int, how: str) -> None:
        hands = self._hands.pop(worker)
        if not hands.ready:
            self._start_deaths += 1
            if self._start_deaths >= _START_DEATHS:
                msg = f"{_START_DEATHS} workers in a row died while they started; the last one: {how}"
                raise RuntimeError(msg)
        alone = len(hands.jobs) == 1
        for job in hands.jobs.values():
            self._deaths[job.key] += 1
            self._journal.write("died", job.key, alone=alone, how=how)
            if alone and self._deaths[job.key] >= self._limits.tries:
                self._set_aside(job, how)
            else:
                self._alone.append(job)

    def _set_aside(self, job: Job, how: str) -> None:
        times = self._deaths.pop(job.key)
        reason = f"the analysis process died {times} times with this run in hand ({how}); set aside"
        self._store.commit(job.key, UnitResult("failed", reason=reason), {})
        self._journal.write("done", job.key, outcome="failed")
        self._finished(Answer(job.key, "failed", reason), len(job.unit.run_ids))

    def _kill_silent(self) -> None:
        now = time.monotonic()
        for number, hands in list(self._hands.items()):
            if hands.jobs and now - hands.heard_at > self._limits.silence_s:
                self._engine.stop(number)
                self._bury(number, f"no answer for {self._limits.silence_s:g} s; killed")
