"""Several runs at once: the same report, in the same order, whatever the number of threads."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from ClaireDSALib.dsa import frame_memory
from ClaireDSALib.dsa.series import DsaSeries, Intensity
from ClaireDSALib.dsa.threads import THREADS_VARIABLE, thread_budget
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.model_set import ModelSet
from ClaireDSALib.pipeline.progress import Cancelled, never_cancel
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.side_by_side import side_by_side
from Testing.unit.dsa_physics.conftest import CountingFrames

_PURE = Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none", quality_bundle="none")


def a_run(seed: int) -> DsaSeries:
    """Fourteen frames whose vessel fills, decoded one by one as from a file."""
    times = np.arange(14) * 0.45
    bolus = np.exp(-0.5 * ((times - 2.5 - 0.3 * seed) / 0.7) ** 2)
    opacity = np.zeros((14, 96, 96))
    opacity[:, 10:86, 30 + 5 * seed : 36 + 5 * seed] = 0.5 * bolus[:, None, None]
    noise = np.random.default_rng(seed).normal(0, 4, opacity.shape)
    frames = np.clip(3000 * np.exp(-opacity) + noise, 0, 4095).astype(np.uint16)
    intensity = Intensity(bits_stored=12, relation="LIN")
    return DsaSeries(f"run{seed}", CountingFrames(frames), times, intensity=intensity, subtraction_state="unsubtracted")


def found(monkeypatch, threads: str, **options):
    monkeypatch.setenv("CLAIRE_DSA_THREADS", threads)
    return analyze([a_run(1), a_run(2), a_run(3)], _PURE, **options)


def test_two_runs_at_once_give_the_report_of_one_after_the_other(monkeypatch):
    alone, together = found(monkeypatch, "1"), found(monkeypatch, "2")
    assert [run.run_id for run in together.report.runs] == ["run1", "run2", "run3"]
    for a, b in zip(alone.report.runs, together.report.runs, strict=True):
        assert dataclasses.replace(a, timings_s={}) == dataclasses.replace(b, timings_s={})
        assert a.error == ""
        assert set(alone.arrays[a.run_id]) == set(together.arrays[a.run_id])
        for name, array in alone.arrays[a.run_id].items():
            np.testing.assert_array_equal(array, together.arrays[a.run_id][name], err_msg=name)


def test_a_run_too_long_for_memory_gives_the_same_arrays(monkeypatch):
    held = analyze([a_run(1)], _PURE)
    monkeypatch.setattr(frame_memory.hold_frames, "__kwdefaults__", {"limit_bytes": 0})
    streamed = analyze([a_run(1)], _PURE)
    for name, array in held.arrays["run1"].items():
        np.testing.assert_array_equal(array, streamed.arrays["run1"][name], err_msg=name)


def test_every_frame_is_decoded_once_and_forgotten_in_the_end():
    run = a_run(1)
    states = []

    class Watching(ModelSet):
        def sequence_bundle(self, settings):
            states.append(settings)
            return super().sequence_bundle(settings)

    analyze([run], _PURE, models=Watching())
    assert states
    assert sorted(run.frames.reads) == list(range(14))


def test_progress_only_grows_and_ends_at_one(monkeypatch):
    said = []
    found(monkeypatch, "2", progress=said.append)
    fractions = [one.fraction for one in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {one.run_id for one in said} == {"run1", "run2", "run3", ""}


def test_runs_are_told_in_their_order_by_the_calling_thread(monkeypatch):
    told = []
    found(monkeypatch, "2", on_run=lambda report, arrays: told.append((report.run_id, threading.current_thread())))
    assert [name for name, _ in told] == ["run1", "run2", "run3"]
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_the_users_wish_to_stop_reaches_every_run(monkeypatch):
    asked = []

    def cancel() -> bool:
        asked.append(threading.current_thread().name)
        return len(asked) > 6

    with pytest.raises(Cancelled):
        found(monkeypatch, "2", cancel=cancel)


def test_an_item_that_fails_stops_the_others(monkeypatch):
    monkeypatch.setenv("CLAIRE_DSA_THREADS", "2")
    began, stopped = threading.Event(), threading.Event()

    def work(item, cancel):
        if item == 0:
            began.wait(20)
            msg = "first"
            raise RuntimeError(msg)
        began.set()
        deadline = time.monotonic() + 20
        while not cancel() and time.monotonic() < deadline:
            time.sleep(0.01)
        if cancel():
            stopped.set()
        return item

    with pytest.raises(RuntimeError, match="first"):
        list(side_by_side(work, [0, 1], lambda: False))
    assert stopped.is_set()


def test_with_one_thread_nothing_leaves_the_calling_thread(monkeypatch):
    monkeypatch.setenv("CLAIRE_DSA_THREADS", "1")
    threads = list(side_by_side(lambda item, cancel: threading.current_thread(), [1, 2], lambda: False))
    assert set(threads) == {threading.current_thread()}


def test_a_model_asked_for_by_two_threads_is_loaded_once():
    loaded = []

    class Model:
        name = version = sha256 = engine = device = "x"

    def load(bundle, *, device):
        time.sleep(0.05)
        loaded.append(bundle)
        return Model()

    models = ModelSet(load_classifier=load)
    threads = [threading.Thread(target=models._model, args=("labels", "b", "cpu")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["b"]
    assert [record.task for record in models.records()] == ["labels"]


def test_each_takes_its_part_of_the_cores(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "8")
    assert list(side_by_side(lambda item, cancel: thread_budget(), [1, 2, 3], never_cancel, most=2)) == [4, 4, 4]
    assert list(side_by_side(lambda item, cancel: thread_budget(), [1], never_cancel)) == [8]
    assert thread_budget() == 8
