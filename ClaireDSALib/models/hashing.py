"""SHA-256 of files and of whole bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

HASHED_FOLDERS = ("configs", "models")
"""What decides a bundle's behaviour; documentation may be corrected without a new hash."""


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bundle_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file in ``configs`` and ``models``, sorted by path."""
    paths = [path for name in HASHED_FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    paths = [path for path in paths if "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(paths)}


def bundle_sha256(files: Mapping[str, str]) -> str:
    """One hash for a bundle, from the hashes of its files."""
    lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
