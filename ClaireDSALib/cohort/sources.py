"""Which files a cohort is made of: a folder, a file, or a list as TSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LONGEST_CENTRE = 64


@dataclass(frozen=True)
class Place:
    """One file or folder of a cohort, with its centre when the list names one."""

    path: Path
    centre: str = ""


@dataclass(frozen=True)
class Candidate:
    """One file to look at; ``missing`` when a list names what is not there."""

    path: Path
    centre: str = ""
    missing: bool = False


def places_of(source: Path) -> Iterator[Place]:
    """What the user named: a folder, a file, or the lines of a TSV with a column ``path`` and perhaps ``centre``.

    Relative paths of a list are relative to the list.

    Raises
    ------
    FileNotFoundError
        When ``source`` is not there.
    ValueError
        When a TSV has no column ``path``, or is not text.
    """
    if not source.exists():
        msg = f"there is no file or folder {source}"
        raise FileNotFoundError(msg)
    if source.suffix.lower() != ".tsv":
        yield Place(source)
        return
    with source.open(encoding="utf-8-sig", newline="") as stream:
        try:
            lines = csv.DictReader(stream, delimiter="\t", strict=True)
            if "path" not in (lines.fieldnames or ()):
                msg = f"{source.name} needs a column 'path' (tab-separated); it has {list(lines.fieldnames or ())}"
                raise ValueError(msg)
            for line in lines:
                if text := (line.get("path") or "").strip():
                    yield Place(source.parent / text, centre_name(line.get("centre") or ""))
        except (csv.Error, UnicodeDecodeError) as error:
            msg = f"{source.name} is no tab-separated UTF-8 text: {error}"
            raise ValueError(msg) from error


def candidates(place: Place, *, leave_out: Path, centre_by_folder: bool = False) -> Iterator[Candidate]:
    """Every file below a place, folder by folder in order of their names, as a stream.

    Parameters
    ----------
    place : Place
    leave_out : Path
        A folder that is never entered: the cohort's own.
    centre_by_folder : bool
        The first folder below the place is the centre where the list names none.
    """
    root = place.path
    if not root.exists():
        yield Candidate(root, place.centre, missing=True)
    elif not root.is_dir():
        yield from _of_file(place)
    else:
        forbidden = leave_out.resolve()
        for folder, subfolders, names in os.walk(root):
            here = Path(folder)
            subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and (here / n).resolve() != forbidden)
            centre = place.centre or (_first_part(here, root) if centre_by_folder else "")
            for name in sorted(names):
                if not name.startswith("."):
                    yield Candidate(here / name, centre)


def centre_name(text: str) -> str:
    """A centre's name as the table and the page show it: one line, no control characters, not endless."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_LONGEST_CENTRE]


def _of_file(place: Place) -> Iterator[Candidate]:
    from ClaireDSALib.dsa.decode_errors import UnusableError
    from ClaireDSALib.dsa.read_directory import is_directory_file, referenced_files

    if not is_directory_file(place.path):
        yield Candidate(place.path, place.centre)
        return
    for name, found in referenced_files(place.path):
        missing = isinstance(found, UnusableError)
        yield Candidate(place.path.parent / name if isinstance(found, UnusableError) else found, place.centre, missing)


def _first_part(folder: Path, root: Path) -> str:
    parts = folder.relative_to(root).parts
    return centre_name(parts[0]) if parts else ""
