"""``slicer.ScriptedLoadableModule`` and ``slicer.i18n``, written from their documented contract."""

from __future__ import annotations

import importlib
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer

from .proxies import connect


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return f"<p>For more information see the <a>{docPage or self.moduleName}</a> documentation.</p>"

    def runTest(self, msec: int = 100, **_: Any) -> None:
        case = getattr(sys.modules[self.__module__], self.moduleName + "Test")()
        case.messageDelay = msec
        case.runTest()


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        import qt

        self.moduleName = _stem(self, "Widget")
        self.developerMode = False
        self.parent = parent
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        self.base_setup_called = False
        connect(slicer.app.moduleManager()._native, "moduleAboutToBeUnloaded(QString)", self._unloaded)

    def _unloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()

    def resourcePath(self, filename: str) -> str:
        return str(Path(getattr(slicer.modules, self.moduleName.lower()).path).parent / "Resources" / filename)

    def setup(self) -> None:
        self.base_setup_called = True

    def cleanup(self) -> None:
        """Sub-classes release what they hold."""

    def enter(self) -> None:
        """Called when the module is shown."""

    def exit(self) -> None:
        """Called when another module is shown."""


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = _stem(self, "Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
            if node.GetAttribute("ModuleName") == self.moduleName:
                return node
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def createParameterNode(self) -> Any:
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*(args or ("runTest",)), **keywords)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        slicer.app.processEvents()

    def runTest(self) -> None:
        for name in [n for n in dir(self) if n.startswith("test")]:
            self.setUp()
            getattr(self, name)()


def _stem(thing: object, suffix: str) -> str:
    return type(thing).__name__.removesuffix(suffix)


def install() -> None:
    """Make ``slicer.ScriptedLoadableModule`` and ``slicer.i18n`` importable."""
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
        setattr(slicer, cls.__name__, cls)
    base.__all__ = [n for n in vars(base) if n.startswith("ScriptedLoadable")]
    words = types.ModuleType("slicer.i18n")
    words.tr = lambda text: text
    words.translate = lambda _context, text: text
    for module in (base, words):
        sys.modules[module.__name__] = module
    slicer.i18n = words
    slicer.selfTests = {}
    importlib.import_module("slicer.util")
