"""The CTK widgets our panels use: same class, property, signal and slot names as CTK's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal


def stored(kind: Any, name: str, default: Any = None, changed: Callable[[Any, Any], None] | None = None) -> Any:
    """Return ``(Property, setter)`` of a value that is merely kept, with an optional callback on change."""
    attribute = f"_kept_{name}"

    def get(self: Any) -> Any:
        return getattr(self, attribute, default() if isinstance(default, type) else default)

    def put(self: Any, value: Any) -> None:
        setattr(self, attribute, value)
        if changed is not None:
            changed(self, value)

    return Property(kind, get, put), put


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    contentsCollapsed = Signal(bool)

    def __init__(self, *args: Any) -> None:
        super().__init__(next((a for a in args if isinstance(a, QtWidgets.QWidget)), None))
        self.setText(next((a for a in args if isinstance(a, str)), ""))
        self._collapsed = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(2, self._head_height(), 2, 2)
        self.toggled.connect(lambda on: self._apply(not on))

    def _head_height(self) -> int:
        return self.fontMetrics().height() + 8

    def _apply(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)
        self.setMaximumHeight(self._head_height() + 4 if collapsed else 16777215)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def isCollapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, isCollapsed, setCollapsed)
    flat, setFlat = stored(bool, "flat", False)
    collapsedHeight, setCollapsedHeight = stored(int, "collapsedHeight", 14)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        if self._collapsed and event.added() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().setVisible(False)
        super().childEvent(event)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() <= self._head_height()

    def sizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        if layout is None or self._collapsed:
            return QtCore.QSize(60, self._head_height())
        return layout.totalSizeHint()

    def minimumSizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        if layout is None or self._collapsed:
            return QtCore.QSize(60, self._head_height())
        return layout.totalMinimumSize()

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        head = self._head_height()
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), head - 2)
        option.state |= QtWidgets.QStyle.State_Raised
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        painter.drawText(option.rect.adjusted(22, 0, 0, 0), int(Qt.AlignLeft | Qt.AlignVCenter), self.text())
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (head - 12) // 2, 10, 10)
        pointing = (
            QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        )
        painter.drawPrimitive(pointing, arrow)
        if not self._collapsed:
            painter.setPen(self.palette().mid().color())
            painter.drawRect(0, head - 3, self.width() - 1, self.height() - head + 2)


class ctkSliderWidget(QtWidgets.QWidget):
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    _steps = 1000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Horizontal)
        self._slider.setRange(0, self._steps)
        self._box = QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._box.valueChanged.connect(self._box_moved)
        self._slider.valueChanged.connect(self._slider_moved)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)

    def _box_moved(self, value: float) -> None:
        low, high = self._box.minimum(), self._box.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round(self._steps * (value - low) / (high - low)) if high > low else 0)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _slider_moved(self, step: int) -> None:
        low, high = self._box.minimum(), self._box.maximum()
        self._box.setValue(low + (high - low) * step / self._steps)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setMinimum(self, value: float) -> None:
        self._box.setMinimum(value)

    def setMaximum(self, value: float) -> None:
        self._box.setMaximum(value)

    def setSingleStep(self, value: float) -> None:
        self._box.setSingleStep(value)

    def setDecimals(self, value: int) -> None:
        self._box.setDecimals(value)

    def setSuffix(self, value: str) -> None:
        self._box.setSuffix(value)

    value = Property(float, lambda s: s._box.value(), setValue)
    minimum = Property(float, lambda s: s._box.minimum(), setMinimum)
    maximum = Property(float, lambda s: s._box.maximum(), setMaximum)
    singleStep = Property(float, lambda s: s._box.singleStep(), setSingleStep)
    decimals = Property(int, lambda s: s._box.decimals(), setDecimals)
    suffix = Property(str, lambda s: s._box.suffix(), setSuffix)
    tracking, setTracking = stored(bool, "tracking", True)


class ctkPathLineEdit(QtWidgets.QWidget):
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, Writable = 0x001, 0x002, 0x004, 0x020

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(editable=True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        row.addWidget(QtWidgets.QToolButton(text="..."))
        self._combo.editTextChanged.connect(self.currentPathChanged)

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        self._combo.insertItem(0, self._combo.currentText())

    currentPath = Property(str, lambda s: s._combo.currentText(), setCurrentPath)
    filters, setFilters = stored(int, "filters", 0)
    nameFilters, setNameFilters = stored("QStringList", "nameFilters", list)
    settingKey, setSettingKey = stored(str, "settingKey", "")


class ctkMessageBox(QtWidgets.QMessageBox):
    dontShowAgainVisible, setDontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey, setDontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")


class ctkSettingsPanel(QtWidgets.QWidget):
    settingChanged = Signal(str, object)

    def registerProperty(self, key: str, widget: QtWidgets.QWidget, prop: str, signal: str, *_: Any) -> None:
        """Bind a widget's property to a QSettings key, and load what is stored."""
        from .proxies import connect

        settings = QtCore.QSettings()
        if settings.contains(key):
            kind = type(widget.property(prop))
            widget.setProperty(prop, settings.value(key, type=kind))
        connect(widget, signal, lambda *_a: QtCore.QSettings().setValue(key, widget.property(prop)))


CTK_CLASSES = {k: v for k, v in list(globals().items()) if k.startswith("ctk") and isinstance(v, type)}
