"""What a benchmark is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Quantity = Literal["seconds", "peak_mib", "work_mib"]
"""``peak_mib``: largest resident memory of the whole process; ``work_mib``: how much of it the work added."""


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Parameters
    ----------
    name : str
    run : callable
        Takes what ``Benchmark.prepare`` returned; what it returns must be equal for all contenders, or None.
    imports : tuple of str
        Modules imported before the clock and the memory baseline start.
    repeats : int
        Timed calls in one process, after one call that is not timed; 0: the very first call is timed.
    """

    name: str
    run: Callable[[Path], object]
    imports: tuple[str, ...] = ()
    repeats: int = 3


@dataclass(frozen=True)
class Target:
    """What must hold: ``peer / ours`` at least a factor, or ours at most a number of seconds."""

    quantity: Quantity
    peer: str = ""
    peer_over_ours_at_least: float | None = None
    ours_at_most: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """One job, our way first, then its peers.

    Parameters
    ----------
    name, job : str
        Short name, and the job in one line.
    prepare : callable
        Writes the input into a folder and returns its path; called once.
    contenders : tuple of Contender
        The first is ours.
    targets : tuple of Target
    shares : callable, optional
        Takes what ``prepare`` returned and tells which part of our time each step took.
    """

    name: str
    job: str
    prepare: Callable[[Path], Path]
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...] = ()
    shares: Callable[[Path], Mapping[str, float]] | None = None
