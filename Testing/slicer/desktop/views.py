"""Slice views that really draw: slicer-core's displayable managers into an off-screen VTK window shown as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt, Signal
from vtk.util.numpy_support import vtk_to_numpy

from .ctk_widgets import ctkSliderWidget
from .mrml_widgets import qMRMLWidget

_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_RENDER_DELAY_MS = 15


class qMRMLSliceView(QtWidgets.QWidget):
    """The picture of one slice node, with its overlays; mouse events go to Slicer's own interactor style."""

    def __init__(self, logic: Any, node: Any) -> None:
        super().__init__()
        self.setMinimumSize(80, 80)
        self._logic, self._picture = logic, QtGui.QImage()
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        self._timer = QtCore.QTimer(self, singleShot=True, interval=_RENDER_DELAY_MS)
        self._timer.timeout.connect(self.forceRender)
        self._add_image_actor()
        self._add_managers(node)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._reslice_changed)
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())

    def _add_image_actor(self) -> None:
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._actor.VisibilityOff()
        self._renderer.AddViewProp(self._actor)

    def _add_managers(self, node: Any) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = factory.InstantiateDisplayableManagers(self._renderer)
        self._group.SetRenderer(self._renderer)
        self._group.SetMRMLDisplayableNode(node)
        self._group.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.scheduleRender())
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(self._logic)
        self._style.SetDisplayableManagers(self._group)
        self._style.SetInteractor(self._interactor)

    def renderWindow(self) -> Any:
        return self._window

    def scheduleRender(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def forceRender(self) -> None:
        width, height = max(2, self.width()), max(2, self.height())
        self._window.SetSize(width, height)
        self._window.Render()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        rows = np.ascontiguousarray(vtk_to_numpy(pixels).reshape(height, width, 3)[::-1])
        self._picture = QtGui.QImage(rows.data, width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
        self.update()

    def _reslice_changed(self, *_: Any) -> None:
        connection = self._logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        self.scheduleRender()

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        if self._picture.size() != self.size():
            self.forceRender()
        QtGui.QPainter(self).drawImage(0, 0, self._picture)

    def resizeEvent(self, _event: QtGui.QResizeEvent) -> None:
        self._window.SetSize(max(2, self.width()), max(2, self.height()))
        self._interactor.UpdateSize(max(2, self.width()), max(2, self.height()))
        self._logic.ResizeSliceNode(self.width(), self.height())
        self.scheduleRender()


class qMRMLSliceWidget(qMRMLWidget):
    """Coloured bar with the offset slider over a slice view, for an existing slice node."""

    def __init__(self, node: Any, app_logic: Any, scene: Any) -> None:
        super().__init__()
        self.setMRMLScene(scene)
        self._node = node
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(app_logic)
        self._logic.SetMRMLScene(scene)
        self._logic.SetSliceNode(node)
        app_logic.GetSliceLogics().AddItem(self._logic)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar(node))
        self._view = qMRMLSliceView(self._logic, node)
        column.addWidget(self._view, 1)

    def _bar(self, node: Any) -> QtWidgets.QWidget:
        bar = QtWidgets.QWidget()
        bar.setFixedHeight(22)
        color = QtGui.QColor.fromRgbF(*node.GetLayoutColor())
        bar.setStyleSheet(f"background: {color.name()}")
        row = QtWidgets.QHBoxLayout(bar)
        row.setContentsMargins(4, 0, 2, 0)
        row.addWidget(QtWidgets.QLabel(node.GetLayoutLabel() or node.GetLayoutName()[0]))
        row.addWidget(ctkSliderWidget())
        return bar

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()
        self._logic.SnapSliceOffsetToIJK()


class qMRMLPlotView(QtWidgets.QWidget):
    """A chart's title and lines; the real chart view needs a Qt widget that slicer-core does not have."""

    dataSelected = Signal()

    def __init__(self, node: Any, scene: Any) -> None:
        super().__init__()
        self._node, self._scene = node, scene
        self.setMinimumHeight(60)
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.update())

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), Qt.white)
        chart = self._scene.GetNodeByID(self._node.GetPlotChartNodeID() or "")
        if chart is None:
            return
        painter.drawText(QtCore.QRect(0, 2, self.width(), 16), int(Qt.AlignHCenter), chart.GetTitle() or "")
        for i in range(chart.GetNumberOfPlotSeriesNodes()):
            self._draw_series(painter, chart.GetNthPlotSeriesNode(i))

    def _draw_series(self, painter: QtGui.QPainter, series: Any) -> None:
        table = series.GetTableNode().GetTable() if series is not None and series.GetTableNode() else None
        y_column = table.GetColumnByName(series.GetYColumnName() or "") if table else None
        if y_column is None or y_column.GetNumberOfTuples() < 2:
            return
        x_column = table.GetColumnByName(series.GetXColumnName() or "")
        y = np.array([y_column.GetVariantValue(i).ToDouble() for i in range(y_column.GetNumberOfTuples())])
        x = (
            np.arange(len(y))
            if x_column is None
            else np.array([x_column.GetVariantValue(i).ToDouble() for i in range(len(y))])
        )
        span_x, span_y = max(np.ptp(x), 1e-9), max(np.ptp(y), 1e-9)
        left, top, width, height = 12, 22, self.width() - 24, self.height() - 34
        painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*series.GetColor()), 2))
        points = [
            QtCore.QPointF(left + width * (a - x.min()) / span_x, top + height * (1 - (b - y.min()) / span_y))
            for a, b in zip(x, y, strict=True)
        ]
        painter.drawPolyline(points)


VIEW_CLASSES = {"qMRMLSliceView": qMRMLSliceView, "qMRMLSliceWidget": qMRMLSliceWidget, "qMRMLPlotView": qMRMLPlotView}
