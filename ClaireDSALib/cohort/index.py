"""What was found where, in SQLite on disk: the coordinator's memory does not grow with the cohort.

Only a cache: when it is deleted, the next call reads the headers again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ClaireDSALib.cohort.units import Unit

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS files(
  path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, study TEXT, mark TEXT, centre TEXT, reason TEXT, seen INTEGER);
CREATE INDEX IF NOT EXISTS files_of_study ON files(study);
CREATE TABLE IF NOT EXISTS studies(study TEXT PRIMARY KEY, digest TEXT);
CREATE TABLE IF NOT EXISTS units(
  id INTEGER PRIMARY KEY, study TEXT, patient TEXT, acquired_at TEXT, first_run TEXT, n_runs INTEGER,
  content TEXT, n_bytes INTEGER, centre TEXT, run_ids TEXT, paths TEXT);
CREATE INDEX IF NOT EXISTS units_of_study ON units(study);
CREATE INDEX IF NOT EXISTS units_in_order ON units(patient, study, first_run);
CREATE TABLE IF NOT EXISTS runs(run_id TEXT PRIMARY KEY, study TEXT);
CREATE TABLE IF NOT EXISTS refused(study TEXT, source TEXT, reason TEXT);
CREATE INDEX IF NOT EXISTS refused_of_study ON refused(study);
"""
_PAGE = 256
_TWICE = "the same run as elsewhere in the cohort; counted once"


@dataclass(frozen=True)
class FoundFile:
    """One file as the scan left it.

    Parameters
    ----------
    path : str
    size, mtime_ns : int
    study : str
        Files with the same word are planned together; empty when the file is not used.
    mark : str
        :func:`ClaireDSALib.cohort.units.fingerprint`.
    centre : str
    reason : str
        One sentence when the file is not used.
    """

    path: str
    size: int
    mtime_ns: int
    study: str = ""
    mark: str = ""
    centre: str = ""
    reason: str = ""


@dataclass(frozen=True)
class PlannedUnit:
    """A unit and when it was acquired (``YYYYMMDDHHMMSS.ffffff``, empty when the header does not say)."""

    unit: Unit
    acquired_at: str = ""


