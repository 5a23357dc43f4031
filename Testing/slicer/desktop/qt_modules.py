"""The modules ``qt`` and ``ctk`` as 3D Slicer's Python sees them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets
from PySide6.QtCore import QObject, QtMsgType

from .proxies import proxy_class

qt_messages: list[str] = []
"""Warnings of Qt itself, kept for the tests."""

_HARMLESS = ("This plugin does not support", "propagateSizeHints")


def make_qt(ui_loader: type) -> types.ModuleType:
    """Build ``qt``: proxied QObject classes, other Qt classes as they are."""
    QtCore.qInstallMessageHandler(_keep_message)
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools):
        for name in dir(source):  # not vars(): PySide6 makes its classes when they are asked for
            value = getattr(source, name)
            if name.startswith("Q") and isinstance(value, type):
                setattr(module, name, proxy_class(value) if issubclass(value, QObject) else value)
    module.Qt = QtCore.Qt
    module.QUiLoader = proxy_class(ui_loader)
    module.SIGNAL = lambda signature: "2" + signature
    module.SLOT = lambda signature: "1" + signature
    return module


def make_namespace(name: str, classes: Mapping[str, type] | Iterable[tuple[str, type]]) -> types.ModuleType:
    """Build ``ctk`` (or a part of ``slicer``) from stand-in classes."""
    module = types.ModuleType(name)
    for class_name, cls in dict(classes).items():
        setattr(module, class_name, proxy_class(cls))
    return module


def _keep_message(kind: QtMsgType, _context: object, text: str) -> None:
    if kind != QtMsgType.QtDebugMsg and not any(h in text for h in _HARMLESS):
        qt_messages.append(text)
