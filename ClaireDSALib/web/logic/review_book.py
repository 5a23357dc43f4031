"""The reviewer's corrections: undo, redo, and a file that is always up to date."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ClaireDSALib.dsa.strict_json import read_json
from ClaireDSALib.pipeline.report import Override

FORMAT = "claire-dsa-review"
VERSION = 1
_CASE_COMMENT = ""
"""Label under which the comment on a whole run is kept."""

Key = tuple[str, str]
"""(run id, label)."""


@dataclass
class ReviewBook:
    """Corrections of one case, kept beside the model's output and never over it.

    Parameters
    ----------
    path : Path, optional
        JSON file that each change is written to at once; None keeps them in memory only.

    Examples
    --------
    >>> book = ReviewBook()
    >>> book.set("run", "side", "correct", "left")
    >>> book.undo()
    >>> book.get("run", "side") is None
    True
    """

    path: Path | None = None
    reviewer: str = ""
    _entries: dict[Key, Override] = field(default_factory=dict)
    _undo: list[tuple[Key, Override | None]] = field(default_factory=list)
    _redo: list[tuple[Key, Override | None]] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path | None) -> ReviewBook:
        """Book with what the file holds already.

        Raises
        ------
        ValueError
            When the file is there but is no review; it is not overwritten.
        """
        book = cls(path)
        if path is not None and path.is_file():
            book._read(path)
        return book

    def get(self, run_id: str, label: str) -> Override | None:
        return self._entries.get((run_id, label))

    def set(self, run_id: str, label: str, verdict: str, value: str = "", comment: str | None = None) -> None:
        """Record a verdict: ``accept``, ``correct`` (with the right class as value) or ``unsure``."""
        before = self.get(run_id, label)
        kept = comment if comment is not None else (before.comment if before else "")
        self._change((run_id, label), self._override(label, verdict, value, kept))

    def clear(self, run_id: str, label: str) -> None:
        """Take a verdict back."""
        if (run_id, label) in self._entries:
            self._change((run_id, label), None)

    def comment(self, run_id: str) -> str:
        """Comment on the whole run."""
        entry = self.get(run_id, _CASE_COMMENT)
        return entry.comment if entry else ""

    def set_comment(self, run_id: str, text: str) -> None:
        if text != self.comment(run_id):
            self._change((run_id, _CASE_COMMENT), self._override(_CASE_COMMENT, "accept", "", text) if text else None)

    def set_reviewer(self, name: str) -> None:
        """Name that later entries carry."""
        self.reviewer = name.strip()
        self._write()

    def undo(self) -> None:
        self._step(self._undo, self._redo)

    def redo(self) -> None:
        self._step(self._redo, self._undo)

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        return bool(self._redo)

    def overrides(self, run_id: str) -> tuple[Override, ...]:
        """Entries of a run in the order of their labels, for the report."""
        return tuple(self._entries[k] for k in sorted(self._entries) if k[0] == run_id)

    def take(self, run_id: str, overrides: tuple[Override, ...]) -> None:
        """Adopt corrections that came with a report; the book's own win. They cannot be undone."""
        for override in overrides:
            self._entries.setdefault((run_id, override.label), override)

    def _override(self, label: str, verdict: str, value: str, comment: str) -> Override:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Override(label, verdict, value, comment, self.reviewer, now)  # type: ignore[arg-type]

    def _change(self, key: Key, entry: Override | None) -> None:
        self._undo.append((key, self._entries.get(key)))
        self._redo.clear()
        self._put(key, entry)

    def _step(self, source: list[tuple[Key, Override | None]], target: list[tuple[Key, Override | None]]) -> None:
        if not source:
            return
        key, entry = source.pop()
        target.append((key, self._entries.get(key)))
        self._put(key, entry)

    def _put(self, key: Key, entry: Override | None) -> None:
        if entry is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = entry
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        runs: dict[str, list[dict[str, Any]]] = {}
        for (run_id, _), entry in sorted(self._entries.items()):
            runs.setdefault(run_id, []).append(dataclasses.asdict(entry))
        content = {"format": FORMAT, "version": VERSION, "reviewer": self.reviewer, "runs": runs}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(self.path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _read(self, path: Path) -> None:
        try:
            content = read_json(path)
            if not isinstance(content, Mapping) or content.get("format") != FORMAT:
                msg = f"it is not a {FORMAT} file"
                raise ValueError(msg)
            self.reviewer = str(content.get("reviewer", ""))
            for run_id, entries in content["runs"].items():
                self._entries.update({(run_id, e["label"]): Override(**e) for e in entries})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{path} cannot be read as a review ({error}); move it away or name another --review-dir"
            raise ValueError(msg) from error


def _write_whole(path: Path, text: str) -> None:
    """Write beside and rename, so that the file is never half there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".review-", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
