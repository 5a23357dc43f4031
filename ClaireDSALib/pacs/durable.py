"""Files that are on the disk, not only in its cache, when a call returns."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a full disk, an exhausted quota or a file system's largest file answer."""


def sync_file(path: Path) -> None:
    """Write a file's cached bytes to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Write a folder's entries to the disk; Windows does so by itself and cannot be asked."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_into_place(temporary: Path, final: Path) -> None:
    """Rename a file whose bytes were synced, and sync the folder that now names it.

    After a power cut ``final`` is either there with all its bytes or not there at all.
    """
    missing = [folder for folder in final.parents if not folder.is_dir()]
    final.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)
    temporary.replace(final)
    sync_folder(final.parent)


def move_folder_into_place(temporary: Path, final: Path) -> None:
    """Sync everything in a folder and rename the folder; an earlier ``final`` is deleted first."""
    for path in sorted(temporary.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(temporary)
    shutil.rmtree(final, ignore_errors=True)
    move_into_place(temporary, final)


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written below ``folder``."""
    return shutil.disk_usage(folder).free


def remove(path: Path) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
