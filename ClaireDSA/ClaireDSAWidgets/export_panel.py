"""Writing the case's report and pictures into a folder, while the panel stays alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .background import Background
from .session import Session


class ExportPanel:
    """Joins the section "Export" to the library's writers."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._target = Path()
        self._background = Background(self._done)
        session.ui.exportButton.connect("clicked()", self.export)

    def export(self) -> None:
        """Write everything that is in the report now."""
        with slicer.util.tryWithErrorDisplay(_("The report could not be exported.")):
            self._target = Path(self._session.ui.exportFolderEdit.currentPath)
            series, result = self._session.case.exported(self._target)
            from ClaireDSALib.export.files import write_case

            self._session.ui.exportFolderEdit.addCurrentPathToHistory()
            self._background.start(lambda: write_case(self._target, series, result))
            self._session.ui.exportButton.enabled = False
            self._session.say(_("Exporting …"))

    def close(self) -> None:
        self._background.close()

    def _done(self, _report: Any, error: BaseException | None) -> None:
        self._session.ui.exportButton.enabled = True
        if error is None:
            self._session.say(_("Exported to {folder}.").format(folder=self._target))
        else:
            self._session.say(_("The report could not be exported: {why}").format(why=error))
