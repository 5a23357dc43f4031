"""Instances inside a zip file, unpacked into one anonymous temporary file and never to a path of their own."""

from __future__ import annotations

import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, Spool, SpoolSlice

MAX_MEMBERS = 200_000
MAX_UNPACKED_BYTES = 16 * 2**30
MAX_EXPANSION = 250
"""An angiogram shrinks two to ten times, a black picture a few hundred times; a zip bomb a thousand times."""

_EXPANSION_FREE_BYTES = 32 * 2**20
"""Below this size nobody minds how well a member was compressed."""
_CHUNK_BYTES = 1 << 20
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError)


_CONTAINERS = frozenset((".npz", ".docx", ".xlsx", ".pptx", ".odt", ".jar", ".whl", ".mrb"))
"""Zip files by their bytes whose members are no pictures; one line says so instead of one for each member."""


def is_zip(path: Path) -> bool:
    """Whether the file begins like a zip file and is not one of the formats that only use it as a container."""
    if path.suffix.lower() in _CONTAINERS:
        return False
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(path: Path) -> Iterator[tuple[str, ByteSource | UnusableError]]:
    """Yield the name of every member with its bytes, or with the reason why it has none.

    Member names are only ever shown: nothing is written to a path that the archive chose.

    Raises
    ------
    UnusableError
        When the zip file as a whole cannot be used.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (*_READ_ERRORS, ValueError) as error:
        msg = "the zip file is damaged"
        raise UnusableError(msg) from error
    with archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        if len(members) > MAX_MEMBERS:
            msg = f"the zip file has {len(members)} members; at most {MAX_MEMBERS} are read"
            raise UnusableError(msg)
        spool = Spool()
        for member in members:
            yield _shown_name(member.filename), _member_bytes(archive, member, spool)


def _member_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, spool: Spool) -> ByteSource | UnusableError:
    start = spool.size
    try:
        return _spooled(archive, member, spool)
    except UnusableError as error:
        spool.truncate(start)
        return error
    except (*_READ_ERRORS, ValueError) as error:
        spool.truncate(start)
        locked = bool(member.flag_bits & 1)
        reason = "protected by a password" if locked else f"damaged inside the zip file ({type(error).__name__})"
        return UnusableError(reason)


def _spooled(archive: zipfile.ZipFile, member: zipfile.ZipInfo, spool: Spool) -> SpoolSlice:
    start = spool.size
    limit = min(MAX_UNPACKED_BYTES - start, _free_bytes())
    with archive.open(member) as stream:
        head = stream.read(132)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            msg = "a zip file inside a zip file is not opened"
            raise UnusableError(msg)
        if head[128:] != b"DICM" and head[:2] not in (b"\x02\x00", b"\x08\x00"):
            msg = "not a DICOM file" if head else "the file is empty"
            raise UnusableError(msg)
        spool.append(head)
        while chunk := stream.read(_CHUNK_BYTES):
            spool.append(chunk)
            size = spool.size - start
            if size > max(_EXPANSION_FREE_BYTES, MAX_EXPANSION * member.compress_size):
                msg = f"unpacks to more than {MAX_EXPANSION} times its size, as zip bombs do"
                raise UnusableError(msg)
            if size > limit:
                msg = f"the zip file needs more than {limit // 2**20} MiB of temporary space; unpack it yourself"
                raise UnusableError(msg)
    return spool.slice_from(start)


def _free_bytes() -> int:
    """Half of what is free where temporary files lie: the other half belongs to everybody else."""
    return shutil.disk_usage(tempfile.gettempdir()).free // 2


def _shown_name(name: str) -> str:
    """Make a member's name printable; it is never used as a path."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:200]
