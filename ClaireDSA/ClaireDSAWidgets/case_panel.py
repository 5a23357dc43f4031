"""The case list, and the buttons that bring runs in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from . import demo_data, pictures, words
from .run_table import RunRow, RunTable
from .session import Session


class CasePanel:
    """Joins the section "Case" to the runs in the scene.

    Parameters
    ----------
    session : Session
    selected : callable
        Called when another run was selected, or the selected one has new results.
    """

    def __init__(self, session: Session, selected: Callable[[], None]) -> None:
        self._session, self._selected = session, selected
        self._shown: tuple[str, str | None] | None = None
        self.table = RunTable(session.ui.runTable, self.select)
        ui = session.ui
        ui.adoptButton.enabled = False
        ui.sequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._sequence_chosen)
        for button, action in (
            (ui.dicomButton, lambda: slicer.util.selectModule("DICOM")),
            (ui.folderButton, self._ask_folder),
            (ui.sampleButton, self.add_demo_case),
            (ui.adoptButton, self.adopt),
        ):
            button.connect("clicked()", action)

    @property
    def run_ids(self) -> list[str]:
        return self.table.run_ids

    def refresh(self) -> list[str]:
        """Bring the list in line with the scene; returns runs that came and have no results."""
        session = self._session
        before, now = self.table.run_ids, session.case.run_ids()
        if before != now:
            self.table.fill([self.table.row(r) or self._row(r) for r in now])
            self.write_reports()
        if session.selected_run not in now:
            session.parameters.selectedRun = now[0] if now else ""
        self.select(session.selected_run)
        fresh = [r for r in now if r not in before and session.case.run_report(r) is None]
        self._tell_warnings(fresh)
        return fresh

    def forget(self) -> None:
        """The scene was exchanged: nothing shown counts any more."""
        self._shown = None
        self.table.fill([])

    def titles(self) -> dict[str, str]:
        """Run id -> name with view."""
        rows = [self.table.row(r) for r in self.table.run_ids]
        return {row.run_id: f"{row.title} {row.view}" for row in rows}

    def write_reports(self) -> None:
        """Show verdict and thrombus of every run as the report has them now."""
        for run_id in self.table.run_ids:
            self.table.refresh(run_id, report=self._session.case.run_report(run_id))

    def select(self, run_id: str) -> None:
        """Select a run; does nothing when it is shown with its present results already."""
        session = self._session
        if session.parameters is None:
            return
        if session.parameters.selectedRun != run_id:
            session.parameters.selectedRun = run_id
        self.table.select(run_id)
        _nodes, results = session.case.nodes(run_id)
        key = (run_id, results.report.GetID() if results is not None else None)
        if key != self._shown:
            self._shown = key
            self._selected()

    def show_again(self) -> None:
        """The selected run has new results."""
        self._shown = None
        self.select(self._session.selected_run)

    def show_projection(self, run_id: str) -> None:
        """Use the projection of an analysed run as its picture in the list."""
        nodes, _results = self._session.case.nodes(run_id)
        if nodes is not None:
            self.table.refresh(run_id, picture=self._picture(run_id))

    def step(self, step: int) -> None:
        """Go to the next or previous run."""
        runs = self.table.run_ids
        if runs:
            index = runs.index(self._session.selected_run) if self._session.selected_run in runs else 0
            self.select(runs[max(0, min(len(runs) - 1, index + step))])

    def add_folder(self, folder: Path) -> None:
        """Read the runs of a folder into the scene."""
        with slicer.util.tryWithErrorDisplay(_("The folder could not be read."), waitCursor=True):
            added, left_out = self._session.case.add_folder(folder, self._tell_step)
            lines = [_("{n} runs were added.").format(n=len(added)), *left_out[:5]]
            self.refresh()
            if added:
                self.select(min(added, key=self.table.run_ids.index))
            self._session.say("\n".join(lines))

    def add_demo_case(self) -> None:
        """Read the simulated demo case into the scene."""
        with slicer.util.tryWithErrorDisplay(_("The demo case could not be made."), waitCursor=True):
            self.add_folder(demo_data.folder(self._tell_step))

    def adopt(self) -> None:
        """Make a run of a sequence that another module loaded."""
        with slicer.util.tryWithErrorDisplay(_("This sequence cannot be used."), waitCursor=True):
            run_id = self._session.case.adopt(self._session.parameters.otherSequence)
            self.refresh()
            self.select(run_id)

    def _ask_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder with angiographic runs"))
        if folder:
            self.add_folder(Path(folder))

    def _sequence_chosen(self, node: Any) -> None:
        self._session.ui.adoptButton.enabled = node is not None

    def _tell_step(self, text: str) -> None:
        self._session.say(text)
        slicer.app.processEvents()

    def _tell_warnings(self, run_ids: list[str]) -> None:
        rows = [self.table.row(r) for r in run_ids]
        if found := [f"{row.title}: {row.tip}" for row in rows if row.tip]:
            self._session.say("\n".join(found[:4]))

    def _row(self, run_id: str) -> RunRow:
        nodes, _results = self._session.case.nodes(run_id)
        about = self._session.case.description(nodes)
        view = about.get("geometry", {}).get("view", "unknown")
        return RunRow(
            run_id,
            nodes.sequence.GetName().removesuffix(f" {view}"),
            words.plain(view),
            nodes.sequence.GetNumberOfDataNodes(),
            self._picture(run_id),
            tip="\n".join(about.get("warnings", ())),
        )

    def _picture(self, run_id: str) -> Any:
        nodes, results = self._session.case.nodes(run_id)
        projection = results.projection if results is not None else None
        small = pictures.thumbnail(nodes.sequence) if projection is None else pictures.volume_thumbnail(projection)
        return pictures.pixmap(small)
