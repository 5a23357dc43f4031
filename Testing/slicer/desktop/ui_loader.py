"""Reads Qt Designer files; makes our stand-in widgets by class name and MRML connections in Python."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from PySide6 import QtCore, QtUiTools, QtWidgets

from .ctk_widgets import CTK_CLASSES
from .mrml_widgets import MRML_CLASSES
from .proxies import Method, connect


class QUiLoader(QtUiTools.QUiLoader):
    def createWidget(
        self, class_name: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        own = CTK_CLASSES.get(class_name) or MRML_CLASSES.get(class_name)
        if own is not None:
            widget = own(parent)
            widget.setObjectName(name)
            return widget
        widget = (
            None
            if class_name.startswith(("ctk", "qMRML", "qSlicer"))
            else super().createWidget(class_name, parent, name)
        )
        if widget is None:
            msg = f"the stand-in desktop has no widget class {class_name}"
            raise RuntimeError(msg)
        return widget

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        if not device.isOpen():
            device.open(QtCore.QIODevice.ReadOnly)
        tree = ET.fromstring(bytes(device.readAll().data()))
        wanted = [
            tuple(c.findtext(k) for k in ("sender", "signal", "receiver", "slot")) for c in tree.iter("connection")
        ]
        for element in tree.iter("connections"):
            element.clear()
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        for sender, signal, receiver, slot in wanted:
            source, target = (
                widget if widget.objectName() == n else widget.findChild(QtCore.QObject, n) for n in (sender, receiver)
            )
            if source is None or target is None:
                msg = f".ui connection names an object that is not there: {sender if source is None else receiver}"
                raise RuntimeError(msg)
            connect(source, signal, Method(getattr(target, slot.split("(")[0])))
        return widget
