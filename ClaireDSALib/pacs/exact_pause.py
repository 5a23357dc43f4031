"""Answers that reach the one who asked.

A requestor's association has a thread of its own that looks for messages, and whoever sends stops that thread first.
In pynetdicom the thread says that it stands still a moment before it does: in between it may take the answer to a
C-STORE for itself and drop it ("Received unexpected C-STORE service message"). The sender then waits for its whole
timeout, and hands over again what had arrived. Here standing still and saying so are one step.
"""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom import evt


class Checkpoint(threading.Event):
    """Where the association's thread stands still while the event is cleared.

    Parameters
    ----------
    assoc : pynetdicom.association.Association
    """

    def __init__(self, assoc: Any) -> None:
        super().__init__()
        self._assoc, self._gate = assoc, threading.Lock()
        self.set()

    def clear(self) -> None:
        """Ask the thread to stand still; it has until ``assoc._is_paused`` to come to it."""
        with self._gate:
            super().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Stand still, and before going on take back that one does."""
        while super().wait(timeout):
            with self._gate:
                if self.is_set():  # else it was cleared in this very moment
                    self._assoc._is_paused = False
                    return True
        return False


def _mend(event: Any) -> None:
    event.assoc._reactor_checkpoint = Checkpoint(event.assoc)


EXACT_PAUSE = (evt.EVT_ESTABLISHED, _mend)
"""For ``evt_handlers`` of ``AE.associate``; this event comes before the association's thread looks for messages."""
