"""What the parts of the panel share: widgets, case, the scene's parameters and what is selected."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Session:
    """One open panel."""

    ui: Any
    case: Any
    parameters: Any = None
    """ClaireDSAParameterNode, None while no scene is there."""
    quiet: bool = False
    """True while the program itself changes widgets, so that their signals are not taken for the user's."""

    @property
    def selected_run(self) -> str:
        return self.parameters.selectedRun if self.parameters is not None else ""

    @property
    def report(self) -> Any:
        """RunReport of the selected run, None before its analysis."""
        return self.case.run_report(self.selected_run)

    @property
    def label(self) -> Any:
        """LabelResult of the selected property, None when there is none."""
        run = self.report
        name = self.parameters.selectedLabel if self.parameters is not None else ""
        return next((label for label in run.labels if label.name == name), None) if run is not None else None

    @property
    def override(self) -> Any:
        """The reviewer's word on the selected property, None when there is none."""
        label, run = self.label, self.report
        return next((o for o in run.overrides if o.label == label.name), None) if label is not None else None

    def say(self, text: str) -> None:
        """Write into the status line."""
        self.ui.statusLabel.text = text

    @contextlib.contextmanager
    def hushed(self) -> Iterator[None]:
        """Change widgets without answering their signals."""
        before, self.quiet = self.quiet, True
        try:
            yield
        finally:
            self.quiet = before


def chosen(combo: Any) -> str:
    """Data of a combo box's present item, empty when there is none."""
    return (combo.itemData(combo.currentIndex) or "") if combo.currentIndex >= 0 else ""


def choose(combo: Any, data: str) -> None:
    """Select the item with this data, or the first."""
    combo.setCurrentIndex(max(0, combo.findData(data)) if combo.count else -1)
