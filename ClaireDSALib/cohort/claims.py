"""Who works on what: locks that the operating system releases when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_COORDINATOR = 0


class Claims:
    """Locks on single bytes of one file, one byte per key (POSIX record locks; over NFS they hold between machines).

    A lease that runs out would either be too long after a crash or too short for a slow run; a lock of the kernel is
    neither. Where the system has no such locks (Windows) every claim is granted, and a worker left over from a killed
    call ends by itself as soon as its pipe closes.

    Parameters
    ----------
    path : Path
        Created when missing. Keep one object per process: closing any handle on the file drops all its locks.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold a key (hexadecimal) while the block runs; yields False when another process holds it."""
        offset = 1 + int(key[:15], 16)
        held = self._lock(offset)
        try:
            yield held
        finally:
            if held:
                self._unlock(offset)

    def hold_cohort(self) -> bool:
        """Take the cohort as its one coordinator until this process ends; False when another one has it."""
        return self._lock(_COORDINATOR)

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._file)

    def _lock(self, offset: int) -> bool:
        try:
            import fcntl
        except ImportError:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, offset: int) -> None:
        import fcntl

        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, offset)
