"""The case list: one row per run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from . import words

_ROW_HEIGHT_PX = 54


@dataclass
class RunRow:
    """What a row shows."""

    run_id: str
    title: str
    view: str = ""
    n_frames: int = 0
    picture: Any = None
    """QPixmap."""
    report: Any = None
    """RunReport, None before the analysis."""
    state: str = ""
    """Waiting, 40 %, cancelled ...; shown instead of the verdict."""
    tip: str = ""


class RunTable:
    """Fills a QTableWidget and tells which run was chosen."""

    def __init__(self, table: Any, chosen: Callable[[str], None]) -> None:
        self._table, self._chosen, self._busy = table, chosen, False
        self._rows: list[RunRow] = []
        table.setColumnCount(5)
        table.setHorizontalHeaderLabels([_("Run"), _("View"), _("Frames"), _("Verdict"), _("Thrombus")])
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT_PX)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._selection_changed)

    @property
    def run_ids(self) -> list[str]:
        return [row.run_id for row in self._rows]

    def row(self, run_id: str) -> RunRow | None:
        return next((r for r in self._rows if r.run_id == run_id), None)

    def fill(self, rows: list[RunRow]) -> None:
        """Replace all rows; the selection is the caller's business."""
        self._busy = True
        self._rows = rows
        self._table.setRowCount(len(rows))
        for index in range(len(rows)):
            self._write(index)
        self._busy = False

    def refresh(self, run_id: str, **changes: Any) -> None:
        """Change some of a row's values."""
        for index, row in enumerate(self._rows):
            if row.run_id == run_id:
                for name, value in changes.items():
                    setattr(row, name, value)
                self._write(index)

    def select(self, run_id: str) -> None:
        """Mark a row without calling back."""
        self._busy = True
        if run_id in self.run_ids:
            self._table.selectRow(self.run_ids.index(run_id))
        else:
            self._table.clearSelection()
        self._busy = False

    def _selection_changed(self) -> None:
        index = self._table.currentRow()
        if not self._busy and 0 <= index < len(self._rows):
            self._chosen(self._rows[index].run_id)

    def _write(self, index: int) -> None:
        row = self._rows[index]
        verdict = row.state or words.verdict_word(row.report)
        for column, text in enumerate(
            (row.title, row.view, str(row.n_frames), verdict, words.thrombus_word(row.report))
        ):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(row.tip)
            if column == 0 and row.picture is not None:
                item.setIcon(qt.QIcon(row.picture))
            if column == 2:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            self._table.setItem(index, column, item)