class Index:
    """Files, studies and units of one cohort.

    Parameters
    ----------
    path : Path
        Made anew when it is missing, damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._db = _open(path)
        self._seen = int(self._db.execute("SELECT coalesce(max(seen), 0) FROM files").fetchone()[0])

    def close(self) -> None:
        self._db.commit()
        self._db.close()

    # Files

    def begin_scan(self) -> None:
        """Start a scan: what it does not meet is forgotten at its end."""
        self._seen += 1

    def unchanged(self, path: str, size: int, mtime_ns: int, centre: str) -> bool:
        """Whether the file is known as it is now; then it is marked as met."""
        found = self._db.execute(
            "UPDATE files SET seen = ? WHERE path = ? AND size = ? AND mtime_ns = ? AND centre = ?",
            (self._seen, _stored(path), size, mtime_ns, centre),
        )
        return found.rowcount > 0

    def add_file(self, file: FoundFile) -> None:
        study = _shown(file.study)
        values = (_stored(file.path), file.size, file.mtime_ns, study, file.mark, file.centre, file.reason, self._seen)
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?)", values)

    def end_scan(self) -> None:
        """Forget files that were not met, and studies that have none left."""
        with self._db:
            self._db.execute("DELETE FROM files WHERE seen <> ?", (self._seen,))
            gone = "NOT IN (SELECT study FROM files)"
            for table in ("studies", "units", "runs", "refused"):
                self._db.execute(f"DELETE FROM {table} WHERE study {gone}")
            # A run that was refused as a copy is planned again: its original may have gone.
            copies = "SELECT study FROM refused WHERE reason = ?"
            self._db.execute(f"DELETE FROM studies WHERE study IN ({copies})", (_TWICE,))

    def save(self) -> None:
        self._db.commit()

    # Studies

    def studies(self) -> Iterator[tuple[str, str]]:
        """Every study and a digest of its files as they are now."""
        after = ""
        while True:
            rows = self._db.execute(
                "SELECT DISTINCT study FROM files WHERE study > ? ORDER BY study LIMIT ?", (after, _PAGE)
            ).fetchall()
            if not rows:
                return
            for (study,) in rows:
                yield study, self._digest(study)
            after = rows[-1][0]

    def n_studies(self) -> int:
        return int(self._db.execute("SELECT count(DISTINCT study) FROM files WHERE study <> ''").fetchone()[0])

    def is_planned(self, study: str, digest: str) -> bool:
        row = self._db.execute("SELECT digest FROM studies WHERE study = ?", (study,)).fetchone()
        return row is not None and row[0] == digest

    def files_of(self, study: str) -> list[FoundFile]:
        rows = self._db.execute(
            "SELECT path, size, mtime_ns, study, mark, centre, reason FROM files WHERE study = ? ORDER BY path",
            (study,),
        )
        return [FoundFile(_path(row[0]), *row[1:]) for row in rows]

    def put_plan(
        self, study: str, digest: str, units: Sequence[PlannedUnit], refused: Iterable[tuple[str, str]]
    ) -> None:
        """Replace the plan of one study; a run that another study has already is refused, not counted twice."""
        with self._db:
            for table in ("units", "runs", "refused"):
                self._db.execute(f"DELETE FROM {table} WHERE study = ?", (study,))
            for planned in units:
                self._add_unit(study, planned)
            self._db.executemany(
                "INSERT INTO refused VALUES (?,?,?)", [(study, _shown(source), why) for source, why in refused]
            )
            self._db.execute("INSERT OR REPLACE INTO studies VALUES (?,?)", (study, digest))

    # Units

    def units(self) -> Iterator[Unit]:
        """Every unit in the order of the table, a page at a time: by patient, study and run."""
        columns = "patient, study, first_run, content, n_bytes, centre, run_ids, paths"
        after = ("", "", "")
        while True:
            rows = self._db.execute(
                f"SELECT {columns} FROM units WHERE (patient, study, first_run) > (?,?,?) "
                "ORDER BY patient, study, first_run LIMIT ?",
                (*after, _PAGE),
            ).fetchall()
            if not rows:
                return
            for patient, _, _, content, n_bytes, centre, run_ids, paths in rows:
                yield Unit(content, tuple(json.loads(run_ids)), tuple(json.loads(paths)), n_bytes, centre, patient)
            after = rows[-1][:3]

    def n_units_and_runs(self) -> tuple[int, int]:
        units, runs = self._db.execute("SELECT count(*), coalesce(sum(n_runs), 0) FROM units").fetchone()
        return int(units), int(runs)

    def median_moment(self) -> str:
        """Acquisition time that halves the units that have one; empty when none has."""
        known = "FROM units WHERE acquired_at <> ''"
        count = int(self._db.execute(f"SELECT count(*) {known}").fetchone()[0])
        if not count:
            return ""
        row = self._db.execute(
            f"SELECT acquired_at {known} ORDER BY acquired_at LIMIT 1 OFFSET ?", (count // 2,)
        ).fetchone()
        return str(row[0])

    def not_used(self) -> Iterator[tuple[str, str]]:
        """Every file or run that was not used, and why."""
        files = self._db.execute("SELECT path, reason FROM files WHERE reason <> '' ORDER BY path")
        yield from ((_shown(_path(path)), reason) for path, reason in files)
        yield from self._db.execute("SELECT source, reason FROM refused ORDER BY source")

    def _digest(self, study: str) -> str:
        known = "SELECT path, size, mtime_ns, centre FROM files WHERE study = ? ORDER BY path"
        rows = self._db.execute(known, (study,))
        return hashlib.sha256(repr(rows.fetchall()).encode()).hexdigest()

    def _add_unit(self, study: str, planned: PlannedUnit) -> None:
        unit = planned.unit
        fresh = []
        for run_id in unit.run_ids:
            if self._db.execute("INSERT OR IGNORE INTO runs VALUES (?,?)", (run_id, study)).rowcount:
                fresh.append(run_id)
            else:
                self._db.execute("INSERT INTO refused VALUES (?,?,?)", (study, _shown(unit.paths[0]), _TWICE))
        if not fresh:
            return
        self._db.execute(
            "INSERT INTO units"
            "(study, patient, acquired_at, first_run, n_runs, content, n_bytes, centre, run_ids, paths)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                study,
                unit.patient_key,
                planned.acquired_at,
                min(fresh),
                len(fresh),
                unit.content,
                unit.n_bytes,
                unit.centre,
                json.dumps(fresh),
                json.dumps(unit.paths),
            ),
        )


def _stored(path: str) -> bytes:
    """File names are bytes and need not be UTF-8, while text in SQLite must be."""
    return path.encode("utf-8", "surrogateescape")


def _path(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError:
        for suffix in ("", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA journal_mode = TRUNCATE")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -4096")
        if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
            msg = "another version of the index"
            raise sqlite3.DatabaseError(msg)
        db.executescript(_TABLES)
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.commit()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db
