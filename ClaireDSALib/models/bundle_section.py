"""What every reader of a bundle takes from its metadata first: who it is, and the section about its kind."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256


@dataclass(frozen=True)
class BundleSection:
    """Name, version and hash of a bundle, and the section of its ``metadata.json`` that its reader understands."""

    name: str
    version: str
    sha256: str
    section: Mapping[str, Any]


def read_section(folder: Path, kind: str, needed: Set[str]) -> BundleSection:
    """Read a bundle of one kind.

    Parameters
    ----------
    folder : Path
    kind : str
        Name of the section: "vessels", "quality" or "sequence".
    needed : set of str
        Entries that the section must have.

    Raises
    ------
    BundleError
        When the folder is no bundle, or its metadata lacks the section or one of the entries.
    """
    metadata = read_metadata(folder)
    section = metadata.get(kind)
    if not isinstance(section, Mapping) or not needed <= set(section):
        noun = {"vessels": "vessel"}.get(kind, kind)
        msg = f"bundle {folder.name!r} is no {noun} bundle: its metadata.json needs {kind!r} with {sorted(needed)}"
        raise BundleError(msg)
    version = str(metadata.get("version", ""))
    return BundleSection(folder.name, version, bundle_sha256(bundle_files(folder)), section)
