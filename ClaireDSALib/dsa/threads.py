"""How many threads this process may use, one rule for decoding and inference alike."""

from __future__ import annotations

import os

THREADS_VARIABLE = "CLAIRE_DSA_THREADS"
"""Environment variable: threads of this process, for processes that share the cores; every core unless set."""


def thread_budget() -> int:
    """Threads that one step may use, at least 1."""
    return max(0, int(os.environ.get(THREADS_VARIABLE, "0"))) or _processors()


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
