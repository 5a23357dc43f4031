"""Results on disk: one folder per unit, complete from the moment it has its name."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1

_FAILED = "failed"
"""Empty file that spares reading a result to know that it is a failure."""

Outcome = Literal["done", "failed"]


@dataclass(frozen=True)
class UnitResult:
    """What is known of one unit after its analysis.

    Parameters
    ----------
    outcome : {"done", "failed"}
        ``failed`` when the unit could not be read or analysed, or when one of its runs could not.
    case : mapping
        The case report as plain values; empty when there is none.
    reason : str
        One sentence when it failed.
    timings_s : mapping
        ``read`` and ``analyze``.
    """

    outcome: Outcome
    case: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    timings_s: Mapping[str, float] = field(default_factory=dict)


class Store:
    """Content-addressed results below one folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, key: str) -> bool:
        """Whether the unit is finished, well or not."""
        return self._place(key).is_dir()

    def failed(self, key: str) -> bool:
        """Whether the unit is finished, but not well."""
        return (self._place(key) / _FAILED).exists()

    def commit(self, key: str, result: UnitResult, thumbnails: Mapping[str, npt.NDArray[np.uint8]]) -> bool:
        """Put a result in its place in one step.

        Parameters
        ----------
        key : str
        result : UnitResult
        thumbnails : mapping
            Run -> small ``(H, W)`` uint8 picture.

        Returns
        -------
        bool
            False when somebody else had put one there before; theirs stays.
        """
        from ClaireDSALib.export.pictures import write_png

        draft = self._folder / "drafts" / f"{key}.{uuid.uuid4().hex[:8]}"
        draft.mkdir(parents=True)
        try:
            for run_id, picture in thumbnails.items():
                write_png(draft / f"{run_id}.png", picture)
            _write_synced(draft / "result.json", _as_json(key, result))
            if result.outcome == "failed":
                (draft / _FAILED).touch()
            place = self._place(key)
            place.parent.mkdir(exist_ok=True)
            try:
                draft.rename(place)
            except OSError:
                if place.is_dir():
                    return False
                raise
            _sync_folder(place.parent)
            return True
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def read(self, key: str) -> UnitResult:
        """Read a result back.

        Raises
        ------
        OSError
            When there is none.
        ValueError
            When it is of another version or not JSON.
        """
        data = json.loads((self._place(key) / "result.json").read_text(encoding="utf-8"))
        if data.get("schema") != SCHEMA_VERSION:
            msg = f"result {key[:12]} has schema {data.get('schema')!r}; this program reads {SCHEMA_VERSION}"
            raise ValueError(msg)
        return UnitResult(data["outcome"], data["case"], data["reason"], data["timings_s"])

    def thumbnail(self, key: str, run_id: str) -> Path:
        """Where the small picture of a run lies; it may not exist."""
        return self._place(key) / f"{run_id}.png"

    def remove(self, key: str) -> None:
        """Forget a result: out of the way in one step, deleted at leisure."""
        rubbish = self._folder / "drafts" / f"removed.{uuid.uuid4().hex[:8]}"
        rubbish.parent.mkdir(parents=True, exist_ok=True)
        self._place(key).rename(rubbish)
        shutil.rmtree(rubbish, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what killed processes left half written; only while nobody else works here."""
        shutil.rmtree(self._folder / "drafts", ignore_errors=True)

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key


def _as_json(key: str, result: UnitResult) -> str:
    data = {
        "schema": SCHEMA_VERSION,
        "key": key,
        "outcome": result.outcome,
        "reason": result.reason,
        "timings_s": dict(result.timings_s),
        "case": dict(result.case),
    }
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
