"""Everything below a path that may be an instance: files, folders, zip members, what a DICOMDIR names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, FileBytes
from ClaireDSALib.dsa.dicom_instance import Instance, examine_instance
from ClaireDSALib.dsa.read_directory import is_directory_file, referenced_files
from ClaireDSALib.dsa.read_zip import is_zip, unpack
from ClaireDSALib.dsa.series import Skipped

ReadProgress = Callable[[int, int, str], None]
"""``progress(done, total, step)``: files or runs done, files or runs in all, ``files`` or ``runs``."""

_Candidate = tuple[str, ByteSource | UnusableError]


@dataclass(frozen=True)
class Gathered:
    """Usable instances in order of their labels, and what was left out."""

    instances: tuple[Instance, ...]
    skipped: tuple[Skipped, ...]


def gather(paths: Sequence[Path], progress: ReadProgress) -> Gathered:
    """Examine every file below ``paths`` by its header.

    Raises
    ------
    FileNotFoundError
        When one of ``paths`` does not exist.
    """
    files = [one for path in paths for one in _labelled_files(path)]
    instances: dict[str, Instance] = {}
    skipped: list[Skipped] = []
    for done, (label, path) in enumerate(files):
        for name, source in _candidates(label, path, directory=len(files) == 1):
            _examine(name, source, instances, skipped)
        progress(done + 1, len(files), "files")
    return Gathered(tuple(instances.values()), tuple(skipped))


def _examine(
    label: str, source: ByteSource | UnusableError, instances: dict[str, Instance], skipped: list[Skipped]
) -> None:
    try:
        if isinstance(source, UnusableError):
            raise source
        instance = examine_instance(label, source)
    except UnusableError as error:
        skipped.append(Skipped(label, str(error)))
        return
    except OSError as error:
        skipped.append(Skipped(label, f"cannot be read: {error.strerror or type(error).__name__}"))
        return
    first = instances.setdefault(instance.sop_instance_uid, instance)
    if first is not instance:
        skipped.append(Skipped(label, f"the same SOP instance as {first.label}; counted once"))


def _labelled_files(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.exists():
        msg = f"there is no file or folder {path}"
        raise FileNotFoundError(msg)
    if not path.is_dir():
        yield path.name, path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith("."):
                yield file.relative_to(path).as_posix(), file


def _candidates(label: str, path: Path, *, directory: bool) -> Iterator[_Candidate]:
    """Yield what a file holds. A DICOMDIR is followed when it is what the user named; in a folder it is an index."""
    try:
        if not path.is_file():
            yield label, UnusableError("not a regular file" if path.exists() else "a link that leads nowhere")
        elif is_zip(path):
            for name, source in unpack(path):
                yield f"{label}/{name}", source
        elif directory and is_directory_file(path):
            for name, found in referenced_files(path):
                yield name, found if isinstance(found, UnusableError) else FileBytes.of(found)
        else:
            yield label, FileBytes.of(path)
    except UnusableError as error:
        yield label, error
    except OSError as error:
        yield label, UnusableError(f"cannot be read: {error.strerror or type(error).__name__}")
