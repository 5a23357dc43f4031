"""What a worker does with a job: reads one ahead, never two; claims, commits, and says what happened."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ClaireDSALib.cohort import worker as worker_module
from ClaireDSALib.cohort.analyst import AnalystSpec, CannotGoOnError, CaseAnalyst
from ClaireDSALib.cohort.journal import read_account
from ClaireDSALib.cohort.places import Places
from ClaireDSALib.cohort.store import Store, UnitResult
from ClaireDSALib.cohort.units import Unit
from ClaireDSALib.cohort.worker import Job, WorkerCore, WorkerSpec
from Testing.unit.cohort.cohort_process import NO_MODELS


class Gate:
    """An analyst that counts and waits."""

    def __init__(self):
        self.loaded = []
        self.read_ahead = threading.Event()
        self.together = threading.Barrier(2)
        self.side_by_side = False

    def prepare(self):
        pass

    def load(self, unit):
        self.loaded.append(unit.run_ids[0])
        if len(self.loaded) == 2:
            self.read_ahead.set()
        return unit

    def analyse(self, loaded, *, cpu_only):
        if self.side_by_side:
            self.together.wait(10)
        elif loaded.run_ids[0] == "a":
            assert self.read_ahead.wait(10), "the next unit is read while this one is analysed"
            self.loaded_during_first = len(self.loaded)
        return UnitResult("done"), {"run": np.zeros((4, 4), np.uint8)}


GATE = Gate()


def the_gate():
    return GATE


@pytest.fixture
def make_core(tmp_path, monkeypatch):
    """A worker in this process, with the gate as its analyst."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", worker_module.THREADS_VARIABLE):
        monkeypatch.setenv(name, "1")
    monkeypatch.setitem(globals(), "GATE", Gate())
    monkeypatch.setattr(AnalystSpec, "make", lambda self: the_gate())
    Places(tmp_path).make()
    made = []

    def make(lanes=1):
        made.append(WorkerCore(WorkerSpec(str(tmp_path), "recipe", AnalystSpec("none:none"), lanes=lanes)))
        return made[-1]

    yield make
    for core in made:
        core.close()


def _job(name):
    return Job(Unit("x", (name,), ("path",)), name * 64)


def test_the_next_unit_is_read_while_one_is_analysed_and_no_third(make_core):
    core = make_core()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(core.process, _job("a"))
        while not the_gate().loaded:
            time.sleep(0.01)
        others = [pool.submit(core.process, _job(name)) for name in "bcd"]
        assert {one.result(20).verdict for one in [first, *others]} == {"done"}
    assert the_gate().loaded_during_first == 2
    assert sorted(the_gate().loaded) == ["a", "b", "c", "d"]


def test_with_two_lanes_two_units_are_analysed_side_by_side(make_core):
    core = make_core(lanes=2)
    the_gate().side_by_side = True
    with ThreadPoolExecutor(3) as pool:
        assert [a.verdict for a in pool.map(core.process, [_job("a"), _job("b")])] == ["done", "done"]


def test_what_is_finished_is_not_analysed_again(make_core, tmp_path):
    core = make_core()
    Store(Places(tmp_path).results).commit("b" * 64, UnitResult("failed", reason="x"), {})
    assert core.process(_job("b")).verdict == "failed"
    assert the_gate().loaded == []
    assert read_account(Places(tmp_path).journal).started == {}


def test_runs_are_decoded_before_they_are_analysed(write_runs):
    folder = write_runs("one")
    analyst = CaseAnalyst(NO_MODELS.to_dict(), {})
    from ClaireDSALib.dsa.read import examine

    run_id = examine(folder).series[0].run_id
    loaded = analyst.load(Unit("x", (run_id,), (str(folder / "one.dcm"),)))
    assert loaded.series[0].frames.array.shape == (3, 32, 32)
    result, thumbnails = analyst.analyse(loaded, cpu_only=True)
    assert result.outcome == "done"
    assert thumbnails[run_id].shape == (32, 32)
    assert result.case["runs"][0]["arrays"] == {}
    with pytest.raises(ValueError, match="1 of 1 runs cannot be read"):
        analyst.load(Unit("x", ("another",), (str(folder / "one.dcm"),)))


def test_what_concerns_every_unit_is_no_failure_of_one(make_core, tmp_path, monkeypatch):
    core = make_core()

    def analyse(loaded, *, cpu_only):
        msg = "bundle tiny changed"
        raise CannotGoOnError(msg)

    monkeypatch.setattr(the_gate(), "analyse", analyse)
    with pytest.raises(CannotGoOnError):
        core.process(_job("a"))
    assert not Store(Places(tmp_path).results).has("a" * 64)


def test_a_bundle_that_changed_stops_the_cohort():
    from ClaireDSALib.pipeline.report import ModelRecord

    analyst = CaseAnalyst(NO_MODELS.to_dict(), {"labels": "a" * 64})
    analyst._check_bundles([ModelRecord("tiny", "1", "a" * 64, "labels", "onnxruntime", "cpu")])
    with pytest.raises(CannotGoOnError, match="changed while the cohort was analysed"):
        analyst._check_bundles([ModelRecord("tiny", "1", "b" * 64, "labels", "onnxruntime", "cpu")])
