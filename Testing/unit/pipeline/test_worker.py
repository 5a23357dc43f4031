"""The worker may be cancelled, killed or starved, and the application goes on."""

import os
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.pipeline.series_store import save_series
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.worker import AnalyzeJob, Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the misbehaving interpreter is a shell script")

_PATIENCE_S = 60.0


@pytest.fixture
def a_job(tmp_path) -> AnalyzeJob:
    series = DsaSeries.from_array(np.full((3, 16, 16), 900, np.uint16), run_id="run")
    return AnalyzeJob(stored=(str(save_series(tmp_path / "stored", series)),), settings=Settings(label_bundle="none"))


@pytest.fixture
def a_worker_that(tmp_path):
    """Make workers whose analysis misbehaves in a named way; all are closed at the end."""
    made = []

    def make(behaviour: str, **options) -> Worker:
        script = tmp_path / f"python_{behaviour}"
        stub = Path(__file__).with_name("misbehaving_worker.py")
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stub}" {behaviour} "{tmp_path / "marker"}"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        made.append(Worker(str(script), **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def _last(worker: Worker, job_id: str):
    return list(worker.events(job_id, timeout_s=_PATIENCE_S))[-1]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_ends_with_the_report_and_mapped_arrays(a_worker_that, a_job):
    worker = a_worker_that("well")
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "done", event.message
    array = event.result.arrays["run"]["minip"]
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, np.full((4, 5), 7))
    assert event.result.report.run("run").acquisition.n_frames == 3


def test_what_libraries_print_does_not_disturb_the_messages(a_worker_that, a_job):
    worker = a_worker_that("chatty")
    assert _last(worker, worker.submit(a_job)).kind == "done"


def test_a_wrong_input_is_told_in_its_own_words_and_the_process_lives_on(a_worker_that, a_job):
    worker = a_worker_that("wrong")
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "failed"
    assert "end after 3 of 20 frames" in event.message
    assert worker.pid is not None


def test_a_crash_is_retried_once_and_the_report_says_so(a_worker_that, a_job):
    worker = a_worker_that("crash_once")
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "done", event.message
    (sentence,) = event.result.report.provenance.fallbacks
    assert "signal 9" in sentence
    assert "repeated on the CPU" in sentence


def test_a_second_crash_fails_the_job_but_not_the_worker(a_worker_that, a_job):
    worker = a_worker_that("crash")
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "failed"
    assert "tried 2 times" in event.message
    assert _last(worker, worker.submit(a_job)).kind == "failed"


def test_an_exhausted_gpu_falls_back_to_the_cpu_and_the_report_says_so(a_worker_that, a_job):
    worker = a_worker_that("cuda_out_of_memory")
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "done", event.message
    assert event.result.report.provenance.settings["device"] == "cpu"
    assert "CUDA out of memory" in event.result.report.provenance.fallbacks[0]


@pytest.mark.parametrize("behaviour", ["polite", "deaf"])
def test_a_running_job_is_cancelled_within_a_second(a_worker_that, a_job, behaviour):
    worker = a_worker_that(behaviour)
    job_id = worker.submit(a_job)
    for event in worker.events(job_id, timeout_s=_PATIENCE_S):
        if event.progress is not None and event.progress.step == behaviour:
            break
    start = time.monotonic()
    worker.cancel(job_id)
    assert _last(worker, job_id).kind == "cancelled"
    assert time.monotonic() - start < 1.0


def test_a_job_after_a_killed_one_still_runs(a_worker_that, a_job):
    worker = a_worker_that("crash_once")
    first, second = worker.submit(a_job), worker.submit(a_job)
    assert _last(worker, first).kind == "done"
    assert _last(worker, second).kind == "done"


def test_a_waiting_job_is_cancelled_at_once(a_worker_that, a_job):
    worker = a_worker_that("deaf")
    worker.submit(a_job)
    waiting = worker.submit(a_job)
    worker.cancel(waiting)
    assert _last(worker, waiting).kind == "cancelled"


def test_the_process_ends_when_idle_and_the_next_job_starts_another(a_worker_that, a_job):
    worker = a_worker_that("well", idle_s=0.3)
    assert _last(worker, worker.submit(a_job)).kind == "done"
    deadline = time.monotonic() + 10
    while worker.pid is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker.pid is None
    event = _last(worker, worker.submit(a_job))
    assert event.kind == "done"
    assert event.result.report.provenance.fallbacks == ()


def test_no_process_outlives_the_application(a_worker_that):
    worker = a_worker_that("well")
    worker.start()
    pid = worker.pid
    worker.close()
    assert not _alive(pid)


def test_the_process_ends_when_its_application_is_killed(tmp_path):
    import subprocess

    code = (
        "from ClaireDSALib.pipeline.worker import Worker; import time; w = Worker(); w.start();"
        "print(w.pid, flush=True); print(w._folder, flush=True); time.sleep(60)"
    )
    home = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=home) as application:
        pid = int(application.stdout.readline())
        folder = Path(application.stdout.readline().strip())
        time.sleep(1.0)
        application.kill()
    deadline = time.monotonic() + 20
    while (_alive(pid) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)
    assert not folder.exists(), "files of a dead application stay behind"


def test_a_hundred_jobs_leave_nothing_behind(a_worker_that, a_job):
    psutil = pytest.importorskip("psutil")
    worker = a_worker_that("well")
    sizes = []
    for _ in range(100):
        job_id = worker.submit(a_job)
        assert _last(worker, job_id).kind == "done"
        worker.release(job_id)
        sizes.append(psutil.Process(worker.pid).memory_info().rss)
    assert sizes[-1] - sizes[9] < 20e6, "memory of the process grew over ninety jobs"
    assert list(Path(worker._folder).iterdir()) == []


def test_a_job_without_input_is_refused(a_worker_that):
    with pytest.raises(ValueError, match="needs paths or stored series"):
        a_worker_that("well").submit(AnalyzeJob())


def test_a_closed_worker_takes_no_job(a_worker_that, a_job):
    worker = a_worker_that("well")
    worker.close()
    with pytest.raises(RuntimeError, match="was closed"):
        worker.submit(a_job)
