"""Writes the file lists of the CMakeLists.txt files: what is not listed there is missing from the extension package.

usage: python Testing/slicer/cmake_lists.py [--write]    without --write it only says what is out of date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ClaireDSA", "ClaireDSALib", "Resources")
_NOT_SHIPPED = {"CMakeLists.txt", ".DS_Store", "Screenshots"}
"""Screenshots are for readers of the repository; the package does not need them."""


def files_of(folder: str, kind: str) -> list[str]:
    """Files to list, relative to the folder: ``SCRIPTS`` are .py files, ``RESOURCES`` all others."""
    base = ROOT / folder
    found = []
    for path in sorted(base.rglob("*")):
        parts = path.relative_to(base).parts
        if path.is_file() and not any(p in _NOT_SHIPPED or p.startswith((".", "__pycache__")) for p in parts):
            is_script = path.suffix == ".py" and folder != "Resources"
            if path.suffix != ".pyc" and is_script == (kind == "SCRIPTS"):
                found.append("/".join(parts))
    return found


def listed(folder: str, kind: str) -> list[str]:
    """Files that the folder's CMakeLists.txt lists."""
    block = _block(kind).search((ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    lines = block.group(1).splitlines() if block else []
    return [line.strip().strip('"') for line in lines if line.startswith("  ") and line.strip() != ")"]


def write(folder: str, kind: str) -> None:
    """Bring one list up to date."""
    path = ROOT / folder / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    body = "".join(f'  "{name}"\n' for name in files_of(folder, kind))
    new = f"# BEGIN {kind}\nset(MODULE_PYTHON_{kind}\n{body}  )\n# END {kind}"
    path.write_text(_block(kind).sub(lambda _match: new, text), encoding="utf-8")


def out_of_date() -> dict[str, tuple[list[str], list[str]]]:
    """``folder kind`` -> (missing from the list, listed but not there)."""
    found = {}
    for folder in FOLDERS:
        for kind in ("SCRIPTS", "RESOURCES"):
            if folder == "Resources" and kind == "SCRIPTS":
                continue
            there, named = set(files_of(folder, kind)), set(listed(folder, kind))
            if there != named:
                found[f"{folder} {kind}"] = (sorted(there - named), sorted(named - there))
    return found


def _block(kind: str) -> re.Pattern[str]:
    return re.compile(rf"# BEGIN {kind}\n(.*?)# END {kind}", re.DOTALL)


def main() -> int:
    stale = out_of_date()
    for key, (missing, gone) in stale.items():
        sys.stdout.write(f"{key}: not listed {missing}, not there {gone}\n")
    if "--write" in sys.argv:
        for key in stale:
            write(*key.split())
        return 0
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
