"""What a bundle learnt beside its network, from frames or about devices: written down, and handed on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.bundle_config import write_configs

_FILES = {"frames": ("file",), "finder": ("file", "onnx")}
"""Entry of the metadata -> which of its values are files of the bundle."""


def store_entries(folder: Path, section: str, **entries: Any) -> None:
    """Add entries to one section of a bundle's metadata, or replace them."""
    metadata = read_metadata(folder)
    metadata[section] |= entries
    write_configs(folder, metadata=metadata)


def carry_additions(parent: Path, folder: Path, section: str) -> None:
    """Copy what ``parent`` learnt beside its network into a bundle made of it; nothing where it learnt nothing."""
    known = read_metadata(parent)[section]
    for name, files in _FILES.items():
        entry = known.get(name)
        if not entry:
            continue
        for file in (entry[key] for key in files):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(parent / file, folder / file)
        store_entries(folder, section, **{name: entry})
