"""Longer work on the main thread, cut into steps with the event loop running between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

import qt

_BUDGET_S = 0.01
"""Steps are taken until this much time is used, then the application gets its turn."""


class Steps:
    """Runs iterators one after the other; what they yield does not matter.

    Parameters
    ----------
    failed : callable
        ``failed(error)`` when an iterator raised; the others go on.
    ended : callable
        Called each time an iterator has ended.
    """

    def __init__(self, failed: Callable[[Exception], None], ended: Callable[[], None]) -> None:
        self._failed, self._ended = failed, ended
        self._waiting: deque[Iterator[None]] = deque()
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._work)

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting)

    def add(self, work: Iterator[None]) -> None:
        """Put work at the end of the queue."""
        self._waiting.append(work)
        self._timer.start()

    def clear(self) -> None:
        """Drop all work, finished or not."""
        self._timer.stop()
        self._waiting.clear()

    def _work(self) -> None:
        end = time.perf_counter() + _BUDGET_S
        while self._waiting and time.perf_counter() < end:
            try:
                next(self._waiting[0])
            except StopIteration:
                self._drop_first()
            except Exception as error:  # noqa: BLE001 - told to the user; a broken result must not stop the others
                self._drop_first()
                self._failed(error)
        if not self._waiting:
            self._timer.stop()

    def _drop_first(self) -> None:
        if self._waiting:  # a step may have cleared the queue
            self._waiting.popleft()
        self._ended()
