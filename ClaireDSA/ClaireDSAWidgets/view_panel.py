"""Which pictures stand in which view: layout, projection, overlay, vessels, thrombus site."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from . import layouts, pictures
from .background import Background
from .case import subtracted_frames
from .layouts import Layout
from .session import Session, choose, chosen

_PROJECTIONS = ("subtracted_minip", "minip", "color_summary")


class ViewPanel:
    """Joins the section "Views" to the layout manager."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._not_subtractable: set[str] = set()
        self._subtraction = Background(self._subtracted)
        self._subtracted_run = ""
        ui = session.ui
        ui.overlayCombo.connect("currentIndexChanged(int)", lambda _index: self._overlay_chosen())
        ui.projectionCombo.connect("currentIndexChanged(int)", lambda _index: self._placed_by_user())
        ui.secondRunCombo.connect("currentIndexChanged(int)", lambda _index: self._placed_by_user())

    def close(self) -> None:
        """Let go of work under way; the scene goes away."""
        self._subtraction.close()
        self._not_subtractable.clear()

    def set_runs(self, titles: dict[str, str]) -> None:
        """Offer runs for the second place: run id -> title."""
        combo = self._session.ui.secondRunCombo
        before = chosen(combo)
        with self._session.hushed():
            combo.clear()
            combo.addItem(_("none"), "")
            for run_id, title in titles.items():
                combo.addItem(title, run_id)
            choose(combo, before)

    def show_run(self) -> None:
        """The selected run or its results changed: offer its pictures and show it."""
        session = self._session
        _nodes, results = session.case.nodes(session.selected_run)
        if partner := session.case.partner(session.selected_run):
            with session.hushed():
                choose(session.ui.secondRunCombo, partner)
        self._offer_projections(results)
        self._offer_overlays(results)
        self.place()

    def explain(self, class_name: str) -> None:
        """Show the class-activation map of a class of the selected property, in every run shown."""
        from ClaireDSALib.mrml import set_active_cam

        session = self._session
        label = session.label
        _nodes, results = session.case.nodes(session.selected_run)
        if label is None or results is None or (label.name, class_name) not in results.cams:
            return
        for run_id in reversed(self._shown_runs().values()):
            _nodes, results = session.case.nodes(run_id)
            if results is not None and (label.name, class_name) in results.cams:
                legend = set_active_cam(session.case.host, results, label.name, class_name)
        session.ui.legendLabel.text = pictures.legend_html(legend)  # of the selected run, which came last
        with session.hushed():
            choose(session.ui.overlayCombo, "cam")
        self.place()

    def place(self) -> None:
        """Put nodes into views as the panel says; cheap when nothing changed."""
        session, parameters = self._session, self._session.parameters
        if parameters is None or not session.case.run_ids() or slicer.app.layoutManager() is None:
            return
        layouts.register()
        layouts.show(parameters.layoutChoice)
        shown = self._shown_runs()
        for position in (1, 2):
            self._place_one(position, shown.get(position, ""))
        places = {run_id: position for position, run_id in shown.items()}
        for run_id in session.case.run_ids():
            _nodes, results = session.case.nodes(run_id)
            if results is not None:
                view = layouts.projection_view_id(places[run_id]) if run_id in places else ""
                layouts.only_in(results.segmentation, view, parameters.showVessels)
                layouts.only_in(results.site, view, parameters.showSite)

    def _shown_runs(self) -> dict[int, str]:
        """Position -> run."""
        first, second = self._session.selected_run, chosen(self._session.ui.secondRunCombo)
        if self._session.parameters.layoutChoice is Layout.SINGLE or second in ("", first):
            return {1: first}
        return {1: first, 2: second}

    def _place_one(self, position: int, run_id: str) -> None:
        parameters = self._session.parameters
        nodes, results = self._session.case.nodes(run_id)
        if parameters.showSubtracted and nodes is not None:
            nodes = self._with_subtracted(run_id, nodes)
        projection = None
        if results is not None:
            projection = results.volumes.get(chosen(self._session.ui.projectionCombo), results.projection)
        layouts.place(
            position,
            nodes,
            projection,
            results.overlay if results is not None else None,
            parameters.overlayOpacity,
            subtracted=parameters.showSubtracted,
        )

    def _placed_by_user(self) -> None:
        if not self._session.quiet:
            self.place()

    def _overlay_chosen(self) -> None:
        session = self._session
        if session.quiet:
            return
        name = chosen(session.ui.overlayCombo)
        if name == "cam":
            if session.label is not None:
                self.explain(session.label.predicted)
            return
        from ClaireDSALib.mrml import set_overlay

        legend = None
        for run_id in reversed(self._shown_runs().values()):
            _nodes, results = session.case.nodes(run_id)
            if results is not None and (not name or name in results.volumes):
                legend = set_overlay(session.case.host, results, name)
        session.ui.legendLabel.text = pictures.legend_html(legend)  # of the selected run, which came last
        self.place()

    def _offer_projections(self, results: Any) -> None:
        titles = (_("Subtracted MinIP"), _("MinIP"), _("Colour-coded flow"))
        combo = self._session.ui.projectionCombo
        before = chosen(combo)
        with self._session.hushed():
            combo.clear()
            for name, title in zip(_PROJECTIONS, titles, strict=True):
                if results is not None and name in results.volumes:
                    combo.addItem(title, name)
            choose(combo, before)

    def _offer_overlays(self, results: Any) -> None:
        from ClaireDSALib.mrml import overlay_names
        from ClaireDSALib.mrml.overlay import TITLES

        combo = self._session.ui.overlayCombo
        with self._session.hushed():
            combo.clear()
            combo.addItem(_("none"), "")
            if results is None:
                self._session.ui.legendLabel.text = ""
                return
            if results.cams:
                combo.addItem(_("Activation map"), "cam")
            for name in overlay_names(results):
                combo.addItem(TITLES[name], name)
            active = results.overlay.GetAttribute("ClaireDSA.active") or ""
            choose(combo, "cam" if active.startswith("cam:") else active)

    def _with_subtracted(self, run_id: str, nodes: Any) -> Any:
        """Have the run subtracted in the background when that was not done yet; until then it stays as it is."""
        needed = nodes.subtracted_proxy is None and run_id not in self._not_subtractable
        if needed and not self._subtraction.is_running:
            series = self._session.case.series(run_id)
            if series.subtraction_state == "subtracted":
                self._not_subtractable.add(run_id)
                return nodes
            self._subtracted_run = run_id
            self._subtraction.start(lambda: (series, subtracted_frames(series)))
        return nodes

    def _subtracted(self, result: Any, error: BaseException | None) -> None:
        run_id = self._subtracted_run
        nodes, _results = self._session.case.nodes(run_id)
        if error is not None:
            self._not_subtractable.add(run_id)
            self._session.ui.subtractedCheck.toolTip = _("Not subtracted: {why}").format(why=error)
        elif nodes is not None:
            self._session.case.add_subtracted(nodes, *result)
        self.place()
