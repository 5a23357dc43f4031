"""Saving and loading scenes: what ``slicer.util.saveScene`` and ``loadScene`` call, over MRML's own bundle writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6 import QtCore


class qSlicerCoreIOManager(QtCore.QObject):
    """Handles scenes only; another file type is refused rather than silently ignored."""

    def __init__(self, parent: QtCore.QObject, scene: Any) -> None:
        super().__init__(parent)
        self._scene = scene

    def loadNodes(self, file_type: str, properties: Mapping[str, Any], *_: Any) -> bool:
        path = _scene_path(file_type, properties)
        self._scene.Clear(False)
        if Path(path).suffix == ".mrb":
            return bool(self._scene.ReadFromMRB(path, True))
        self._scene.SetURL(path)
        return bool(self._scene.Connect())

    def saveNodes(self, file_type: str, properties: Mapping[str, Any], *_: Any) -> bool:
        path = _scene_path(file_type, properties)
        if Path(path).suffix == ".mrb":
            return bool(self._scene.WriteToMRB(path))
        self._scene.SetURL(path)
        return bool(self._scene.Commit(path))


def _scene_path(file_type: str, properties: Mapping[str, Any]) -> str:
    if file_type != "SceneFile":
        msg = f"the stand-in loads and saves scenes only; got {file_type}"
        raise NotImplementedError(msg)
    return str(properties["fileName"])
