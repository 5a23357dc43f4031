"""What happened, line by line: the proof that every unit was analysed once."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

What = Literal["started", "done", "died", "retry", "call"]


class Journal:
    """Append-only lines of JSON, one file per machine.

    A line is one write to a file opened for appending, so lines of several processes do not mix. It begins with a line
    break as well: what a killed process left half written does not spoil its successor.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        name = "".join(c for c in socket.gethostname() if c.isalnum() or c in "-_") or "host"
        self._file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: What, key: str = "", **more: Any) -> None:
        """Add a line; ``done`` is written after the result is in its place."""
        entry = {"at": round(time.time(), 3), "what": what, "key": key, "pid": os.getpid(), **more}
        os.write(self._file, b"\n" + json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


@dataclass
class Account:
    """Sums of a journal.

    Examples
    --------
    >>> Account(done=Counter(a=1), retries=Counter()).more_than_once()
    {}
    """

    started: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    """Deaths of a worker that had nothing else in hand; since the last retry."""
    retries: Counter[str] = field(default_factory=Counter)
    unfinished: set[str] = field(default_factory=set)
    """Started and, as far as the journal knows, not done: the last call was killed in between."""

    def more_than_once(self) -> dict[str, int]:
        """Units that were analysed more often than somebody asked for; empty as long as all is well."""
        return {key: n for key, n in self.done.items() if n > 1 + self.retries[key]}


def read_account(folder: Path) -> Account:
    """Add up every line of every machine."""
    account = Account()
    for entry in entries(folder):
        what, key = entry["what"], entry.get("key", "")
        if what == "started":
            account.started[key] += 1
            account.unfinished.add(key)
        elif what == "done":
            account.done[key] += 1
            account.unfinished.discard(key)
            account.died.pop(key, None)
        elif what == "died" and entry.get("alone"):
            account.died[key] += 1
        elif what == "retry":
            account.retries[key] += 1
            account.died.pop(key, None)
    return account


def read_troubles(folder: Path) -> tuple[set[str], Counter[str]]:
    """Unfinished units and lonely deaths, without keeping a line for every unit that went well."""
    unfinished: set[str] = set()
    died: Counter[str] = Counter()
    for entry in entries(folder):
        what, key = entry["what"], entry.get("key", "")
        if what == "started":
            unfinished.add(key)
        elif what in ("done", "retry"):
            unfinished.discard(key)
            died.pop(key, None)
        elif what == "died" and entry.get("alone"):
            died[key] += 1
    return unfinished, died


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole line, machine by machine; torn ones are passed over."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and "what" in entry:
                    yield entry
