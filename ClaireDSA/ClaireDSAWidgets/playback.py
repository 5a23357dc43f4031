"""Frame slider, play button and phase bar of the selected run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from . import pictures


class Playback(slicer.util.VTKObservationMixin):
    """Joins the widgets to the run's sequence browser, both ways."""

    def __init__(self, ui: Any) -> None:
        slicer.util.VTKObservationMixin.__init__(self)
        self._ui, self._nodes, self._report, self._busy = ui, None, None, False
        style = ui.playButton.style()
        for button, icon in (
            (ui.previousFrameButton, qt.QStyle.SP_MediaSkipBackward),
            (ui.playButton, qt.QStyle.SP_MediaPlay),
            (ui.nextFrameButton, qt.QStyle.SP_MediaSkipForward),
        ):
            button.setIcon(style.standardIcon(icon))
        ui.frameSlider.connect("valueChanged(int)", self._slid)
        ui.playButton.connect("toggled(bool)", self._toggled)
        ui.previousFrameButton.connect("clicked()", lambda: self.step(-1))
        ui.nextFrameButton.connect("clicked()", lambda: self.step(1))

    def set_run(self, nodes: Any, report: Any) -> None:
        """Follow a run; None lets go."""
        self.removeObservers()
        self._nodes, self._report = nodes, report
        enabled = nodes is not None
        for widget in (
            self._ui.frameSlider,
            self._ui.playButton,
            self._ui.previousFrameButton,
            self._ui.nextFrameButton,
        ):
            widget.enabled = enabled
        if enabled:
            self._busy = True
            self._ui.frameSlider.maximum = nodes.sequence.GetNumberOfDataNodes() - 1
            self._busy = False
            self.addObserver(nodes.browser, vtk.vtkCommand.ModifiedEvent, self._browser_changed)
        self._browser_changed()

    def set_report(self, report: Any) -> None:
        """New results of the same run: phases may have appeared."""
        self._report = report
        self._browser_changed()

    def step(self, frames: int) -> None:
        """Go some frames on or back."""
        slider = self._ui.frameSlider
        slider.value = max(0, min(slider.maximum, slider.value + frames))

    def toggle(self) -> None:
        if self._nodes is not None:
            self._ui.playButton.checked = not self._ui.playButton.checked

    def _slid(self, index: int) -> None:
        if self._nodes is None or self._busy:
            return
        from ClaireDSALib.mrml import select_frame

        select_frame(self._nodes, index)

    def _toggled(self, on: bool) -> None:
        if self._nodes is not None:
            self._nodes.browser.SetPlaybackActive(on)

    def _browser_changed(self, _caller: Any = None, _event: Any = None) -> None:
        if self._nodes is None:
            self._ui.frameLabel.text = "–"
            self._ui.phaseLabel.clear()
            return
        from ClaireDSALib.mrml import selected_frame

        index = selected_frame(self._nodes)
        self._busy = True
        self._ui.frameSlider.value = index
        self._ui.playButton.checked = self._nodes.browser.GetPlaybackActive()
        self._busy = False
        times = _times_s(self._nodes.sequence)
        self._ui.frameLabel.text = _("{frame} / {n}   {time:.2f} s").format(
            frame=index + 1, n=len(times), time=times[index]
        )
        phases = self._report.phases.names if self._report is not None and self._report.phases else ()
        strip = pictures.phase_strip(phases, times, index, max(120, self._ui.frameSlider.width))
        self._ui.phaseLabel.setPixmap(pictures.pixmap(strip))


def _times_s(sequence: Any) -> tuple[float, ...]:
    return tuple(float(sequence.GetNthIndexValue(i)) for i in range(sequence.GetNumberOfDataNodes()))


class Shortcuts:
    """Single keys for going through a case; they act only while the module is shown."""

    def __init__(self, parent: Any, keys: dict[str, Callable[[], None]]) -> None:
        self._shortcuts = []
        for key, action in keys.items():
            shortcut = qt.QShortcut(parent)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            shortcut.setEnabled(False)
            self._shortcuts.append(shortcut)

    def set_enabled(self, enabled: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def close(self) -> None:
        """Remove the shortcuts from the window."""
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
