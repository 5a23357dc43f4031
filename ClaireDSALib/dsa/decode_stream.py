"""Decode on a few threads while memory stays at a few frames: the primitive below every projection."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, Frame, FrameSource
from ClaireDSALib.dsa.threads import thread_budget

Accumulator = TypeVar("Accumulator")

_MAX_WORKERS = 8
"""Beyond this, memory bandwidth and not decoding is the limit, and every worker holds a frame."""


def iter_frames(
    series: DsaSeries | FrameSource,
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> Iterator[Frame]:
    """Yield decoded frames in order, decoding a few ahead on threads.

    Parameters
    ----------
    series : DsaSeries or FrameSource
    workers : int, optional
        Decoding threads; the process's share of the cores (at most 8) unless told. At most ``workers + 1``
        frames exist at once besides those the caller keeps.
    indices : sequence of int, optional
        Frames to decode, in this order; every frame unless told.

    Yields
    ------
    (H, W) ndarray of uint8 or uint16
        The caller's to keep.

    Raises
    ------
    DecodeError
        When a frame is damaged.
    """
    source = _source_of(series)
    wanted = range(source.shape[0]) if indices is None else indices
    n_workers = worker_count(len(wanted), workers)
    if n_workers <= 1 or isinstance(source, ArrayFrames):  # nothing to decode in what lies in memory
        yield from map(source.read, wanted)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="decode") as pool:
        ahead: deque[Future[Frame]] = deque()
        try:
            for index in wanted:
                ahead.append(pool.submit(source.read, index))
                if len(ahead) > n_workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def reduce_frames(
    series: DsaSeries | FrameSource,
    start: Callable[[], Accumulator],
    update: Callable[[Accumulator, int, Frame], Accumulator],
    merge: Callable[[Accumulator, Accumulator], Accumulator],
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> Accumulator:
    """Fold frames into one result, each worker decoding every n-th frame into its own memory.

    Parameters
    ----------
    series : DsaSeries or FrameSource
    start : callable
        Makes an empty accumulator; called once per worker.
    update : callable
        ``update(accumulator, index, frame) -> accumulator``. ``frame`` is only valid during the
        call: its memory is reused for the next frame, so copy what is to be kept. Called from
        several threads, each with its own accumulator. An exception stops every worker.
    merge : callable
        ``merge(a, b) -> accumulator``; called in the order of the workers, so results repeat.
    workers : int, optional
        As in `iter_frames`.
    indices : sequence of int, optional
        As in `iter_frames`; the order between workers is not kept.

    Examples
    --------
    >>> series = DsaSeries.from_array(np.arange(12, dtype=np.uint16).reshape(3, 2, 2))
    >>> def lower(acc, index, frame):
    ...     return np.minimum(acc, frame, out=acc)
    >>> reduce_frames(series, lambda: np.full((2, 2), 65535, np.uint16), lower, np.minimum).tolist()
    [[0, 1], [2, 3]]
    """
    source = _source_of(series)
    wanted = range(source.shape[0]) if indices is None else indices
    n_workers = worker_count(len(wanted), workers)
    failed = threading.Event()

    def work(first: int) -> Accumulator:
        accumulator, buffer = start(), _new_buffer(source)
        for index in wanted[first::n_workers]:
            if failed.is_set():
                break
            accumulator = update(accumulator, index, read_frame_into(source, index, buffer))
        return accumulator

    return _fold(work, merge, n_workers, failed)


def for_each_frame(
    series: DsaSeries | FrameSource,
    visit: Callable[[int, Frame], None],
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> None:
    """Call ``visit(index, frame)`` for every frame, from several threads, in no particular order.

    ``frame`` is only valid during the call, as in `reduce_frames`.
    """

    def update(nothing: None, index: int, frame: Frame) -> None:  # noqa: ARG001 - the accumulator is unused here
        visit(index, frame)

    reduce_frames(series, lambda: None, update, lambda a, b: None, workers, indices)  # noqa: ARG005


def read_frame_into(source: FrameSource, index: int, buffer: npt.NDArray) -> Frame:
    """Decode into ``buffer`` where the source can, else into fresh memory."""
    into = getattr(source, "read_into", None)
    return source.read(index) if into is None else into(index, buffer)


def worker_count(n_frames: int, workers: int | None = None) -> int:
    """Return how many threads to use for ``n_frames`` frames, at least 1."""
    if workers is None:
        workers = min(_MAX_WORKERS, thread_budget())
    return max(1, min(workers, n_frames))


def _fold(
    work: Callable[[int], Accumulator],
    merge: Callable[[Accumulator, Accumulator], Accumulator],
    n_workers: int,
    failed: threading.Event,
) -> Accumulator:
    def guarded(first: int) -> Accumulator:
        try:
            return work(first)
        except BaseException:
            failed.set()
            raise

    if n_workers == 1:
        return guarded(0)
    with ThreadPoolExecutor(n_workers - 1, thread_name_prefix="decode") as pool:
        futures = [pool.submit(guarded, first) for first in range(1, n_workers)]
        result = guarded(0)
        for future in futures:
            result = merge(result, future.result())
    return result


def _source_of(series: DsaSeries | FrameSource) -> FrameSource:
    return series.frames if isinstance(series, DsaSeries) else series


def _new_buffer(source: FrameSource) -> npt.NDArray:
    # Sources without read_into bring their own memory.
    shape = source.shape[1:] if hasattr(source, "read_into") else (0, 0)
    return np.empty(shape, source.dtype)
