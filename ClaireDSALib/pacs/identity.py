"""What names a stored object, read from its header and checked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import FileBytes
from ClaireDSALib.dsa.dicom_header import quiet, read_header, text

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID_CHARACTERS = 64
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ObjectIdentity:
    """Identifiers of one SOP instance; all are valid DICOM UIDs (PS3.5 section 9)."""

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str


def is_uid(value: str) -> bool:
    """Whether a text is a UID: digits and single dots, at most 64 characters. Such a text is also a safe file name."""
    return len(value) <= _MAX_UID_CHARACTERS and _UID.fullmatch(value) is not None


def identify(path: Path) -> ObjectIdentity:
    """Read who an object is from its file.

    Raises
    ------
    UnusableError
        When the file is no DICOM file, is damaged, or lacks one of the identifiers.
    """
    header = read_header(FileBytes.of(path))
    with quiet():
        found = {
            name: text(header.dataset, name)
            for name in ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
        }
    for name, value in found.items():
        if not is_uid(value):
            what = "is missing" if not value else "is no valid UID"
            msg = f"{name} {what}; an object without it cannot be filed"
            raise UnusableError(msg)
    return ObjectIdentity(
        found["SOPInstanceUID"],
        found["SOPClassUID"],
        found["StudyInstanceUID"],
        found["SeriesInstanceUID"],
        header.transfer_syntax,
    )


def short_key(uid: str) -> str:
    """Sixteen characters that stand for a UID in folder names and log lines, which may leave the site."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes behind the 128-byte preamble and the file meta group.

    The file meta group is written by whoever stores the file; two copies of one object differ there only.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(data_set_offset(path))
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def data_set_offset(path: Path) -> int:
    """Return where the data set begins behind preamble and file meta group (PS3.10 section 7.1); 0 without them.

    The group is explicit VR little endian and opens with (0002,0000) UL, its own length.
    """
    with path.open("rb") as stream:
        head = stream.read(144)
    if len(head) < 144 or head[128:132] != b"DICM" or head[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        return 0
    return 144 + int.from_bytes(head[140:144], "little")
