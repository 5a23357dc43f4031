"""The files that a DICOMDIR names (PS3.10 section 8, PS3.3 annex F)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import FileBytes
from ClaireDSALib.dsa.dicom_header import items, read_header, text, texts
from ClaireDSALib.dsa.dicom_instance import MEDIA_DIRECTORY

_MOST_COMPONENTS = 8
"""PS3.10 section 8.2 allows this many parts of a file ID."""


def is_directory_file(path: Path) -> bool:
    """Whether ``path`` is a DICOMDIR, by its name or by its SOP class."""
    if path.stem.upper() == "DICOMDIR":
        return True
    with path.open("rb") as stream:
        head = stream.read(1024)
    return head[128:132] == b"DICM" and MEDIA_DIRECTORY.encode() + b"\0" in head


def referenced_files(path: Path) -> Iterator[tuple[str, Path | UnusableError]]:
    """Yield what each image record of a DICOMDIR names: a label, and the file or the reason why there is none.

    Raises
    ------
    UnusableError
        When the DICOMDIR itself is damaged.
    """
    dataset = read_header(FileBytes.of(path)).dataset
    for record in items(dataset, "DirectoryRecordSequence"):
        if text(record, "DirectoryRecordType").upper() != "IMAGE":
            continue
        parts = _file_id(record)
        yield "/".join(parts) or "(no file named)", _resolve(path.parent, parts)


def _file_id(record: Dataset) -> tuple[str, ...]:
    return tuple(part for part in texts(record, "ReferencedFileID") if part)


def _resolve(base: Path, parts: tuple[str, ...]) -> Path | UnusableError:
    unsafe = [part for part in parts if part in (".", "..") or any(sign in part for sign in "/\\:\0")]
    if not parts or len(parts) > _MOST_COMPONENTS or unsafe:
        return UnusableError("the DICOMDIR names a file outside its own folder; not opened")
    here = base
    for part in parts:
        found = _entry(here, part)
        if found is None:
            return UnusableError("the DICOMDIR names a file that is not there")
        here = found
    if not here.resolve().is_relative_to(base.resolve()):
        return UnusableError("the DICOMDIR names a file outside its own folder; not opened")
    return here if here.is_file() else UnusableError("the DICOMDIR names a file that is not there")


def _entry(folder: Path, name: str) -> Path | None:
    """Find ``name`` whatever its case: media are upper case, copies of them often lower."""
    exact = folder / name
    if exact.exists():
        return exact
    if not folder.is_dir():
        return None
    return next(
        (one for one in folder.iterdir() if one.name.upper().split(".")[0] == name or one.name.upper() == name), None
    )
