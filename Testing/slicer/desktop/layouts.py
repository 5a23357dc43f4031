"""The layout manager: layout descriptions go through MRML's own layout logic, the splitters are built here."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .mrml_widgets import VtkSignals
from .views import qMRMLPlotView, qMRMLSliceWidget

_START_LAYOUT = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


class qSlicerLayoutManager(VtkSignals, QtCore.QObject):
    layoutChanged = Signal(int)

    def __init__(self, parent: QtCore.QObject, scene: Any, app_logic: Any) -> None:
        QtCore.QObject.__init__(self, parent)
        self._scene, self._app_logic = scene, app_logic
        for getter, setter in (("GetSliceLogics", "SetSliceLogics"), ("GetViewLogics", "SetViewLogics")):
            if getattr(app_logic, getter)() is None:
                getattr(app_logic, setter)(vtk.vtkCollection())
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(app_logic)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._plots: dict[str, qMRMLPlotView] = {}
        self._viewport = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(self._viewport)
        column.setContentsMargins(0, 0, 0, 0)
        self._content: QtWidgets.QWidget | None = None
        self._shown = ""
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(scene)
        self._node = self._logic.GetLayoutNode()
        self._node.SetViewArrangement(_START_LAYOUT)
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._follow())
        self._follow()

    def layoutLogic(self) -> Any:
        return self._logic

    def viewport(self) -> QtWidgets.QWidget:
        return self._viewport

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        return self._slices.get(name)

    def sliceViewNames(self) -> list[str]:
        return [n for n, w in self._slices.items() if w.isVisibleTo(self._viewport)]

    def mrmlSliceLogics(self) -> Any:
        return self._app_logic.GetSliceLogics()

    def setLayout(self, layout: int) -> None:
        self._node.SetViewArrangement(int(layout))

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def setRenderPaused(self, paused: bool) -> None:
        del paused

    def _layout(self) -> int:
        return self._node.GetViewArrangement()

    layout = Property(int, _layout, setLayout)

    def _follow(self) -> None:
        description = self._node.GetCurrentLayoutDescription() or ""
        if description == self._shown or not description:
            return
        self._shown = description
        for widget in (*self._slices.values(), *self._plots.values()):
            widget.setParent(None)
        if self._content is not None:
            self._content.setParent(None)
            self._content.deleteLater()
        self._content = self._build(ET.fromstring(description))
        self._viewport.layout().addWidget(self._content)
        self.layoutChanged.emit(self._layout())

    def _build(self, element: ET.Element) -> QtWidgets.QWidget:
        if element.tag == "view":
            return self._view(element)
        if element.get("type") == "grid":
            return self._grid(element)
        orientation = Qt.Vertical if element.get("type") == "vertical" else Qt.Horizontal
        splitter = QtWidgets.QSplitter(orientation)
        for i, item in enumerate(element.findall("item")):
            splitter.addWidget(self._build(item[0]))
            splitter.setStretchFactor(i, int(item.get("splitSize", 500)))
        splitter.setSizes([int(i.get("splitSize", 500)) for i in element.findall("item")])
        return splitter

    def _grid(self, element: ET.Element) -> QtWidgets.QWidget:
        box = QtWidgets.QWidget()
        grid = QtWidgets.QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(1)
        for item in element.findall("item"):
            grid.addWidget(self._build(item[0]), int(item.get("row", 0)), int(item.get("column", 0)))
        return box

    def _view(self, element: ET.Element) -> QtWidgets.QWidget:
        tag, kind = element.get("singletontag"), element.get("class")
        node = self._scene.GetSingletonNode(tag, kind)
        if node is None:
            msg = f"the layout logic made no {kind} {tag!r}"
            raise RuntimeError(msg)
        if kind == "vtkMRMLSliceNode":
            if tag not in self._slices:
                self._slices[tag] = qMRMLSliceWidget(node, self._app_logic, self._scene)
            self._slices[tag].show()
            return self._slices[tag]
        if kind == "vtkMRMLPlotViewNode":
            if tag not in self._plots:
                self._plots[tag] = qMRMLPlotView(node, self._scene)
            self._plots[tag].show()
            return self._plots[tag]
        return QtWidgets.QLabel(f"{kind} is not drawn by the stand-in")
