"""The one table: Parquet, written in batches so that memory stays flat, and CSV on request."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ClaireDSALib.cohort.columns import TABLE_VERSION, Column, columns
from ClaireDSALib.cohort.index import Index
from ClaireDSALib.cohort.recipe import Recipe
from ClaireDSALib.cohort.rows import Row, rows_of
from ClaireDSALib.cohort.store import Store
from ClaireDSALib.export.atomic import writing

_BATCH = 512
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FAILURE_COLUMNS = ("run_id", "patient_key", "study_key", "centre", "error", "result_key")


@dataclass(frozen=True)
class TableCounts:
    """Rows of the table, and those of them that failed."""

    runs: int
    failed: int


def write_table(path: Path, index: Index, store: Store, recipe: Recipe, *, with_dates: bool = False) -> TableCounts:
    """Write one row for every run that has a result, in order of patient, study and run.

    Parameters
    ----------
    path : Path
        Replaced in one step.
    index : Index
    store : Store
    recipe : Recipe
        Only results of this recipe are in the table; its text is kept in the file's metadata.
    with_dates : bool
        Fill ``acquired_on``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = columns(recipe.labels)
    schema = pa.schema([_field(column) for column in wanted]).with_metadata(
        {"claire_dsa_table_version": str(TABLE_VERSION), "claire_dsa_recipe": json.dumps(recipe.to_dict())}
    )
    runs = failed = 0
    with writing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in _batches(_rows(index, store, recipe, with_dates=with_dates)):
            runs += len(batch)
            failed += sum(row["status"] == "failed" for row in batch)
            writer.write_table(pa.Table.from_pylist([_complete(row, wanted) for row in batch], schema=schema))
    return TableCounts(runs, failed)


def read_rows(path: Path, only: tuple[str, ...] | None = None) -> Iterator[Row]:
    """Rows of a table as dictionaries, a batch at a time.

    Parameters
    ----------
    path : Path
    only : tuple of str, optional
        Columns to read.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=_BATCH, columns=list(only) if only else None):
            yield from batch.to_pylist()


def write_csv(path: Path, table: Path) -> None:
    """The table as CSV. Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    import pyarrow.parquet as pq

    names = pq.read_schema(table).names
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows({name: harmless(value) for name, value in row.items()} for row in read_rows(table))


def write_failures(path: Path, table: Path) -> None:
    """Every run without an answer, and why."""
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _FAILURE_COLUMNS)
        writer.writeheader()
        for row in read_rows(table, (*_FAILURE_COLUMNS, "status")):
            if row.pop("status") == "failed":
                writer.writerow({name: harmless(value) for name, value in row.items()})


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _rows(index: Index, store: Store, recipe: Recipe, *, with_dates: bool) -> Iterator[Row]:
    median, digest = index.median_moment(), recipe.sha256
    for unit in index.units():
        key = unit.key(digest)
        if store.has(key):
            yield from rows_of(unit, key, store.read(key), recipe, median_moment=median, with_dates=with_dates)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _complete(row: Row, wanted: tuple[Column, ...]) -> Row:
    """Text is empty and everything else null where a row has nothing to say."""
    silent = {"text": ""}
    return {c.name: silent.get(c.kind) if row.get(c.name) is None else row[c.name] for c in wanted}


def _field(column: Column) -> Any:
    import pyarrow as pa

    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64(), "yes_no": pa.bool_()}
    return pa.field(column.name, kinds[column.kind], metadata={"meaning": column.meaning})
