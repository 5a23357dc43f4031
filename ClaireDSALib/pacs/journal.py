"""The queue's file: tables, transactions that survive a power cut, and the claim on a receiver's folder."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = 1

_TABLES = """
CREATE TABLE objects (
    sop_instance_uid TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    path TEXT NOT NULL,           -- below the spool; empty once the file was deleted after its time
    n_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,         -- SHA-256 of the data set
    peer TEXT NOT NULL,
    received_at REAL NOT NULL     -- seconds since 1970
);
CREATE INDEX objects_of_study ON objects (study_uid);
CREATE TABLE superseded (
    path TEXT PRIMARY KEY,        -- an older version's file, kept while an analysis may read it
    study_uid TEXT NOT NULL
);
CREATE TABLE studies (
    study_uid TEXT PRIMARY KEY,
    state TEXT NOT NULL,          -- receiving, analysing, sending, done, nothing, aside
    revision INTEGER NOT NULL,    -- counts the times its images changed
    last_object_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    analyses INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    settled_at REAL               -- when it became done, nothing or aside
);
CREATE INDEX studies_by_state ON studies (state, last_object_at);
CREATE TABLE results (
    sop_instance_uid TEXT NOT NULL,
    destination TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    revision INTEGER NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,          -- waiting, sending, sent, refused
    in_doubt INTEGER NOT NULL DEFAULT 0,  -- handed over once, the answer was never seen
    failures INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (sop_instance_uid, destination)
);
CREATE INDEX results_to_send ON results (destination, state, not_before);
CREATE INDEX results_of_study ON results (study_uid);
"""


Do = Callable[..., sqlite3.Cursor]
"""``do(statement, *values)`` inside a transaction."""


class Journal:
    """One SQLite file, one transaction at a time.

    Parameters
    ----------
    path : Path
    clock : callable
        Seconds since 1970; tests replace it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._connection = _connect(path)
        self._lock = threading.RLock()
        self.now = clock

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Do]:
        """Yield ``do``; everything done is on the disk when the block ends, nothing of it when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda statement, *values: self._connection.execute(statement, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def lock_folder(folder: Path) -> sqlite3.Connection:
    """Claim a folder for this process; the claim ends with the process, however it ends.

    An exclusive SQLite transaction is the one lock that works alike on every system.

    Raises
    ------
    RuntimeError
        When another process has it.
    """
    connection = sqlite3.connect(folder / "lock.sqlite", isolation_level=None, check_same_thread=False, timeout=0)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as problem:
        connection.close()
        msg = f"another receiver works in {folder}; give each its own --folder"
        raise RuntimeError(msg) from problem
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    """Open the queue's file, making it when new.

    Raises
    ------
    ValueError
        When another version of the program made it.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # every commit reaches the disk before it returns
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        connection.close()
        msg = f"the queue {path.name} has version {version}, this program knows {VERSION}; use another folder"
        raise ValueError(msg)
    return connection
