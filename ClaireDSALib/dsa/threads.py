"""How many threads this process may use, one rule for decoding and inference alike."""

from __future__ import annotations

import os
import threading

THREADS_VARIABLE = "CLAIRE_DSA_THREADS"
"""Environment variable: threads of this process, for processes that share the cores; every core unless set."""

_here = threading.local()


def thread_budget() -> int:
    """Threads that one step may use, at least 1; a part of them in a thread that works beside others."""
    whole = max(0, int(os.environ.get(THREADS_VARIABLE, "0"))) or _processors()
    return max(1, whole // sharers())


def work_beside(others: int) -> None:
    """Say that this thread works beside ``others`` that do the same, and takes its part of the cores from now on."""
    _here.sharers = 1 + others


def sharers() -> int:
    """Threads that share the cores with this one, itself among them."""
    return int(getattr(_here, "sharers", 1))


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
