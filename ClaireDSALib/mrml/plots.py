"""Curves over time, the phase bar and calibration as plot nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .nodes import tag
from .tables import add_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .host import Host

PHASES = ("non_contrast", "arterial", "parenchymal", "venous")
"""In the order blood sees them; the number in a phase plot is the position here."""

_LINE_COLORS = ((0.16, 0.78, 0.85), (0.96, 0.54, 0.12), (0.70, 0.45, 0.90), (0.35, 0.76, 0.42))


def add_curve_plot(
    host: Host, run_id: str, title: str, times_s: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike], unit: str = ""
) -> Any:
    """Add a table and a chart of curves over time.

    Parameters
    ----------
    times_s : (T,) array
        Seconds.
    curves : mapping of str to (T,) array
        One line each.

    Returns
    -------
    vtkMRMLPlotChartNode
    """
    columns = {"time_s": _floats(times_s)} | {k: _floats(v) for k, v in curves.items()}
    return _chart(host, run_id, "curve", title, columns, "time [s]", f"contrast [{unit}]" if unit else "contrast")


def add_phase_plot(host: Host, run_id: str, title: str, times_s: npt.ArrayLike, names: Sequence[str]) -> Any:
    """Add the phase of each frame as a step line: 0 non-contrast, 1 arterial, 2 parenchymal, 3 venous."""
    codes = [float(PHASES.index(n)) for n in names]
    return _chart(
        host, run_id, "phases", title, {"time_s": _floats(times_s), "phase": codes}, "time [s]", "phase (0-3)"
    )


def add_calibration_plot(
    host: Host, run_id: str, title: str, confidence: npt.ArrayLike, accuracy: npt.ArrayLike
) -> Any:
    """Add a reliability diagram: observed accuracy against stated confidence, with the diagonal."""
    stated = _floats(confidence)
    columns = {"confidence": stated, "observed": _floats(accuracy), "ideal": stated}
    return _chart(host, run_id, "calibration", title, columns, "confidence", "share that was right")


def contrast_curve(
    frames: npt.NDArray[Any] | Sequence[npt.NDArray[Any]], region: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float64]:
    """Mean darkening of a region in stored values, one number per frame.

    The reference is the brightest value of each pixel over time, so the curve is never negative.

    Parameters
    ----------
    frames : (T, H, W) array
        Contrast dark.
    region : (H, W) bool, optional
        All pixels by default.
    """
    chosen = np.stack([f[region] if region is not None else f.ravel() for f in frames]).astype(np.float64)
    if chosen.shape[1] == 0:
        return np.zeros(len(chosen))
    return (chosen.max(axis=0) - chosen).mean(axis=1)


def _chart(
    host: Host, run_id: str, role: str, title: str, columns: Mapping[str, Sequence[Any]], x_title: str, y_title: str
) -> Any:
    table = add_table(host, run_id, role, f"{title} (table)", columns)
    chart = host.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    first, *others = columns
    for i, name in enumerate(others):
        line = host.scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        line.SetAndObserveTableNodeID(table.GetID())
        line.SetXColumnName(first)
        line.SetYColumnName(name)
        line.SetPlotType(line.PlotTypeScatter)
        line.SetMarkerStyle(line.MarkerStyleNone)
        line.SetColor(*_LINE_COLORS[i % len(_LINE_COLORS)])
        tag(line, run_id, f"line:{role}:{name}")
        chart.AddAndObservePlotSeriesNodeID(line.GetID())
    return tag(chart, run_id, f"chart:{role}")


def _floats(values: npt.ArrayLike) -> list[float]:
    return [float(v) for v in np.asarray(values, np.float64)]
