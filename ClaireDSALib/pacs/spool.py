"""Where a receiver's objects lie on disk, and how one is written while it arrives.

``incoming/`` holds objects under way, ``objects/<study>/`` received ones, ``results/<study>/`` what was
made of them, ``aside/`` what could not be used, each with a ``.txt`` that says why. All folders lie on one file system,
so that a rename is atomic.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from ClaireDSALib.pacs import durable
from ClaireDSALib.pacs.identity import ObjectIdentity, short_key

_LOG = logging.getLogger(__name__)
_MAX_ASIDE_FILES = 1000
"""A peer that sends nothing but rubbish must not fill the disk with it."""


class IncomingObject:
    """One object while it arrives: a file that swallows what does not fit instead of raising.

    The bytes come in the thread that reads the network; the answer is given by another one, which
    looks at :attr:`problem`.

    Parameters
    ----------
    path : Path
    max_bytes : int
        More is counted and thrown away.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.n_bytes = 0
        self.problem: OSError | None = None
        """What the disk said, None while all is well."""
        self._max_bytes = max_bytes
        self._stream: BinaryIO | None = None
        try:
            self._stream = path.open("xb")
        except OSError as problem:
            self._fail(problem)

    @property
    def is_oversized(self) -> bool:
        return self.n_bytes > self._max_bytes

    def write(self, data: bytes) -> None:
        """Append, as long as nothing went wrong."""
        self.n_bytes += len(data)
        if self.is_oversized:
            self.discard()
            return
        if self._stream is None:
            return
        try:
            self._stream.write(data)
        except OSError as problem:
            self._fail(problem)

    def finish(self) -> None:
        """Put everything on the disk and close.

        Raises
        ------
        OSError
            When the disk did not take it.
        """
        if self.problem is not None:
            raise self.problem
        if self._stream is None:
            return
        try:
            self._stream.flush()
            self._stream.close()
            durable.sync_file(self.path)
        except OSError:
            self.discard()
            raise
        self._stream = None

    def discard(self) -> None:
        """Close and delete."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):  # a full disk is told again when the buffer is flushed
                stream.close()
        durable.remove(self.path)

    def _fail(self, problem: OSError) -> None:
        self.problem = problem
        self.discard()


class Spool:
    """The folder of a receiver.

    Parameters
    ----------
    folder : Path
    reserve_bytes : int
        So much space is left free for everybody else; objects that would use it are refused.
    free_bytes : callable
        Free space below a folder, bytes; tests replace it.
    """

    def __init__(
        self, folder: Path, *, reserve_bytes: int = 0, free_bytes: Callable[[Path], int] = durable.free_bytes
    ) -> None:
        self.folder = folder
        self._reserve_bytes = reserve_bytes
        self._free_bytes = free_bytes
        self._tidying = threading.Lock()
        for name in ("incoming", "objects", "results", "aside"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name).chmod(0o700)  # patients' data

    def has_room(self, n_bytes: int = 0) -> bool:
        """Whether so many more bytes leave the reserve untouched."""
        return self._free_bytes(self.folder) - n_bytes >= self._reserve_bytes

    def free_bytes(self) -> int:
        return self._free_bytes(self.folder)

    def receive(self, max_bytes: int) -> IncomingObject:
        """Begin an object."""
        return IncomingObject(self.folder / "incoming" / f"{uuid.uuid4().hex}.part", max_bytes)

    def keep(self, temporary: Path, identity: ObjectIdentity, digest: str) -> str:
        """Move a finished, synced object to its place and return that place below the folder.

        The name holds the content's digest: another version of the object is another file, so
        that an analysis under way keeps reading what it began with.
        """
        study, instance = short_key(identity.study_uid), short_key(identity.sop_instance_uid)
        relative = Path("objects", study, f"{instance}-{digest[:16]}.dcm")
        with self._tidying:  # or the folder could go between its making and its use
            durable.move_into_place(temporary, self.folder / relative)
        return relative.as_posix()

    def set_aside(self, path: Path, reason: str) -> Path | None:
        """Keep an unusable object with the reason beside it; None when there is no room for more."""
        folder = self.folder / "aside"
        if not self.has_room() or sum(1 for _ in folder.glob("*.bin")) >= _MAX_ASIDE_FILES:
            durable.remove(path)
            return None
        final = folder / f"{path.stem}.bin"
        final.with_suffix(".txt").write_text(reason + "\n", encoding="utf-8")
        durable.move_into_place(path, final)
        return final

    def result_folder(self, study_uid: str, revision: int) -> Path:
        """Folder of the results of one revision of a study."""
        return self.folder / "results" / short_key(study_uid) / f"revision_{revision}"

    def work_folder(self) -> Path:
        """New empty folder on the same file system."""
        folder = self.folder / "incoming" / f"{uuid.uuid4().hex}.work"
        folder.mkdir()
        return folder

    def forget_unfinished(self) -> int:
        """Delete what a process that ended had under way; nobody was told that it arrived."""
        found = list((self.folder / "incoming").iterdir())
        for path in found:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                durable.remove(path)
        return len(found)

    def stored_objects(self) -> list[str]:
        """Every received object, as places below the folder."""
        return sorted(path.relative_to(self.folder).as_posix() for path in (self.folder / "objects").glob("*/*.dcm"))

    def delete_files(self, study_uid: str, places: Sequence[str], revision: int) -> None:
        """Delete these received objects of a study and its results up to a revision; later ones stay."""
        for place in places:
            durable.remove(self.folder / place)
        key = short_key(study_uid)
        for number in range(1, revision + 1):
            shutil.rmtree(self.folder / "results" / key / f"revision_{number}", ignore_errors=True)
        with self._tidying:
            for name in ("objects", "results"):
                with contextlib.suppress(OSError):  # not empty, or not there
                    (self.folder / name / key).rmdir()
