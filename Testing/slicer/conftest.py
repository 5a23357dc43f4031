"""Fixtures of the desktop tests: the booted stand-in, the module in it, a clean scene for each test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing.slicer import isolation

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "ClaireDSA" / "ClaireDSA.py"
PLUGIN = ROOT / "ClaireDSA" / "ClaireDSADICOMPlugin.py"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Send the desktop tests to a process of their own, or be that process."""
    target = os.environ.get(isolation.CHILD)
    if config.pluginmanager.has_plugin("desktop-isolation"):
        return
    if target:
        child = isolation.Child(Path(target))
        child.pytest_configure(config)
        config.pluginmanager.register(child, "desktop-isolation")
    elif desktop_items := [item for item in items if item.get_closest_marker("desktop")]:
        for item in desktop_items:
            item.add_marker(pytest.mark.timeout(isolation.TIMEOUT_S))  # the first one waits for all of them
        config.pluginmanager.register(isolation.Parent(items), "desktop-isolation")


@pytest.fixture(scope="session")
def desktop() -> Any:
    """The ``slicer`` package of the booted stand-in desktop."""
    pytest.importorskip("PySide6", reason="the stand-in desktop needs PySide6")
    pytest.importorskip("slicer", reason="the stand-in desktop needs slicer-core")
    from Testing.slicer.desktop.start import load_module, start

    slicer = start()
    slicer.app.commandOptions().testingEnabled = True
    load_module(PLUGIN)
    load_module(MODULE)
    slicer.app._native.startupCompleted.emit()
    return slicer


@pytest.fixture(scope="session")
def window(desktop: Any) -> Any:
    """Main window with the module panel on the left and the views on the right."""
    from Testing.slicer.desktop.application import make_main_window

    representation = desktop.modules.clairedsa.widgetRepresentation()
    window = make_main_window(desktop.app._native, representation._native, "CLAIRE-DSA")
    window.resize(1500, 980)
    window.show()
    return window


@pytest.fixture
def panel(desktop: Any, window: Any, pump: Callable[..., None]) -> Iterator[Any]:
    """The module's widget object, shown, on an empty scene; any swallowed error fails the test afterwards."""
    from Testing.slicer.desktop.proxies import callback_errors
    from Testing.slicer.desktop.qt_modules import qt_messages

    callback_errors.clear()
    qt_messages.clear()
    representation = _living_panel(desktop, window)
    widget = representation.self()
    desktop.mrmlScene.Clear(False)
    representation.enter()
    pump(0.05)
    yield widget
    widget.analysis.close()
    widget.batch.close()
    representation.exit()
    desktop.mrmlScene.Clear(False)
    pump(0.05)
    assert callback_errors == []
    assert qt_messages == []


def _living_panel(desktop: Any, window: Any) -> Any:
    """The module's widget; a new one when a test has unloaded the module."""
    from PySide6.QtWidgets import QScrollArea

    from Testing.slicer.desktop.start import load_module

    if not desktop.modules.clairedsa.widgetRepresentation().self().Observations:
        load_module(MODULE)
    representation = desktop.modules.clairedsa.widgetRepresentation()
    area = window.findChild(QScrollArea)
    if area.widget() is not representation._native:
        area.takeWidget()
        area.setWidget(representation._native)
    return representation


@pytest.fixture(scope="session")
def pump(desktop: Any) -> Callable[..., None]:
    """Let the application run: ``pump(seconds)`` or ``pump(seconds, until=condition)``."""

    def run(seconds: float, until: Callable[[], bool] | None = None) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            desktop.app.processEvents()
            if until is not None and until():
                return
            time.sleep(0.005)
        if until is not None:
            pytest.fail(f"not reached within {seconds} s")

    return run


@pytest.fixture(scope="session")
def small_run(desktop: Any) -> Callable[..., Any]:
    """Simulated runs made in memory."""
    return sys.modules["ClaireDSAWidgets.demo_data"].small_run
