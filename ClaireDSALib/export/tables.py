"""The report as tables: one row per run, per class of a label, and per verdict of a reviewer."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ClaireDSALib.export.atomic import write_text, writing
from ClaireDSALib.pipeline.report import CaseReport, Override, RunReport, Thrombus

FORMATS = ("tsv", "csv", "parquet")
Cell = str | float | int | bool | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs text that begins like this."""


@dataclass(frozen=True)
class Table:
    """Rows under named, typed columns; an empty cell is None.

    Parameters
    ----------
    columns : mapping of str to type
        Name -> str, float, int or bool.
    rows : tuple of tuple
        One cell per column.
    """

    columns: Mapping[str, type]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                msg = f"a row has {len(row)} cells for the {len(self.columns)} columns {list(self.columns)}"
                raise ValueError(msg)


def case_tables(report: CaseReport) -> dict[str, Table]:
    """``runs``, ``labels``, ``reviews`` and ``pairs`` of a report."""
    return {
        "runs": Table(_RUNS, tuple(_run_row(run) for run in report.runs)),
        "labels": Table(_LABELS, tuple(row for run in report.runs for row in _label_rows(run))),
        "reviews": Table(_REVIEWS, tuple(_review_row(run, o) for run in report.runs for o in run.overrides)),
        "pairs": Table(
            _PAIRS, tuple((*pair.run_ids, pair.reason, *_thrombus_cells(pair.thrombus)) for pair in report.pairs)
        ),
    }


def write_tables(report: CaseReport, folder: str | Path, formats: Sequence[str] = ("tsv",)) -> list[Path]:
    """Write ``runs``, ``labels``, ``reviews`` and ``pairs``, each in every format asked for.

    Parameters
    ----------
    report : CaseReport
    folder : path
        Made when missing.
    formats : sequence of {"tsv", "csv", "parquet"}

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        For an unknown format.
    ModuleNotFoundError
        For Parquet without the package pyarrow.
    """
    if unknown := [one for one in formats if one not in FORMATS]:
        msg = f"unknown table formats {unknown}; known are {list(FORMATS)}"
        raise ValueError(msg)
    return [
        write_table(table, Path(folder) / f"{name}.{kind}")
        for name, table in case_tables(report).items()
        for kind in formats
    ]


def write_table(table: Table, path: Path) -> Path:
    """Write one table as the suffix of ``path`` says."""
    if path.suffix == ".parquet":
        return _write_parquet(table, path)
    return write_text(path, as_text(table, "\t" if path.suffix == ".tsv" else ","))


def as_text(table: Table, delimiter: str) -> str:
    """Delimited text; text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    buffer = StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_shown(cell) for cell in row] for row in table.rows)
    return buffer.getvalue()


_RUNS: Mapping[str, type] = {
    "run": str, "study_uid": str, "series_uid": str, "patient_key": str, "series_number": int, "acquired_at": str,
    "manufacturer": str, "model_name": str, "view": str, "primary_angle_deg": float, "secondary_angle_deg": float,
    "frames": int, "rows": int, "columns": int, "duration_s": float, "row_spacing_mm": float,
    "column_spacing_mm": float, "subtraction": str, "quality": str, "quality_probability": float,
    "suitability_preset": str, "suitable": bool, "suitable_probability": float, "reasons": str, "outlier": bool,
    "outlier_score": float, "outlier_threshold": float, "thrombus": bool, "thrombus_probability": float,
    "thrombus_threshold": float, "thrombus_row_px": float, "thrombus_column_px": float, "vessel_method": str,
    "vessel_fraction": float, "vessel_length_px": float, "vessel_diameter_px": float, "vessel_length_mm": float,
    "vessel_diameter_mm": float, "notes": str, "error": str,
}  # fmt: skip
_LABELS: Mapping[str, type] = {
    "run": str, "label": str, "class": str, "probability": float, "predicted": bool, "answered": bool, "picture": str,
    "verdict": str, "corrected": str, "reviewer": str,
}  # fmt: skip
_REVIEWS: Mapping[str, type] = {
    "run": str, "label": str, "model": str, "verdict": str, "value": str, "reviewer": str, "at": str, "comment": str,
}  # fmt: skip
_PAIRS: Mapping[str, type] = {
    "first_run": str, "second_run": str, "reason": str, "thrombus": bool, "thrombus_probability": float,
    "thrombus_threshold": float, "thrombus_row_px": float, "thrombus_column_px": float,
}  # fmt: skip


def _run_row(run: RunReport) -> tuple[Cell, ...]:
    seen, verdict, vessels, outlier = run.acquisition, run.suitability, run.vessels, run.out_of_distribution
    row_mm, column_mm = seen.pixel_spacing_mm or (None, None)
    identity = [run.identity.get(name) for name in tuple(_RUNS)[1:4]]
    device = [run.identity.get(name) for name in ("series_number", "acquired_at", "manufacturer", "model_name")]
    return (
        run.run_id, *identity, *device, seen.view, seen.primary_angle_deg, seen.secondary_angle_deg, seen.n_frames,
        seen.rows, seen.columns, seen.times_s[-1] if seen.times_s else None, row_mm, column_mm, seen.subtraction_state,
        *((None, None) if run.quality is None else (run.quality.grade, run.quality.probabilities[run.quality.grade])),
        *((None,) * 4 if verdict is None else (verdict.preset, verdict.suitable, verdict.probability,
                                               " | ".join(reason.text for reason in verdict.reasons))),
        *((None,) * 3 if outlier is None else (outlier.is_outlier, outlier.score, outlier.threshold)),
        *_thrombus_cells(run.thrombus),
        *((None,) * 6 if vessels is None else (vessels.method, vessels.fraction, vessels.length_px,
                                               vessels.mean_diameter_px, vessels.length_mm, vessels.mean_diameter_mm)),
        " | ".join(run.notes), run.error,
    )  # fmt: skip


def _thrombus_cells(found: Thrombus | None) -> tuple[Cell, ...]:
    if found is None:
        return (None,) * 5
    return (found.present, found.probability, found.threshold, *(found.site_px or (None, None)))


def _label_rows(run: RunReport) -> Iterable[tuple[Cell, ...]]:
    said = {override.label: override for override in run.overrides}
    for label in run.labels:
        override = said.get(label.name)
        review = (None, None, None) if override is None else (override.verdict, override.value, override.reviewer)
        for cls, chance in zip(label.classes, label.probabilities, strict=True):
            shown = chance if label.answered else None
            yield (run.run_id, label.name, cls, shown, cls == label.predicted, label.answered, label.picture, *review)


def _review_row(run: RunReport, said: Override) -> tuple[Cell, ...]:
    predicted = {label.name: label.predicted for label in run.labels}.get(said.label)
    return (run.run_id, said.label, predicted, said.verdict, said.value, said.reviewer, said.at, said.comment)


def _shown(cell: Cell) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    return cell


def _write_parquet(table: Table, path: Path) -> Path:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        msg = 'Parquet needs the package pyarrow: pip install "claire-dsa[cohort]"'
        raise ModuleNotFoundError(msg, name="pyarrow") from error
    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
    columns = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    with writing(path) as temporary:
        parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)
    return path
