"""Where the bytes of a DICOM instance lie: a file, or a slice of an anonymous temporary file.

Every read names its absolute offset, so that several threads can read at once. Files are not
mapped into memory: a mapped file that is cut while it is read kills the process.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

_LARGE_READ_BYTES = 1 << 16


class ByteSource(Protocol):
    """Bytes at absolute offsets; safe to call from several threads."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with the bytes from ``offset`` on; return how many there were."""

    def open(self) -> BinaryIO:
        """Return a seekable stream over all bytes; the caller closes it."""


@dataclass(frozen=True)
class FileBytes:
    """A file on disk, opened for each read: a case of 5000 files must not hold 5000 handles."""

    path: Path = field(repr=False)  # paths carry names of patients
    size: int

    @classmethod
    def of(cls, path: Path) -> FileBytes:
        return cls(path, path.stat().st_size)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        with self.path.open("rb", buffering=0) as stream:
            return _fill(stream, offset, buffer)

    def open(self) -> BinaryIO:
        return _BoundedReader(self.path.open("rb", buffering=0), self.size)  # type: ignore[return-value]


class Spool:
    """An anonymous temporary file that disappears with the last reference to it.

    Holds what has to be unpacked before it can be read at an offset: zip members, deflated data
    sets. It has no name that anybody could guess or that an archive could choose.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="claire-dsa-", buffering=0)  # noqa: SIM115 - lives as long as self
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.size = 0

    def append(self, chunk: bytes | memoryview) -> None:
        """Write at the end."""
        with self._lock:
            self._file.seek(self.size)
            view = memoryview(chunk)
            while view:
                written = self._file.write(view)
                view = view[written:]
                self.size += written

    def truncate(self, size: int) -> None:
        """Forget everything from ``size`` on."""
        with self._lock:
            self._file.truncate(size)
            self.size = size

    def slice_from(self, start: int) -> SpoolSlice:
        """Return what was written from ``start`` to here."""
        return SpoolSlice(self, start, self.size - start)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        with self._lock:
            return _fill(self._file, offset, buffer)


@dataclass(frozen=True)
class SpoolSlice:
    """One unpacked instance inside a spool."""

    spool: Spool
    start: int
    size: int

    def read_into(self, offset: int, buffer: memoryview) -> int:
        length = max(0, min(len(buffer), self.size - offset))
        return self.spool.read_into(self.start + offset, buffer[:length])

    def open(self) -> BinaryIO:
        return _BoundedReader(_SliceStream(self), self.size)  # type: ignore[return-value]


def read_bytes(source: ByteSource, offset: int, length: int) -> bytes:
    """Read ``length`` bytes at ``offset``; raise EOFError when they are not there."""
    if offset < 0 or length < 0 or offset + length > source.size:
        msg = f"{length} bytes at offset {offset} lie outside the {source.size} bytes of the file"
        raise EOFError(msg)
    buffer = bytearray(length)
    if source.read_into(offset, memoryview(buffer)) < length:
        msg = "the file became shorter while it was read"
        raise EOFError(msg)
    return bytes(buffer)


def _fill(stream: BinaryIO, offset: int, buffer: memoryview) -> int:
    stream.seek(offset, os.SEEK_SET)
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done


class _BoundedReader(io.BufferedReader):
    """A reader that never asks for more than there is: Python allocates what a lying header asks for first."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGE_READ_BYTES:
            size = max(0, min(size, self._size - self.tell()))
        return super().read(size)


class _SliceStream(io.RawIOBase):
    name = ""
    """pydicom asks every stream for one."""

    def __init__(self, source: SpoolSlice) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._source.read_into(self._position, memoryview(buffer))
        self._position += count
        return count
