"""The dispatcher with workers that are told how to behave: who is tried again, who is set aside."""

from collections import Counter

import pytest

from ClaireDSALib.cohort.analyst import AnalystSpec
from ClaireDSALib.cohort.dispatch import Dispatcher, Limits
from ClaireDSALib.cohort.engines import Event
from ClaireDSALib.cohort.journal import Journal, entries
from ClaireDSALib.cohort.store import Store
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.cohort.worker import Answer, Job, WorkerSpec


class MadeUpEngine:
    """Workers in memory: a job whose key begins with ``poison`` ends its worker, ``silent`` is never answered."""

    name = "made up"

    def __init__(self, *, unable: str = "", stillborn: bool = False) -> None:
        self.unable, self.stillborn = unable, stillborn
        self.jobs: dict[int, list[Job]] = {}
        self.events: list[Event] = []
        self.started = 0
        self.most = 0
        self.seen: Counter[str] = Counter()
        self.company: dict[str, list[int]] = {}

    def start(self) -> int:
        self.started += 1
        self.jobs[self.started] = []
        if self.stillborn:
            self.events.append(Event(self.started, death="SIGSEGV"))
        else:
            self.events.append(Event(self.started, ready=not self.unable, unable=self.unable))
        return self.started

    def send(self, worker: int, job: Job) -> None:
        self.jobs[worker].append(job)
        self.most = max(self.most, len(self.jobs[worker]))

    def wait(self, timeout_s: float) -> list[Event]:
        if self.events:
            told, self.events = self.events, []
            return told
        for worker, jobs in self.jobs.items():
            if jobs and not jobs[0].key.startswith("silent"):
                return [self._work(worker, jobs)]
        return []

    def stop(self, worker: int) -> None:
        del self.jobs[worker]

    def close(self) -> None:
        self.jobs.clear()

    def _work(self, worker: int, jobs: list[Job]) -> Event:
        job = jobs[0]
        self.seen[job.key] += 1
        self.company.setdefault(job.key, []).append(len(jobs))
        if job.key.startswith("poison"):
            del self.jobs[worker]
            return Event(worker, death="SIGKILL")
        jobs.pop(0)
        if job.key.startswith("busy") and self.seen[job.key] == 1:
            return Event(worker, answer=Answer(job.key, "busy"))
        if job.key.startswith("large") and not job.cpu_only:
            return Event(worker, answer=Answer(job.key, "out_of_memory"))
        return Event(worker, answer=Answer(job.key, "done"))


@pytest.fixture
def dispatch(tmp_path):
    """Work through keys; returns the engine and verdict by key."""
    (tmp_path / "journal").mkdir()

    def run(keys, engine=None, *, n_workers=1, deaths=None, **limits):
        engine = engine or MadeUpEngine()
        verdicts: dict[str, str] = {}
        journal = Journal(tmp_path / "journal")
        try:
            Dispatcher(
                engine,
                WorkerSpec(str(tmp_path), "recipe", AnalystSpec("none:none")),
                n_workers,
                Store(tmp_path / "results"),
                journal,
                limits=Limits(**limits),
                deaths=deaths if deaths is not None else Counter(),
                finished=lambda answer, runs: verdicts.__setitem__(answer.key, answer.verdict),
            ).run(Job(Unit("x", (key,), ("path",)), key) for key in keys)
        finally:
            journal.close()
        return engine, verdicts

    return run


def test_every_unit_is_finished_and_a_worker_never_has_more_than_it_can_hold(dispatch):
    engine, verdicts = dispatch([f"u{k}" for k in range(20)], n_workers=3)
    assert len(verdicts) == 20
    assert (engine.started, engine.most) == (3, 2)


def test_poison_is_set_aside_after_its_tries_and_its_neighbours_are_not(dispatch, tmp_path):
    engine, verdicts = dispatch(["a", "poison", "b", "c", "d"], tries=3)
    assert verdicts == {"a": "done", "b": "done", "c": "done", "d": "done", "poison": "failed"}
    assert engine.seen["poison"] == 3
    assert engine.company["poison"][-1] == 1, "the last try is alone"
    assert engine.started == 4
    kept = Store(tmp_path / "results").read("poison")
    assert "died 3 times" in kept.reason
    assert "SIGKILL" in kept.reason
    assert sum(entry["what"] == "died" for entry in entries(tmp_path / "journal")) >= 3


def test_two_poisons_among_two_workers_harm_nobody_else(dispatch):
    keys = ["poison1", "a", "poison2", *"bcdefgh"]
    _, verdicts = dispatch(keys, n_workers=2, tries=2)
    assert {key for key, verdict in verdicts.items() if verdict == "failed"} == {"poison1", "poison2"}
    assert len(verdicts) == len(keys)


def test_deaths_of_earlier_calls_count(dispatch):
    engine, verdicts = dispatch(["a", "poison", "b"], deaths=Counter(poison=2), tries=3)
    assert verdicts["poison"] == "failed"
    assert engine.seen["poison"] == 1


def test_a_unit_in_other_hands_is_asked_for_again(dispatch):
    engine, verdicts = dispatch(["busy", "a"])
    assert verdicts == {"a": "done", "busy": "done"}
    assert engine.seen["busy"] == 2


def test_what_the_gpu_cannot_hold_goes_to_the_cpu(dispatch):
    _, verdicts = dispatch(["large"])
    assert verdicts == {"large": "done"}


def test_a_silent_worker_is_replaced_and_its_unit_set_aside(dispatch):
    engine, verdicts = dispatch(["a", "silent"], tries=1, silence_s=0.01)
    assert verdicts == {"a": "done", "silent": "failed"}
    assert engine.jobs == {}, "the silent worker was stopped"


def test_when_no_worker_can_start_the_cohort_says_why(dispatch):
    with pytest.raises(RuntimeError, match="the bundle is damaged"):
        dispatch(["a"], MadeUpEngine(unable="the bundle is damaged"))
    with pytest.raises(RuntimeError, match="3 workers in a row died while they started"):
        dispatch(["a"], MadeUpEngine(stillborn=True))


def test_the_clock_says_how_long_still(monkeypatch):
    from ClaireDSALib.cohort import progress

    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = progress.RunClock(100, 10, 1)
    assert clock.state().left_s is None
    for _ in range(20):
        now[0] += 0.5
        state = clock.add(1, failed=False)
    assert (state.done, state.failed, state.runs_per_s) == (30, 1, 2.0)
    assert state.left_s == pytest.approx(35.0)
    assert str(state) == "30/100 runs, 1 failed, 2.00 runs/s, 35 s left"


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="tries must be at least 1"):
        Limits(tries=0)
