"""How far a cohort is, how fast, and for how long still."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 120.0


@dataclass(frozen=True)
class CohortProgress:
    """Where a cohort stands.

    Parameters
    ----------
    step : str
        ``fetch``, ``files`` (total unknown, 0), ``studies``, ``runs`` or ``table``.
    done, total : int
    failed : int
    runs_per_s : float
        Of the last two minutes; 0 before the first.
    left_s : float or None
        None as long as nobody can know.
    """

    step: str
    done: int
    total: int
    failed: int = 0
    runs_per_s: float = 0.0
    left_s: float | None = None

    def __str__(self) -> str:
        if self.step == "files":
            return f"reading headers: {self.done} files"
        if self.step != "runs":
            return f"{self.step}: {self.done}/{self.total}"
        left = "" if self.left_s is None else f", {_words(self.left_s)} left"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.total} runs{failed}, {self.runs_per_s:.2f} runs/s{left}"


Tell = Callable[[CohortProgress], None]


class RunClock:
    """Counts finished runs and says how many there will be when.

    Parameters
    ----------
    total, done, failed : int
        Runs in all, and those finished in earlier calls.
    """

    def __init__(self, total: int, done: int, failed: int) -> None:
        self._total, self._done, self._failed = total, done, failed
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._now = 0

    def add(self, runs: int, *, failed: bool) -> CohortProgress:
        """Count a finished unit."""
        now = time.monotonic()
        self._done += runs
        self._failed += runs if failed else 0
        self._now += runs
        self._recent.append((now, self._now))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()
        return self.state()

    def state(self) -> CohortProgress:
        """Where it stands."""
        (first_at, first), (last_at, last) = self._recent[0], self._recent[-1]
        rate = (last - first) / (last_at - first_at) if last > first and last_at > first_at else 0.0
        left = (self._total - self._done) / rate if rate else None
        return CohortProgress("runs", self._done, self._total, self._failed, rate, left)


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
