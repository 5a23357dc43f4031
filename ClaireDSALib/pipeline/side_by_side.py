"""Several runs of a case at once: decoding, numpy and the networks let go of the interpreter, so threads are enough."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ClaireDSALib.dsa.decode_stream import worker_count
from ClaireDSALib.dsa.threads import work_beside
from ClaireDSALib.pipeline.progress import CancelCheck, Progress, ProgressCallback

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_AT_ONCE = 2
"""The two views of a pair. Each run may hold its frames, so more would cost memory that a laptop does not have."""


def side_by_side(
    work: Callable[[Item, CancelCheck], Result], items: Sequence[Item], cancel: CancelCheck, *, most: int = MOST_AT_ONCE
) -> Iterator[Result]:
    """Yield ``work(item, cancel)`` of every item in order, up to ``most`` being worked on at once.

    Parameters
    ----------
    work : callable
        Called from several threads; asks the ``cancel`` it is given now and then.
    items : sequence
    cancel : callable
        When it returns True, work stops as soon as it asks.
    most : int
        Never more than the threads this process may use; with one, everything happens in the calling thread.

    Notes
    -----
    When one item raises, or the caller stops asking for results, the others are cancelled.
    """
    n_workers = min(most, worker_count(len(items)))
    if n_workers <= 1:
        yield from (work(item, cancel) for item in items)
        return
    stop = threading.Event()

    def cancelled() -> bool:
        return stop.is_set() or cancel()

    with ThreadPoolExecutor(n_workers, "run", initializer=work_beside, initargs=(n_workers - 1,)) as pool:
        futures = [pool.submit(work, item, cancelled) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            stop.set()
            for future in futures:
                future.cancel()


class SharedProgress:
    """One bar for several runs at once: it only grows, and one message is told at a time.

    Parameters
    ----------
    tell : callable taking a Progress
    total : int
        Runs of the case.
    """

    def __init__(self, tell: ProgressCallback, total: int) -> None:
        self._tell, self._done, self._lock = tell, [0.0] * total, threading.Lock()

    def of_run(self, number: int, run_id: str) -> Callable[[float, str], None]:
        """What run ``number`` calls with its own fraction, 0 to 1, and the name of the step it begins."""

        def tell(fraction: float, step: str) -> None:
            with self._lock:
                self._done[number] = fraction
                self._tell(Progress(sum(self._done) / len(self._done), step, run_id))

        return tell

    def finish(self, number: int) -> None:
        """Run ``number`` is complete; said with the next message."""
        with self._lock:
            self._done[number] = 1.0
