"""Labels, reasons and measurements as table nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import vtk

from .nodes import tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ClaireDSALib.pipeline.report import RunReport

    from .host import Host

_EXACT_ATTRIBUTE = "ClaireDSA.values"

MEASURES = (
    ("fraction", "Share of the image", "1"),
    ("length_px", "Centre line length", "px"),
    ("length_mm", "Centre line length", "mm"),
    ("mean_diameter_px", "Mean diameter", "px"),
    ("mean_diameter_mm", "Mean diameter", "mm"),
)


def add_table(host: Host, run_id: str, role: str, name: str, columns: Mapping[str, Sequence[Any]]) -> Any:
    """Add a table; numbers become numeric columns, everything else text."""
    node = host.scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    for title, values in columns.items():
        node.AddColumn(_column(title, values))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return tag(node, run_id, f"table:{role}")


def table_columns(node: Any) -> dict[str, list[Any]]:
    """Title -> values of a table node."""
    table = node.GetTable()
    columns = [table.GetColumn(i) for i in range(table.GetNumberOfColumns())]
    return {c.GetName(): [c.GetValue(i) for i in range(c.GetNumberOfValues())] for c in columns}


def add_report_tables(host: Host, report: RunReport, title: str) -> dict[str, Any]:
    """Tables of what the report holds: ``labels``, ``reasons``, ``measurements``."""
    found = {"labels": _labels(report), "reasons": _reasons(report), "measurements": _measurements(report)}
    return {
        role: add_table(host, report.run_id, role, f"{title}: {role}", columns)
        for role, columns in found.items()
        if next(iter(columns.values()))
    }


def add_shift_table(host: Host, run_id: str, title: str, shifts_px: npt.NDArray[Any]) -> Any:
    """Table of the motion correction, one row per frame: ``(T, 2)`` row and column shift in pixels."""
    columns = {
        "frame": list(range(len(shifts_px))),
        "row_px": shifts_px[:, 0].tolist(),
        "column_px": shifts_px[:, 1].tolist(),
    }
    node = add_table(host, run_id, "motion_shifts", f"{title}: motion shifts", columns)
    # A table file rounds its numbers; the attribute keeps them to the last bit.
    node.SetAttribute(_EXACT_ATTRIBUTE, json.dumps([str(shifts_px.dtype), shifts_px.tolist()]))
    return node


def exact_shifts(node: Any) -> npt.NDArray[Any]:
    """The ``(T, 2)`` shifts that :func:`add_shift_table` was given."""
    dtype, values = json.loads(node.GetAttribute(_EXACT_ATTRIBUTE))
    return np.array(values, dtype)


def _labels(report: RunReport) -> dict[str, list[Any]]:
    overrides = {o.label: o for o in report.overrides}
    rows = [(r, c, p) for r in report.labels for c, p in zip(r.classes, r.probabilities, strict=True)]
    return {
        "label": [r.name for r, _, _ in rows],
        "class": [c for _, c, _ in rows],
        "probability": [float(p) for _, _, p in rows],
        "predicted": ["yes" if r.predicted == c else "" for r, c, _ in rows],
        "reviewer": [_reviewed(overrides.get(r.name), r.predicted, c) for r, c, _ in rows],
    }


def _reviewed(override: Any, predicted: str, label_class: str) -> str:
    if override is None:
        return ""
    chosen = override.value or predicted
    return override.verdict if chosen == label_class else ""


def _reasons(report: RunReport) -> dict[str, list[Any]]:
    reasons = report.suitability.reasons if report.suitability else ()
    return {
        "severity": [r.severity for r in reasons],
        "label": [r.label for r in reasons],
        "reason": [r.text for r in reasons],
    }


def _measurements(report: RunReport) -> dict[str, list[Any]]:
    values = [(t, getattr(report.vessels, k), u) for k, t, u in MEASURES] if report.vessels else []
    if report.thrombus:
        values.append(("Thrombus probability", report.thrombus.probability, "1"))
    known = [v for v in values if v[1] is not None]
    return {
        "measurement": [v[0] for v in known],
        "value": [float(v[1]) for v in known],
        "unit": [v[2] for v in known],
    }


def _column(title: str, values: Sequence[Any]) -> Any:
    numeric = all(isinstance(v, int | float | np.number) for v in values)
    whole = numeric and all(isinstance(v, int | np.integer) for v in values)
    column = vtk.vtkIntArray() if whole else vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value if numeric else str(value))
    return column
