"""What every publisher does: a bundle and its licence go onto a shelf, then card and catalogue entry beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

from ClaireDSALib.models.catalogue import CATALOGUE_NAME, CatalogueEntry, Figure, put_entry

LICENCE = "Apache-2.0"
"""Of every bundle that is published here."""

CARD = "docs/README.md"
"""Model card inside a bundle."""

_DIGITS = 4
"""Decimals of the catalogue's figures; their intervals are wider by far."""


def put_on_shelf(source: Path, shelf: Path, licence_file: Path) -> Path:
    """Copy a bundle onto the shelf, over an older one of its name, and its licence into it.

    Parameters
    ----------
    source : Path
        Bundle folder; one that lies on the shelf already stays where it is.
    shelf : Path
        Folder with ``catalogue.json``.
    licence_file : Path

    Returns
    -------
    Path
        The bundle's folder on the shelf.
    """
    folder = shelf / source.name
    if folder.resolve() != source.resolve():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(licence_file, folder / "LICENSE")
    return folder


def write_card_and_entry(entry: CatalogueEntry, card: str, *, first: bool = False) -> CatalogueEntry:
    """Write the card into the bundle and the entry into the catalogue beside it.

    Parameters
    ----------
    entry : CatalogueEntry
        With ``folder`` on the shelf.
    card : str
        Markdown.
    first : bool
        Before all other models of the catalogue.

    Returns
    -------
    CatalogueEntry
        ``entry``.
    """
    path = entry.folder / CARD
    path.parent.mkdir(exist_ok=True)
    path.write_text(card, encoding="utf-8")
    put_entry(entry.folder.parent / CATALOGUE_NAME, entry, origin="shipped", first=first)
    return entry


def rounded_figure(
    name: str, value: float, data: str, command: str, low: float | None = None, high: float | None = None
) -> Figure:
    """A figure as the catalogue has it: rounded, with its 95 % interval where there is one."""
    low, high = (None if bound is None else round(bound, _DIGITS) for bound in (low, high))
    return Figure(name, round(value, _DIGITS), data, command, low, high)
