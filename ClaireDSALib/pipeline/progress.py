"""Progress and cancellation, as arguments of the analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where an analysis stands."""

    fraction: float
    """0 to 1 over the whole case."""
    step: str
    """``read``, ``project``, ``labels``, ``vessels``, ``maps``, ``done`` ..."""
    run_id: str = ""
    text: str = ""


ProgressCallback = Callable[[Progress], None]
CancelCheck = Callable[[], bool]


class Cancelled(Exception):  # noqa: N818 - the user's wish, not an error
    """The user asked to stop."""


def ignore_progress(_: Progress) -> None:
    """Do nothing with the progress."""


def never_cancel() -> bool:
    """Go on to the end."""
    return False
