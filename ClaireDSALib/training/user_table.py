"""Tables that people write: CSV, or TSV by their ending, with named columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def read_rows(table: Path, columns: Sequence[str], filled: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows below the head, each with its line number.

    Parameters
    ----------
    table : Path
        UTF-8 text; ``.tsv`` is separated by tabs, anything else by commas.
    columns : sequence of str
        What the head must name; it may name more.
    filled : sequence of str
        Columns in which no cell may be empty.

    Returns
    -------
    list of (int, dict)
        Line number from 2, and the cells by column without spaces around them; a missing cell is empty.

    Raises
    ------
    ValueError
        When it is no text, a column is missing or a cell is empty that must not be.
    OSError
        When it cannot be read.
    """
    with table.open(newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream, delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
            named, found = reader.fieldnames or [], list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            msg = f"{table.name} is no table in UTF-8 text: {error}"
            raise ValueError(msg) from error
    if missing := [name for name in columns if name not in named]:
        msg = f"{table.name} lacks the columns {missing}; it needs {list(columns)}"
        raise ValueError(msg)
    rows = [{name: (row[name] or "").strip() for name in named} for row in found]
    for number, row in enumerate(rows, start=2):
        if empty := [name for name in filled if not row[name]]:
            msg = f"{table.name} line {number}: {empty} is empty"
            raise ValueError(msg)
    return list(enumerate(rows, start=2))
