"""The nine properties with their probabilities, and the classes of the selected one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from . import words

_PARTS = 1000
_MARKS = {"accept": "✓", "correct": "→", "unsure": "?"}


class LabelTable:
    """One row per property: most likely class, bar, reviewer's mark."""

    def __init__(self, table: Any, chosen: Callable[[str], None]) -> None:
        self._table, self._chosen, self._busy = table, chosen, False
        self._names: list[str] = []
        _prepare(table, [_("Property"), _("Result"), _("Probability"), _("Review")])
        table.connect("itemSelectionChanged()", self._selection_changed)

    @property
    def names(self) -> list[str]:
        return list(self._names)

    def fill(self, run: Any, selected: str) -> None:
        """Show the labels of a run; ``run`` None empties the table."""
        self._busy = True
        labels = run.labels if run is not None else ()
        overrides = {o.label: o for o in run.overrides} if run is not None else {}
        self._names = [label.name for label in labels]
        self._table.setRowCount(len(labels))
        for row, label in enumerate(labels):
            self._table.setItem(row, 0, qt.QTableWidgetItem(words.plain(label.name)))
            answer = qt.QTableWidgetItem(words.plain(label.predicted))
            answer.setToolTip(label.source)
            self._table.setItem(row, 1, answer)
            _bar(self._table, row, 2, max(label.probabilities) if label.answered else 0.0)
            self._table.setItem(row, 3, qt.QTableWidgetItem(_review_text(overrides.get(label.name))))
        if selected in self._names:
            self._table.selectRow(self._names.index(selected))
        self._busy = False

    def _selection_changed(self) -> None:
        row = self._table.currentRow()
        if not self._busy and 0 <= row < len(self._names):
            self._chosen(self._names[row])


class ClassTable:
    """Probability of every class of one property."""

    def __init__(self, table: Any, chosen: Callable[[str], None]) -> None:
        self._table, self._chosen, self._busy = table, chosen, False
        self._classes: tuple[str, ...] = ()
        _prepare(table, [_("Class"), _("Probability")], stretch=1)
        table.connect("itemSelectionChanged()", self._selection_changed)

    def fill(self, label: Any) -> None:
        """Show the classes of a ``LabelResult``; None empties the table."""
        self._busy = True
        self._classes = label.classes if label is not None else ()
        self._table.setRowCount(len(self._classes))
        for row, name in enumerate(self._classes):
            self._table.setItem(row, 0, qt.QTableWidgetItem(words.plain(name)))
            _bar(self._table, row, 1, label.probabilities[row])
        if label is not None and label.answered:
            self._table.selectRow(self._classes.index(label.predicted))
        self._busy = False

    def _selection_changed(self) -> None:
        row = self._table.currentRow()
        if not self._busy and 0 <= row < len(self._classes):
            self._chosen(self._classes[row])


def _prepare(table: Any, titles: list[str], stretch: int = 2) -> None:
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(titles)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(stretch, qt.QHeaderView.Stretch)


def _bar(table: Any, row: int, column: int, probability: float) -> None:
    bar = table.cellWidget(row, column)
    if bar is None:
        bar = qt.QProgressBar()
        bar.maximum = _PARTS
        table.setCellWidget(row, column, bar)
    bar.value = round(_PARTS * probability)
    bar.format = words.percent(probability)


def _review_text(override: Any) -> str:
    if override is None:
        return ""
    return f"{_MARKS[override.verdict]} {words.plain(override.value)}".strip()
