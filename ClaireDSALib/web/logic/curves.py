"""Contrast over time: the curve of the run, of a clicked point, and the phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import vtk

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.mrml.images import pixel_of_ras
from ClaireDSALib.mrml.plots import contrast_curve
from ClaireDSALib.mrml.tables import table_columns
from ClaireDSALib.pipeline.report import Phases
from ClaireDSALib.web.session import Session
from ClaireDSALib.web.views import PROJECTION, SEQUENCE, Views

WIDTH, HEIGHT = 1000.0, 100.0
"""View box of the drawing; x is time over the whole run."""
_CLICK_SLACK_PX = 4
_POINT_RADIUS_PX = 2

PHASE_TITLES = {
    "non_contrast": "no contrast",
    "arterial": "arterial",
    "parenchymal": "capillary",
    "venous": "venous",
}


class CurvesLogic:
    """Fills the timeline."""

    def __init__(self, server: Any, session: Session, views: Views) -> None:
        self._state, self._session, self._views = server.state, session, views
        session.run_changed.append(self._show)
        session.result_changed.append(lambda run_id: self._show(run_id) if run_id == session.current else None)
        self._pressed: dict[str, tuple[int, int]] = {}
        for view_id in (SEQUENCE, PROJECTION):
            interactor = views[view_id].interactor()
            interactor.AddObserver("LeftButtonPressEvent", lambda o, _e, v=view_id: self._press(v, o), 50.0)
            interactor.AddObserver("LeftButtonReleaseEvent", lambda o, _e, v=view_id: self._release(v, o), 50.0)
        server.controller.trigger("clear_point")(self.clear_point)

    def clear_point(self) -> None:
        self._state.point = None

    def pick(self, row: float, column: float) -> None:
        """Show the curve of the surroundings of a pixel."""
        series = self._session.series[self._session.current]
        region = disc(series.shape, row, column)
        if series.n_frames < 2 or not region.any():
            return
        values = contrast_curve(list(series), region)
        self._state.point = {
            **curve_item(series.times_s, values),
            "title": f"point at row {round(row)}, column {round(column)}",
        }

    def _show(self, run_id: str) -> None:
        self._state.point = None
        results, report = self._session.results.get(run_id), self._session.reports.get(run_id)
        table = results.tables.get("curve") if results else None
        if table is None:
            self._state.curve = None
        else:
            columns = table_columns(table)
            name = next(k for k in columns if k != "time_s")
            self._state.curve = {**curve_item(columns["time_s"], columns[name]), "title": name}
        series = self._session.series[run_id]
        self._state.phases = phase_items(series, report.phases) if report and report.phases else []

    def _press(self, view_id: str, interactor: Any) -> None:
        self._pressed[view_id] = interactor.GetEventPosition()

    def _release(self, view_id: str, interactor: Any) -> None:
        start, end = self._pressed.pop(view_id, None), interactor.GetEventPosition()
        if start is None or not self._session.current:
            return
        if max(abs(start[0] - end[0]), abs(start[1] - end[1])) > _CLICK_SLACK_PX:
            return
        row, column = self._pixel(view_id, end)
        rows, columns = self._session.series[self._session.current].shape
        if 0 <= row < rows and 0 <= column < columns:
            with self._state:
                self.pick(row, column)

    def _pixel(self, view_id: str, position: tuple[int, int]) -> tuple[float, float]:
        matrix: vtk.vtkMatrix4x4 = self._views[view_id].get_view_node().GetXYToRAS()
        ras = matrix.MultiplyPoint((position[0], position[1], 0.0, 1.0))[:3]
        nodes = self._session.shown(self._session.current)
        return pixel_of_ras((ras[0], ras[1], 0.0), nodes.shape, nodes.spacing_mm)


def disc(
    shape: tuple[int, int], row: float, column: float, radius_px: float = _POINT_RADIUS_PX
) -> npt.NDArray[np.bool_]:
    """``(H, W)`` mask of the pixels around a point."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius_px**2


def curve_item(times_s: npt.ArrayLike, values: npt.ArrayLike) -> dict[str, Any]:
    """A curve as an SVG path on true times, with the values for reading."""
    times, heights = np.asarray(times_s, float), np.asarray(values, float)
    span = float(times[-1] - times[0]) or 1.0
    top = float(heights.max()) or 1.0
    x = (times - times[0]) / span * WIDTH
    y = HEIGHT - heights / top * (HEIGHT - 6)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return {
        "line": "M" + line.replace(" ", " L"),
        "area": f"M{x[0]:.1f},{HEIGHT:g} L" + line.replace(" ", " L") + f" L{x[-1]:.1f},{HEIGHT:g} Z",
        "x": [round(float(v), 1) for v in x],
        "y": [round(float(v), 1) for v in y],
        "values": [round(float(v), 1) for v in heights],
    }


def phase_items(series: DsaSeries, phases: Phases) -> list[dict[str, Any]]:
    """Stretches of equal phase in percent of the run's time; a frame reaches half-way to its neighbours."""
    if len(phases.names) != series.n_frames or series.n_frames < 2:
        return []
    borders = np.concatenate([series.times_s[:1], (series.times_s[1:] + series.times_s[:-1]) / 2, series.times_s[-1:]])
    share = 100 * (borders - borders[0]) / (borders[-1] - borders[0])
    items = []
    for first, last in _stretches(phases.names):
        name = phases.names[first]
        left, width = float(share[first]), float(share[last + 1] - share[first])
        text = f"{PHASE_TITLES.get(name, name)}, {series.times_s[first]:.1f}–{series.times_s[last]:.1f} s"
        items.append({"name": name, "title": PHASE_TITLES.get(name, name), "left": left, "width": width, "text": text})
    return items


def _stretches(names: Sequence[str]) -> list[tuple[int, int]]:
    starts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1])]
    return list(zip(starts, [s - 1 for s in starts[1:]] + [len(names) - 1], strict=True))
