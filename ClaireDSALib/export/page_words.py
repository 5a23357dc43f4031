"""Small words of the page."""

from __future__ import annotations

from html import escape
from pathlib import PurePosixPath


def words(name: str) -> str:
    """A name of the report as people say it."""
    return "PA/AP" if name == "ap" else name.replace("_", " ")


def count(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def url(path: str) -> str:
    """Relative address of a file that this program named itself, for an attribute."""
    return escape(PurePosixPath(path).as_posix(), quote=True) if path else ""
