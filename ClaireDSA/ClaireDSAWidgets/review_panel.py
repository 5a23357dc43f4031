"""Properties, their classes and the reviewer's verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from . import review, words
from .label_table import ClassTable, LabelTable
from .session import Session, choose, chosen


class ReviewPanel:
    """Joins the section "Properties and review" to the report.

    Parameters
    ----------
    session : Session
    explain : callable
        ``explain(class_name)``: show why, for the selected property.
    changed : callable
        Called after the reviewer's word was written into the report.
    """

    def __init__(self, session: Session, explain: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._session, self._explain, self._changed = session, explain, changed
        ui = session.ui
        self.labels = LabelTable(ui.labelTable, self.select_label)
        self.classes = ClassTable(ui.classTable, explain)
        self._buttons = {"accept": ui.acceptButton, "correct": ui.correctButton, "unsure": ui.unsureButton}
        for verdict, button in self._buttons.items():
            button.connect("clicked()", lambda v=verdict: self.judge(v))
        ui.correctCombo.connect("activated(int)", lambda _index: self._corrected())
        ui.commentEdit.connect("editingFinished()", self._commented)

    def fill(self) -> None:
        """Show the selected run's report."""
        session = self._session
        run = session.report
        self.labels.fill(run, session.parameters.selectedLabel if session.parameters is not None else "")
        session.ui.verdictLabel.text = words.verdict_html(run)
        session.ui.findingsText.setHtml(words.findings_html(run))
        self._fill_detail()

    def select_label(self, name: str) -> None:
        """Show the classes of a property and why its most likely class was chosen."""
        self._session.parameters.selectedLabel = name
        self._fill_detail()
        if self._session.label is not None:
            self._explain(self._session.label.predicted)

    def step_label(self, step: int) -> None:
        """Go to the next or previous property."""
        names = self.labels.names
        if names:
            selected = self._session.parameters.selectedLabel
            index = names.index(selected) + step if selected in names else 0
            self.select_label(names[max(0, min(len(names) - 1, index))])
            self.fill()

    def judge(self, verdict: str) -> None:
        """Write the reviewer's verdict on the selected property; the same verdict again takes it back."""
        if self._session.label is None:
            return
        value = chosen(self._session.ui.correctCombo) if verdict == "correct" else ""
        before = self._session.override
        same = before is not None and before.verdict == verdict and before.value == value
        self._write("" if same else verdict, value)

    def _corrected(self) -> None:
        """Choosing a class in the list is a correction, never its withdrawal."""
        if self._session.label is not None:
            self._write("correct", chosen(self._session.ui.correctCombo))

    def _commented(self) -> None:
        before = self._session.override
        if before is not None and before.comment != self._session.ui.commentEdit.text:
            self._write(before.verdict, before.value)

    def _write(self, verdict: str, value: str) -> None:
        session = self._session
        session.case.store(
            review.with_override(
                session.case.report,
                session.selected_run,
                session.label.name,
                verdict,
                value,
                session.ui.commentEdit.text,
                session.parameters.reviewer,
            )
        )
        self._changed()

    def _fill_detail(self) -> None:
        ui, label, override = self._session.ui, self._session.label, self._session.override
        self.classes.fill(label)
        ui.detailBox.enabled = label is not None
        ui.detailBox.title = words.plain(label.name).capitalize() if label is not None else _("Select a property")
        for verdict, button in self._buttons.items():
            button.checked = override is not None and override.verdict == verdict
        ui.correctCombo.clear()
        for name in label.classes if label is not None else ():
            ui.correctCombo.addItem(words.plain(name), name)
        if label is not None:
            choose(ui.correctCombo, override.value if override is not None and override.value else _runner_up(label))
        ui.commentEdit.text = override.comment if override is not None else ""


def _runner_up(label: Any) -> str:
    """The most likely class besides the predicted one: the likeliest correction."""
    ranked = sorted(zip(label.probabilities, label.classes, strict=True), reverse=True)
    return next((name for _p, name in ranked if name != label.predicted), label.predicted)
