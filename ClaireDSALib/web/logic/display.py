"""Which picture stands in which view, and how it is drawn."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
from trame_server.utils.asynchronous import create_task

from ClaireDSALib import mrml
from ClaireDSALib.dsa.projection import minip
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.subtraction import subtract, to_display
from ClaireDSALib.mrml.images import add_volume, robust_range, set_window
from ClaireDSALib.mrml.overlay import TITLES
from ClaireDSALib.mrml.tables import table_columns
from ClaireDSALib.pipeline.report import RunReport
from ClaireDSALib.web.logic.runs import run_title
from ClaireDSALib.web.session import Session, notify
from ClaireDSALib.web.views import PROJECTION, PROJECTION_2, SEQUENCE, SEQUENCE_2, Views

_HIGH_SHARE = 0.6
_PAIRS = ((SEQUENCE, PROJECTION), (SEQUENCE_2, PROJECTION_2))


class DisplayLogic:
    """Fills the views from the session and the state."""

    def __init__(self, server: Any, session: Session, views: Views) -> None:
        self._server, self._state = server, server.state
        self._session, self._views = session, views
        self._previews: dict[str, Any] = {}
        self._observed: tuple[Any, int] | None = None
        self._following = False
        self._opened: set[str] = set()
        session.result_changed.append(self._result_changed)
        session.case_changed.append(self._case_changed)
        for name in ("select_run", "set_layout", "set_overlay", "reset_view", "auto_window"):
            server.controller.trigger(name)(getattr(self, name))
        self._state.change("alpha")(self._alpha_changed)
        self._state.change("vessels_on")(lambda **_: self._show_segments())
        self._state.change("wl")(lambda **_: self._apply_window())
        self._state.change("subtraction")(lambda **_: self._subtraction_changed())

    def select_run(self, run_id: str) -> None:
        """Show a run."""
        if run_id not in self._session.series or run_id == self._session.current:
            return
        self._session.current = self._state.current = run_id
        self._state.playing = False
        nodes = self._session.shown(run_id)
        series = self._session.series[run_id]
        self._state.times = [float(t) for t in series.times_s]
        self._state.n_frames = series.n_frames
        self._state.frame = mrml.selected_frame(nodes)
        self._state.can_biplane = bool(self._session.partner(run_id))
        self._state.can_runs = bool(self._session.counterpart(run_id))
        self._refresh_options(run_id)
        if self._state.layout not in self._usable_layouts():
            self._state.layout = "pair"
        self._open_at_peak(run_id)
        notify(self._session.run_changed, run_id)
        self._ensure_subtracted()
        self.apply()
        self._views.fit()

    def _open_at_peak(self, run_id: str) -> None:
        """A run that nobody has moved yet opens where its contrast is strongest, not on the empty mask."""
        results, nodes = self._session.results.get(run_id), self._session.nodes.get(run_id)
        if run_id != self._session.current or run_id in self._opened or results is None or nodes is None:
            return
        self._opened.add(run_id)
        if mrml.selected_frame(nodes) == 0 and "curve" in results.tables:
            frame = strongest_frame(results, self._session.reports[run_id])
            mrml.select_frame(nodes, frame)
            self._state.frame = frame

    def set_layout(self, layout: str) -> None:
        """``pair``, ``single``, ``compare``, ``runs`` or ``biplane``; one that the run cannot fill is ignored."""
        if layout not in self._usable_layouts():
            return
        self._state.layout = layout
        if layout in ("biplane", "runs"):
            self._views.ensure(SEQUENCE_2, PROJECTION_2)
            self._show_overlay(self._state.overlay)
        self._ensure_subtracted()
        self.apply()
        self._views.fit()

    def next_layout(self) -> None:
        usable = self._usable_layouts()
        self.set_layout(usable[(usable.index(self._state.layout) + 1) % len(usable)])

    def _usable_layouts(self) -> list[str]:
        usable = ["pair", "single"]
        usable += ["compare"] if self._state.can_subtract else []
        usable += ["runs"] if self._state.can_runs else []
        return usable + (["biplane"] if self._state.can_biplane else [])

    def set_overlay(self, name: str) -> None:
        """Show a map by its array name, or a class-activation map by ``cam:<label>:<class>``; empty for none."""
        if self._session.result(self._session.current) is not None:
            self._show_overlay(name)

    def show_cam(self, label: str, label_class: str) -> None:
        """Show a class-activation map; empty names for none. A label without maps leaves the picture bare."""
        self.set_overlay(f"cam:{label}:{label_class}" if label else "")

    def _show_overlay(self, name: str) -> None:
        shown = {}
        for run_id, view_id in ((self._session.current, PROJECTION), (self._partner_shown(), PROJECTION_2)):
            results = self._session.result(run_id) if run_id else None
            if results is not None:
                shown[view_id] = legend_item(fill_overlay(self._session.host, results, name))
        results = self._session.result(self._session.current)
        self._state.overlay = mrml.active_overlay(results) if results is not None else ""
        self._state.legends = shown
        self._views.draw(PROJECTION, PROJECTION_2)

    def _partner_shown(self) -> str:
        """The run in the second pair of views: the other plane, or the run before or after."""
        if self._state.layout == "biplane":
            return self._session.partner(self._session.current)
        return self._session.counterpart(self._session.current) if self._state.layout == "runs" else ""

    def reset_view(self) -> None:
        self._views.fit()

    def zoom(self, factor: float) -> None:
        for view_id in self._visible():
            self._views[view_id].zoom(factor)

    def auto_window(self) -> None:
        """Window from the picture shown."""
        proxy = self._background(self._session.current)
        image = mrml.images.array_of_image(proxy.GetImageData()) if proxy is not None else None
        if image is not None:
            low, high = robust_range(image, 0.1, 99.9)
            self._state.wl = [low, high]
            self._apply_window()

    def frame_views(self) -> list[str]:
        """Views that change with the frame."""
        if self._state.layout == "compare":
            return [SEQUENCE, PROJECTION]
        return [SEQUENCE, SEQUENCE_2] if self._state.layout == "biplane" else [SEQUENCE]

    def apply(self) -> None:
        """Put everything into the views as the state says."""
        run_id = self._session.current
        if not run_id:
            return
        titles = dict.fromkeys(self._state.view_titles, "")
        runs = (run_id, self._partner_shown())
        for (sequence, projection), shown in zip(_PAIRS, runs, strict=True):
            if not shown:
                self._views.fill(sequence)
                self._views.fill(projection)
                continue
            titles |= self._fill_run(shown, sequence, projection)
        self._state.view_titles = titles
        self._show_segments()
        self._observe_window()
        self._views.redraw()

    def _fill_run(self, run_id: str, sequence: str, projection: str) -> dict[str, str]:
        name = run_title(self._session.series[run_id])
        nodes = self._session.shown(run_id)
        if self._state.layout == "compare":
            self._views.fill(sequence, nodes.proxy)
            self._views.fill(projection, nodes.subtracted_proxy)
            return {sequence: f"{name} — before", projection: f"{name} — after subtraction"}
        self._views.fill(sequence, self._background(run_id))
        results = self._session.result(run_id)
        if results is None:
            self._views.fill(projection, self._preview(run_id))
            return {sequence: name, projection: "Minimum over time"}
        volume = results.projection
        if not self._state.subtraction and self._subtractable(run_id) and "minip" in results.volumes:
            volume = results.volumes["minip"]
        self._views.fill(projection, volume, results.overlay, float(self._state.alpha))
        subtracted = volume is results.volumes.get("subtracted_minip")
        what = "Subtracted minimum over time" if subtracted else "Minimum over time"
        return {sequence: name, projection: f"{name} — {what.lower()}" if self._state.layout == "runs" else what}

    def _background(self, run_id: str) -> Any:
        if not run_id:
            return None
        nodes = self._session.shown(run_id)
        if self._state.subtraction and nodes.subtracted_proxy is not None:
            return nodes.subtracted_proxy
        return nodes.proxy

    def _preview(self, run_id: str) -> Any:
        """Projection before the analysis has made one."""
        if run_id not in self._previews:
            series = self._session.series[run_id]
            picture = minip(series)
            volume = add_volume(self._session.host.scene, "preview", picture, series.geometry.pixel_spacing_mm)
            volume.SetSaveWithScene(False)
            set_window(volume, *robust_range(picture, 0.1, 99.9))
            self._previews[run_id] = volume
        return self._previews[run_id]

    def _visible(self) -> list[str]:
        layout = next(x for x in self._state.layouts if x["id"] == self._state.layout)
        return list(layout["views"])

    def _show_segments(self) -> None:
        """Only the runs on the screen, only in their projection."""
        run_id = self._session.current
        places = {run_id: PROJECTION, self._partner_shown(): PROJECTION_2} if self._state.layout != "compare" else {}
        for shown, results in self._session.results.items():
            for node in (results.segmentation, results.site):
                if node is None:
                    continue
                display = node.GetDisplayNode()
                display.SetVisibility(bool(shown in places and self._state.vessels_on))
                if shown in places:
                    display.SetViewNodeIDs(self._views.node_ids(places[shown]))
        self._views.draw(PROJECTION, PROJECTION_2)

    def _alpha_changed(self, **_: Any) -> None:
        if self._state.layout != "compare":
            for view_id in (PROJECTION, PROJECTION_2):
                self._views.set_alpha(view_id, float(self._state.alpha))

    def _refresh_options(self, run_id: str) -> None:
        results = self._session.result(run_id)
        self._state.can_subtract = self._subtractable(run_id)
        names = mrml.overlay_names(results) if results else []
        self._state.overlays = [{"name": n, "title": TITLES[n]} for n in names]
        self._state.has_vessels = bool(results and results.segmentation is not None)
        vessels = self._session.reports[run_id].vessels if run_id in self._session.reports else None
        self._state.vessels_note = "run is unsuitable" if vessels and vessels.despite_unsuitable else ""
        self._show_overlay(mrml.active_overlay(results) if results is not None else "")

    def _result_changed(self, run_id: str) -> None:
        beside = (self._session.partner(self._session.current), self._partner_shown()) if self._session.current else ()
        if run_id in (self._session.current, *beside):
            self._refresh_options(self._session.current)
            self._open_at_peak(run_id)
            self._ensure_subtracted()
            self.apply()

    def _case_changed(self) -> None:
        self._previews.clear()
        self._opened.clear()
        self._observed = None
        self._state.overlay, self._state.legends = "", {}

    def _subtraction_changed(self) -> None:
        if not self._session.current:
            return
        self._ensure_subtracted()
        self.apply()

    def _ensure_subtracted(self) -> None:
        """Make the subtracted frames when they are wanted, beside the event loop."""
        if not (self._state.subtraction or self._state.layout == "compare"):
            return
        for run_id in (self._session.current, self._partner_shown()):
            if run_id and self._subtractable(run_id) and self._session.shown(run_id).subtracted_proxy is None:
                create_task(self._subtract(run_id))

    def _subtractable(self, run_id: str) -> bool:
        series = self._session.series[run_id]
        found = "subtracted_minip" in self._session.arrays.get(run_id, {})
        return found and series.subtraction_state != "subtracted" and series.n_frames > 1

    async def _subtract(self, run_id: str) -> None:
        series = self._session.series[run_id]
        frames = await asyncio.get_running_loop().run_in_executor(None, subtracted_frames, series)
        nodes = self._session.nodes.get(run_id)
        if nodes is None:
            return
        if nodes.subtracted_proxy is None:
            self._session.nodes[run_id] = mrml.add_subtracted(self._session.host, series, nodes, frames)
        with self._state:
            self.apply()

    def _observe_window(self) -> None:
        """Sliders follow the mouse."""
        volume = self._background(self._session.current)
        display = volume.GetDisplayNode()
        if self._observed is not None:
            if self._observed[0] is display:
                return
            self._observed[0].RemoveObserver(self._observed[1])
        tag = display.AddObserver("ModifiedEvent", self._window_moved)
        self._observed = (display, tag)
        self._state.wl_limits = value_limits(volume, self._session.series[self._session.current])
        self._following = True
        self._state.wl = [display.GetWindowLevelMin(), display.GetWindowLevelMax()]
        self._following = False

    def _window_moved(self, display: Any, _event: str) -> None:
        now = [display.GetWindowLevelMin(), display.GetWindowLevelMax()]
        if np.allclose(now, self._state.wl):
            return
        self._following = True
        with self._state:
            self._state.wl = now
        self._following = False

    def _apply_window(self) -> None:
        volume = self._background(self._session.current)
        if volume is None or self._following:
            return
        low, high = (float(v) for v in self._state.wl)
        display = volume.GetDisplayNode()
        if not np.allclose([display.GetWindowLevelMin(), display.GetWindowLevelMax()], [low, high]):
            set_window(volume, low, high)


def subtracted_frames(series: DsaSeries) -> list[np.ndarray]:
    """Frames after subtraction on the scale for display."""
    return [to_display(opacity) for opacity in subtract(series)]


def strongest_frame(results: mrml.ResultNodes, report: RunReport) -> int:
    """Frame at the arterial peak: among the arterial frames where phases are known, else the first high peak."""
    columns = table_columns(results.tables["curve"])
    values = np.array(next(v for k, v in columns.items() if k != "time_s"))
    if report.phases is not None and len(report.phases.names) == len(values):
        arterial = np.array([name == "arterial" for name in report.phases.names])
        if arterial.any():
            return int(np.where(arterial, values, -np.inf).argmax())
    return first_peak(values)


def first_peak(values: npt.NDArray[np.float64]) -> int:
    """First local maximum of a curve that reaches 60 % of its largest value; later ones are the veins."""
    high = np.flatnonzero(values >= _HIGH_SHARE * values.max())
    return int(next(i for i in high if i + 1 == len(values) or values[i + 1] <= values[i]))


def value_limits(volume: Any, series: DsaSeries) -> list[float]:
    """Range of the window sliders."""
    if (volume.GetAttribute("ClaireDSA.role") or "").startswith("subtracted"):
        return [0.0, 65535.0]
    return [0.0, float(series.max_value)]


def fill_overlay(host: Any, results: mrml.ResultNodes, name: str) -> mrml.Legend | None:
    """Fill a run's overlay by name; what the run does not have leaves it empty."""
    kind, _, rest = name.partition(":")
    if kind == "cam":
        label, _, label_class = rest.partition(":")
        if (label, label_class) in results.cams:
            return mrml.set_active_cam(host, results, label, label_class)
        return mrml.set_overlay(host, results, "")
    return mrml.set_overlay(host, results, name if name in results.volumes else "")


def legend_item(legend: mrml.Legend | None) -> dict[str, Any] | None:
    """Legend for the page: a CSS gradient and three ticks."""
    if legend is None:
        return None
    middle = (legend.low + legend.high) / 2
    return {
        "title": legend.title,
        "unit": legend.unit,
        "gradient": f"linear-gradient(to top, {', '.join(legend.stops)})",
        "ticks": [f"{v:.2g}" if abs(v) < 10 else f"{v:.0f}" for v in (legend.high, middle, legend.low)],
    }
