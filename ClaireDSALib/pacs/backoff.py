"""When to try again: exponentially later, with jitter, so that peers that failed together do not return together."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waiting times between tries.

    Parameters
    ----------
    first_s : float
        Longest wait after the first failure, seconds.
    factor : float
        Growth with each further failure.
    longest_s : float
        No wait is longer, seconds.
    """

    first_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 900.0

    def __post_init__(self) -> None:
        if not (self.first_s > 0 and self.factor >= 1 and self.longest_s >= self.first_s):
            msg = f"back-off needs first_s > 0, factor >= 1 and longest_s >= first_s; got {self}"
            raise ValueError(msg)

    def ceiling_s(self, failures: int) -> float:
        """Longest wait after so many failures in a row (1 or more), seconds."""
        exponent = min(max(failures, 1) - 1, 64)  # 2 ** 64 s is beyond every limit; more would overflow
        return min(self.longest_s, self.first_s * self.factor**exponent)

    def wait_s(self, failures: int, chance: random.Random | None = None) -> float:
        """Draw a wait between half the ceiling and the ceiling, seconds."""
        ceiling = self.ceiling_s(failures)
        return ceiling * (chance or random).uniform(0.5, 1.0)
