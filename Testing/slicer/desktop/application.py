"""``slicer.app``, the module manager and the module objects."""

from __future__ import annotations

import itertools
import tempfile
import types
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .ctk_widgets import ctkSettingsPanel, stored
from .layouts import qSlicerLayoutManager
from .mrml_widgets import VtkSignals, qSlicerWidget
from .proxies import wrap

_SEQUENCES_TICK_MS = 20


class qSlicerModuleManager(QtCore.QObject):
    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self, parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self.modules: dict[str, QtCore.QObject] = {}

    def module(self, name: str) -> QtCore.QObject | None:
        return self.modules.get(name)

    def modulesNames(self) -> list[str]:
        return list(self.modules)


class qSlicerCoreCommandOptions(QtCore.QObject):
    testingEnabled, setTestingEnabled = stored(bool, "testingEnabled", False)
    noMainWindow, setNoMainWindow = stored(bool, "noMainWindow", False)


class ctkSettingsDialog(QtWidgets.QDialog):
    def __init__(self) -> None:
        super().__init__()
        self.panels: dict[str, ctkSettingsPanel] = {}

    def addPanel(self, name: str, panel: ctkSettingsPanel) -> None:
        self.panels[name] = panel

    def setCurrentPanel(self, panel: Any) -> None:
        self.current = panel


class qSlicerApplication(VtkSignals, QtWidgets.QApplication):
    startupCompleted = Signal()
    lastWindowHidden = Signal()

    def __init__(self, arguments: list[str]) -> None:
        QtWidgets.QApplication.__init__(self, arguments)
        self.setApplicationName("Slicer")
        self.setOrganizationName("stand-in desktop")
        self._temporary = tempfile.mkdtemp(prefix="slicer-stand-in-")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._temporary)
        self._modules = qSlicerModuleManager(self)
        self._options = qSlicerCoreCommandOptions(self)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._settings_dialog: ctkSettingsDialog | None = None
        self._layouts: qSlicerLayoutManager | None = None
        self._scene: Any = None

    def set_scene(self, scene: Any) -> None:
        self._scene = scene
        self._logic.SetMRMLScene(scene)

    def moduleManager(self) -> qSlicerModuleManager:
        return self._modules

    def commandOptions(self) -> qSlicerCoreCommandOptions:
        return self._options

    def testingEnabled(self) -> bool:
        return self._options.testingEnabled

    def applicationLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return self._scene

    def layoutManager(self) -> qSlicerLayoutManager:
        if self._layouts is None:
            self._layouts = qSlicerLayoutManager(self, self._scene, self._logic)
        return self._layouts

    def settings(self) -> QtCore.QSettings:
        if not hasattr(self, "_settings"):
            self._settings = QtCore.QSettings()
        return self._settings

    userSettings = settings

    def settingsDialog(self) -> ctkSettingsDialog:
        if self._settings_dialog is None:
            self._settings_dialog = ctkSettingsDialog()
        return self._settings_dialog

    def moduleLogic(self, name: str) -> Any:
        return self._modules.modules[name].logic()

    def pauseRender(self) -> None:
        """Nothing is rendered while Python runs."""

    resumeRender = pauseRender

    temporaryPath = Property(str, lambda s: s._temporary)
    slicerHome = Property(str, lambda s: s._temporary)
    majorVersion = Property(int, lambda _: 5)
    minorVersion = Property(int, lambda _: 12)


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The C++ side of a scripted module: its metadata, and its widget made when first asked for."""

    title, setTitle = stored(str, "title", "")
    categories, setCategories = stored("QStringList", "categories", list)
    contributors, setContributors = stored("QStringList", "contributors", list)
    dependencies, setDependencies = stored("QStringList", "dependencies", list)
    associatedNodeTypes, setAssociatedNodeTypes = stored("QStringList", "associatedNodeTypes", list)
    helpText, setHelpText = stored(str, "helpText", "")
    acknowledgementText, setAcknowledgementText = stored(str, "acknowledgementText", "")
    icon, setIcon = stored(QtGui.QIcon, "icon", QtGui.QIcon)
    hidden, setHidden = stored(bool, "hidden", False)

    def __init__(self, name: str, path: Path, code: types.ModuleType, parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self._name, self._path, self.code = name, path, code
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    name = Property(str, lambda s: s._name)
    path = Property(str, lambda s: str(s._path))

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self._name)
            self._widget.build(self.code)
        return self._widget

    def forget_widget(self) -> None:
        self._widget = None


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    moduleName = Property(str, lambda s: s._name)
    isEntered, _setEntered = stored(bool, "isEntered", False)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self.setObjectName(name + "Widget")

    def build(self, code: types.ModuleType) -> None:
        self._python = getattr(code, self._name + "Widget")(wrap(self))
        setattr(slicer.modules, self._name + "Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def enter(self) -> None:
        self._setEntered(True)
        self._python.enter()

    def exit(self) -> None:
        self._setEntered(False)
        self._python.exit()


class qSlicerLoadableModule(QtCore.QObject):
    """A C++ module of Slicer: slicer-core's real logic behind its name."""

    name = Property(str, lambda s: s._name)
    title = Property(str, lambda s: s._name)

    def __init__(self, name: str, logic: Any, parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self._name, self._logic = name, logic

    def logic(self) -> Any:
        return self._logic


_LOGICS = {
    "Annotations": "vtkSlicerAnnotationModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


def register_logics(app: qSlicerApplication, scene: Any) -> None:
    """Give every C++ module we use its logic, its entry in ``slicer.modules`` and, for sequences, its timer."""
    for name, class_name in _LOGICS.items():
        if not hasattr(slicer, class_name):
            continue
        logic = getattr(slicer, class_name)()
        app._logic.SetModuleLogic(name, logic)
        logic.SetMRMLApplicationLogic(app._logic)
        logic.SetMRMLScene(scene)
        module = qSlicerLoadableModule(name, logic, app)
        app._modules.modules[name] = module
        setattr(slicer.modules, name.lower(), _kept(wrap(module)))
    timer = QtCore.QTimer(app, interval=_SEQUENCES_TICK_MS)
    timer.timeout.connect(app.moduleLogic("Sequences").UpdateAllProxyNodes)
    timer.start()


_keep_alive: list[Any] = []


def _kept(value: Any) -> Any:
    _keep_alive.append(value)
    return value


def make_main_window(app: qSlicerApplication, panel: QtWidgets.QWidget, title: str) -> QtWidgets.QMainWindow:
    """Put the module panel left of the views, as the desktop does."""
    window = QtWidgets.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    window.setWindowTitle("3D Slicer (stand-in)")
    scroll = QtWidgets.QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
    scroll.setWidget(panel)
    dock = QtWidgets.QDockWidget(title)
    dock.setWidget(scroll)
    window.addDockWidget(Qt.LeftDockWidgetArea, dock)
    window.setCentralWidget(app.layoutManager().viewport())
    window.resizeDocks([dock], [480], Qt.Horizontal)
    window.statusBar()
    return window


module_ids = itertools.count(1)
