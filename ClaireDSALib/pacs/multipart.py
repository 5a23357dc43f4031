"""Bodies of type ``multipart/related`` (RFC 2387), read and written as a stream: no part is ever whole in memory."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PARAMETER = re.compile(r';\s*([\w!#$&^.+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_MAX_HEADER_BYTES = 64 * 1024
_MAX_BOUNDARY_BYTES = 70
_CHUNK_BYTES = 256 * 1024
_DICOM = "application/dicom"


class MultipartError(ValueError):
    """A body that is not what its header says, or that ended early."""


def boundary_of(content_type: str) -> bytes:
    """Delimiter named in a Content-Type header.

    Raises
    ------
    MultipartError
        When the type is no multipart type or names no usable boundary (RFC 2046 section 5.1.1).
    """
    found = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(content_type)}
    boundary = found.get("boundary", "").encode("latin-1", "replace")
    if not content_type.strip().lower().startswith("multipart/") or not 1 <= len(boundary) <= _MAX_BOUNDARY_BYTES:
        msg = f"the answer has type {content_type!r}; a multipart type with a boundary is needed"
        raise MultipartError(msg)
    return boundary


class MultipartReader:
    """Iterates over the parts of a body.

    Parameters
    ----------
    chunks : iterable of bytes
        The body as it arrives.
    boundary : bytes

    Examples
    --------
    >>> body = [b"--x\\r\\nContent-Type: a/b\\r\\n\\r\\nhel", b"lo\\r\\n--x--"]
    >>> [(headers, b"".join(data)) for headers, data in MultipartReader(body, b"x")]
    [({'content-type': 'a/b'}, b'hello')]
    """

    def __init__(self, chunks: Iterable[bytes], boundary: bytes) -> None:
        self._chunks = iter(chunks)
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that the first delimiter looks like the others

    def __iter__(self) -> Iterator[tuple[dict[str, str], Iterator[bytes]]]:
        """Yield headers (lower-case names) and data of each part; a part not read to its end is passed over.

        Raises
        ------
        MultipartError
            When the body ends before its closing delimiter.
        """
        for _ in self._until_delimiter():
            """What stands before the first delimiter means nothing."""
        while not self._is_closing():
            headers = self._headers()
            data = self._until_delimiter()
            yield headers, data
            for _ in data:
                """The rest of a part that nobody wanted."""

    def _until_delimiter(self) -> Iterator[bytes]:
        """Yield bytes up to the next delimiter and take it away."""
        keep = len(self._delimiter) - 1
        while (place := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                ready, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                yield ready
            self._more()
        ready, self._buffer = self._buffer[:place], self._buffer[place + len(self._delimiter) :]
        if ready:
            yield ready

    def _is_closing(self) -> bool:
        """After a delimiter: two dashes end the body, otherwise the line ends and a part begins."""
        while len(self._buffer) < 2 or (not self._buffer.startswith(b"--") and b"\r\n" not in self._buffer):
            if len(self._buffer) > _MAX_HEADER_BYTES:
                msg = "a delimiter of the answer is followed by a line without end"
                raise MultipartError(msg)
            self._more()
        if self._buffer.startswith(b"--"):
            return True
        self._buffer = self._buffer[self._buffer.index(b"\r\n") :]
        return False

    def _headers(self) -> dict[str, str]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEADER_BYTES:
                msg = f"a part of the answer has more than {_MAX_HEADER_BYTES} bytes of headers"
                raise MultipartError(msg)
            self._more()
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        self._buffer = rest
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        return {name.strip().lower(): value.strip() for name, value in pairs}

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            msg = "the answer ended before its last part was complete"
            raise MultipartError(msg)
        self._buffer += chunk


@dataclass(frozen=True)
class DicomBody:
    """Files as one body, streamed from disk; its length is known beforehand, which servers like.

    Parameters
    ----------
    paths : sequence of Path
    boundary : str
    """

    paths: Sequence[Path]
    boundary: str = ""

    def __post_init__(self) -> None:
        if not self.boundary:
            object.__setattr__(self, "boundary", f"claire-dsa-{uuid.uuid4().hex}")

    @property
    def content_type(self) -> str:
        return f'multipart/related; type="{_DICOM}"; boundary={self.boundary}'

    def __len__(self) -> int:
        return sum(len(self._head()) + path.stat().st_size for path in self.paths) + len(self._tail())

    def __iter__(self) -> Iterator[bytes]:
        for path in self.paths:
            yield self._head()
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
        yield self._tail()

    def _head(self) -> bytes:
        return f"\r\n--{self.boundary}\r\nContent-Type: {_DICOM}\r\n\r\n".encode()

    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()
