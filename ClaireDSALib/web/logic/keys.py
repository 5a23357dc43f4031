"""The keyboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ClaireDSALib.web.logic.display import DisplayLogic
from ClaireDSALib.web.logic.labels import LabelsLogic
from ClaireDSALib.web.logic.playback import PlaybackLogic
from ClaireDSALib.web.logic.runs import RunsLogic

HELP: tuple[tuple[str, str], ...] = (
    ("← →", "frame back, forward (Shift: five)"),
    ("Home End", "first, last frame"),
    ("Space", "play, pause"),
    ("Page ↑ ↓", "run before, after"),
    ("1 … 9", "label: show its map; again: close"),
    ("↑ ↓", "label above, below"),
    ("A", "accept the label"),
    ("C", "correct: next class"),
    ("U", "unsure"),
    ("Backspace", "take the verdict back"),
    ("Ctrl Z, Ctrl Y", "undo, redo"),
    ("V", "vessels on, off"),
    ("S", "subtraction on, off"),
    ("M", "next map"),
    ("X", "no overlay"),
    ("L", "next layout"),
    ("+ −", "zoom"),
    ("R", "fit picture, automatic window"),
    ("T", "dark, light"),
    ("F", "full screen"),
    ("?", "this help"),
    ("Esc", "close"),
)


class KeysLogic:
    """Turns keys into actions; the page sends those that no text field took."""

    def __init__(
        self, server: Any, runs: RunsLogic, display: DisplayLogic, playback: PlaybackLogic, labels: LabelsLogic
    ) -> None:
        self._state = server.state
        self._display = display
        self._actions: dict[str, Callable[[], Any]] = {
            "ArrowRight": lambda: playback.step(1),
            "ArrowLeft": lambda: playback.step(-1),
            "Shift+ArrowRight": lambda: playback.step(5),
            "Shift+ArrowLeft": lambda: playback.step(-5),
            "Home": lambda: playback.step(-(10**6)),
            "End": lambda: playback.step(10**6),
            " ": playback.toggle,
            "PageDown": lambda: display.select_run(runs.neighbour(1)),
            "PageUp": lambda: display.select_run(runs.neighbour(-1)),
            "ArrowDown": lambda: labels.move(1),
            "ArrowUp": lambda: labels.move(-1),
            "a": lambda: labels.judge("accept"),
            "u": lambda: labels.judge("unsure"),
            "c": labels.cycle,
            "Backspace": lambda: labels.judge(""),
            "Ctrl+z": labels.undo,
            "Ctrl+y": labels.redo,
            "Ctrl+Shift+z": labels.redo,
            "v": lambda: self._flip("vessels_on"),
            "s": lambda: self._flip("subtraction") if self._state.can_subtract else None,
            "m": self._next_map,
            "x": lambda: display.set_overlay(""),
            "l": display.next_layout,
            "+": lambda: display.zoom(0.2),
            "=": lambda: display.zoom(0.2),
            "-": lambda: display.zoom(-0.25),
            "r": self._reset,
            "t": self._theme,
            "?": lambda: self._flip("help_open"),
            "Escape": self._close,
        }
        self._actions |= {str(i + 1): partial(labels.activate, i) for i in range(9)}
        server.controller.trigger("key")(self.press)

    def press(self, key: str) -> None:
        """Do what a key stands for; unknown ones do nothing."""
        if self._state.screen != "review" and key not in ("t", "?", "Escape"):
            return
        action = self._actions.get(key) or self._actions.get(key.lower())
        if action is not None:
            action()

    def _flip(self, name: str) -> None:
        self._state[name] = not self._state[name]

    def _theme(self) -> None:
        self._state.theme = "light" if self._state.theme == "dark" else "dark"

    def _reset(self) -> None:
        self._display.reset_view()
        self._display.auto_window()

    def _next_map(self) -> None:
        names = ["", *(o["name"] for o in self._state.overlays)]
        now = self._state.overlay if self._state.overlay in names else ""
        self._display.set_overlay(names[(names.index(now) + 1) % len(names)])

    def _close(self) -> None:
        self._state.help_open = self._state.export_open = False
        self._state.point = None
        self._state.toast = ""
