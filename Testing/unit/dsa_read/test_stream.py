"""Frames stream through threads in order, with few of them alive at once."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ClaireDSALib.dsa.decode_errors import DecodeError
from ClaireDSALib.dsa.decode_stream import for_each_frame, iter_frames, reduce_frames
from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.threads import THREADS_VARIABLE, thread_budget, work_beside
from Testing.unit.dsa_read import dicom_builder as build


@pytest.fixture(scope="module")
def frames():
    return build.raw_run(23, 64)


@pytest.fixture(scope="module")
def series(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "run.dcm"
    return read(build.write_run(path, frames, transfer_syntax=build.JPEG_LOSSLESS_SV1)).series[0]


class CountingFrames:
    """Frames that count how many were asked for and how many are being decoded."""

    def __init__(self, n=40, fails_at=None):
        self.shape, self.dtype, self.fails_at = (n, 2, 2), np.dtype(np.uint8), fails_at
        self.asked, self.active, self.most_active = 0, 0, 0
        self.lock = threading.Lock()

    def read(self, index):
        with self.lock:
            self.asked += 1
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        if index == self.fails_at:
            msg = "frame is damaged"
            raise DecodeError(msg)
        with self.lock:
            self.active -= 1
        return np.full((2, 2), index % 256, np.uint8)


@pytest.mark.parametrize("workers", [None, 1, 2, 5, 99])
def test_frames_come_in_order_whatever_the_number_of_threads(series, frames, workers):
    np.testing.assert_array_equal(np.stack(list(iter_frames(series, workers))), frames)


def test_chosen_frames_come_in_the_order_asked_for(series, frames):
    np.testing.assert_array_equal(np.stack(list(iter_frames(series, 3, [7, 2, 2, 20]))), frames[[7, 2, 2, 20]])


def test_frames_given_out_are_the_callers_to_keep(series, frames):
    kept = list(iter_frames(series, 2))
    kept[0][:] = 0
    np.testing.assert_array_equal(kept[1], frames[1])
    np.testing.assert_array_equal(series.frame(0), frames[0])


def test_decoding_does_not_run_far_ahead_of_the_consumer():
    source = CountingFrames()
    stream = iter_frames(source, 3)
    next(stream)
    assert source.asked <= 5
    stream.close()


def test_a_process_that_shares_the_cores_decodes_with_its_share(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "1")
    source, threads = CountingFrames(), set()
    for_each_frame(source, lambda index, frame: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert thread_budget() == 3


def test_a_thread_that_works_beside_others_takes_its_part(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "5")
    with ThreadPoolExecutor(1, initializer=work_beside, initargs=(1,)) as pool:
        assert pool.submit(thread_budget).result() == 2
    assert thread_budget() == 5, "other threads are not concerned"
    with ThreadPoolExecutor(1, initializer=work_beside, initargs=(7,)) as pool:
        assert pool.submit(thread_budget).result() == 1, "one thread is the least"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_reduction_sees_every_frame_once(series, frames, workers):
    def update(acc, index, frame):
        seen, low = acc
        return [*seen, index], np.minimum(low, frame)

    def merge(a, b):
        return [*a[0], *b[0]], np.minimum(a[1], b[1])

    seen, low = reduce_frames(series, lambda: ([], np.full(series.shape, 65535, np.uint16)), update, merge, workers)
    assert sorted(seen) == list(range(23))
    np.testing.assert_array_equal(low, frames.min(0))


def test_visiting_gives_each_index_its_frame(series, frames):
    out = np.zeros_like(frames)

    def visit(index, frame):
        out[index] = frame

    for_each_frame(series, visit, 3)
    np.testing.assert_array_equal(out, frames)


def test_frames_in_memory_stream_too(frames):
    np.testing.assert_array_equal(np.stack(list(iter_frames(DsaSeries.from_array(frames)))), frames)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_damaged_frame_stops_every_worker(workers):
    source = CountingFrames(400, fails_at=0)
    with pytest.raises(DecodeError, match="damaged"):
        for_each_frame(source, lambda index, frame: None, workers)
    assert source.asked < 400


def test_an_error_of_the_visitor_reaches_the_caller():
    def visit(index, frame):
        raise KeyError(index)

    with pytest.raises(KeyError):
        for_each_frame(CountingFrames(), visit, 4)


def test_projecting_needs_memory_for_a_few_frames_only(tmp_path):
    frames = build.raw_run(30, 512)
    path = build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=build.JPEG_LOSSLESS_SV1)
    frame_bytes = frames[0].nbytes
    expected = frames.min(0)
    del frames
    series = read(path).series[0]
    tracemalloc.start()
    low = reduce_frames(
        series, lambda: np.full(series.shape, 65535, np.uint16), lambda a, k, f: np.minimum(a, f, out=a), np.minimum, 2
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(low, expected)
    assert peak < 8 * frame_bytes


def test_one_source_serves_many_threads_at_once(series, frames):
    results = {}

    def work(name):
        results[name] = np.stack([series.frame(k) for k in range(series.n_frames)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(result, frames) for result in results.values())


def test_a_file_that_disappears_is_a_named_error(tmp_path, frames):
    path = build.write_run(tmp_path / "run.dcm", frames)
    series = read(path).series[0]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DecodeError, match="cannot be read"):
        series.frame(20)
    path.unlink()
    with pytest.raises(DecodeError, match="cannot be read") as error:
        series.frame(0)
    assert str(tmp_path) not in str(error.value)
