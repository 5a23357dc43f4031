"""The qMRML and qSlicer widgets our panels use, on a real MRML scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import stored


class VtkSignals:
    """PySide6 cannot carry VTK pointers through a signal; Python hands them to the callbacks instead."""

    def python_handlers(self, signature: str) -> list[Callable[..., None]]:
        return self.__dict__.setdefault("_vtk_handlers", {}).setdefault(signature, [])

    def emit_vtk(self, signature: str, *args: Any) -> None:
        for handler in list(self.python_handlers(signature)):
            handler(*args)


class qMRMLWidget(VtkSignals, QtWidgets.QWidget):
    mrmlSceneChanged = Signal("vtkMRMLScene*")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        QtWidgets.QWidget.__init__(self, parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.emit_vtk("mrmlSceneChanged(vtkMRMLScene*)", scene)


class qSlicerWidget(qMRMLWidget):
    pass


class qMRMLNodeComboBox(VtkSignals, QtWidgets.QWidget):
    """Choice of a node: follows the scene, keeps its choice, offers None when allowed."""

    currentNodeChanged = Signal("vtkMRMLNode*")
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal("vtkMRMLNode*")
    nodeActivated = Signal("vtkMRMLNode*")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        QtWidgets.QWidget.__init__(self, parent)
        self._combo = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._scene: Any = None
        self._types: list[str] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._ids: list[str] = []
        self._tags: list[int] = []
        self._current = ""
        self._combo.setEnabled(False)
        self._combo.currentIndexChanged.connect(self._picked)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent, scene.EndCloseEvent)
            self._tags = [scene.AddObserver(e, lambda *_: self._refill()) for e in events]
        self._combo.setEnabled(scene is not None)
        self._refill()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID("" if node is None else node.GetID())

    def setCurrentNodeID(self, node_id: str) -> None:
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(self._ids.index(node_id) if node_id in self._ids else -1)
        self._combo.blockSignals(False)
        self._choose(node_id if node_id in self._ids else "")

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        self._attributes.append((node_type, name, value))
        self._refill()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def setNodeTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._refill()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        scene = self._scene
        every = [scene.GetNthNodeByClass(i, t) for t in self._types for i in range(scene.GetNumberOfNodesByClass(t))]
        return [n for n in every if self._fits(n)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        wanted = [a for a in self._attributes if a[0] == node.GetClassName()]
        has = all(node.GetAttribute(n) is not None and v in (None, node.GetAttribute(n)) for _, n, v in wanted)
        return has and any(node.IsA(t) if self.showChildNodeTypes else node.GetClassName() == t for t in self._types)

    def _refill(self, *_: Any) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        self._ids = ([""] if self.noneEnabled else []) + [n.GetID() for n in nodes]
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(([self.noneDisplay] if self.noneEnabled else []) + [n.GetName() or "" for n in nodes])
        first = "" if self.noneEnabled else next(iter(self._ids), "")
        wanted = self._current if self._current in self._ids else first
        self._combo.setCurrentIndex(self._ids.index(wanted) if wanted in self._ids else -1)
        self._combo.blockSignals(False)
        self._choose(wanted)

    def _picked(self, index: int) -> None:
        if 0 <= index < len(self._ids):
            self._choose(self._ids[index])

    def _choose(self, node_id: str) -> None:
        if node_id != self._current:
            self._current = node_id
            self.emit_vtk("currentNodeChanged(vtkMRMLNode*)", self.currentNode())
            self.currentNodeIDChanged.emit(node_id)

    def _refill_after(self, _value: Any) -> None:
        self._refill()

    nodeTypes = Property("QStringList", lambda s: s._types, setNodeTypes)
    noneEnabled, setNoneEnabled = stored(bool, "noneEnabled", False, _refill_after)
    noneDisplay, setNoneDisplay = stored(str, "noneDisplay", "None", _refill_after)
    showHidden, setShowHidden = stored(bool, "showHidden", False, _refill_after)
    showChildNodeTypes, setShowChildNodeTypes = stored(bool, "showChildNodeTypes", True, _refill_after)
    addEnabled, setAddEnabled = stored(bool, "addEnabled", True)
    removeEnabled, setRemoveEnabled = stored(bool, "removeEnabled", True)
    editEnabled, setEditEnabled = stored(bool, "editEnabled", False)
    renameEnabled, setRenameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation, setSelectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    currentNodeID = Property(str, lambda s: s._current, setCurrentNodeID)


MRML_CLASSES = {k: v for k, v in list(globals().items()) if k.startswith(("qMRML", "qSlicer")) and isinstance(v, type)}
