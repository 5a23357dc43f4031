"""Data and image physics of one angiographic run: numpy, pydicom, SimpleITK and scikit-image, no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ClaireDSALib.dsa.read import ReadResult


def read(path: str | Path, *, progress: Callable[[int, int, str], None] | None = None) -> ReadResult:
    """Find every angiographic run in a file, folder, zip or DICOMDIR: see `ClaireDSALib.dsa.read.read`."""
    from ClaireDSALib.dsa.read import read as read_path  # pydicom costs 0.3 s: only when needed

    return read_path(path, progress=progress)
