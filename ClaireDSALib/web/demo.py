"""The simulated demo case, made once and kept in the user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ClaireDSALib import __version__

_DONE = "complete"


def cache_dir() -> Path:
    """Folder for what can be made again: the platform's cache directory."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "claire-dsa"


def demo_folder() -> Path:
    """DICOM folder of the simulated demo case; written when it is not there yet."""
    from ClaireDSALib.simulator.demo import write_demo_case

    folder = cache_dir() / f"demo-{__version__}"
    case, mark = folder / "simulated_case", folder / _DONE
    if not mark.is_file():
        case.mkdir(parents=True, exist_ok=True)
        write_demo_case(case, truth=False)
        mark.touch()
    return case
