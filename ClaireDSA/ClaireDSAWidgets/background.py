"""Work in a Python thread that touches neither Qt nor the scene; its end is told on the main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import qt

_POLL_MS = 60
_GIL_PAUSE_S = 0.003
"""Slicer's main thread holds Python's lock while Qt waits; this pause lets the thread run."""


class Background:
    """Runs one function at a time.

    Parameters
    ----------
    done : callable
        ``done(result, error)`` on the main thread; one of them is None.
    """

    def __init__(self, done: Callable[[Any, BaseException | None], None]) -> None:
        self._done, self._thread = done, None
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def start(self, work: Callable[[], Any]) -> None:
        """Begin ``work()``.

        Raises
        ------
        RuntimeError
            When something is running already.
        """
        if self._thread is not None:
            msg = "wait until the present work has ended"
            raise RuntimeError(msg)
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._timer.start()

    def close(self) -> None:
        """Forget what runs; its end is no longer told."""
        self._timer.stop()
        self._thread = None

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._outcome = (work(), None)
        except Exception as error:  # noqa: BLE001 - the thread's edge: everything is told on the main thread
            self._outcome = (None, error)

    def _poll(self) -> None:
        time.sleep(_GIL_PAUSE_S)
        if self._outcome is not None:
            outcome, self._outcome, self._thread = self._outcome, None, None
            self._timer.stop()
            self._done(*outcome)
