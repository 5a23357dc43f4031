"""Starts the stand-in desktop: after :func:`start`, ``slicer``, ``qt`` and ``ctk`` are as inside 3D Slicer."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ALIASES = ("vtkITK", "vtkTeem", "vtkAddonPython")


def start() -> Any:
    """Boot once per process and return the ``slicer`` package."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import slicer

    if hasattr(slicer, "app"):
        return slicer
    _alias_libraries()
    slicer.modules, slicer.moduleNames = types.ModuleType("slicer.modules"), types.ModuleType("slicer.moduleNames")
    slicer.modules.dicomPlugins = {}
    sys.modules["slicer.modules"], sys.modules["slicer.moduleNames"] = slicer.modules, slicer.moduleNames
    _install_qt(slicer)
    app = _make_application(slicer)
    with _quiet_vtk():
        _make_scene(slicer, app)
    _install_python_side(slicer, app)
    _catch_observer_errors()
    return slicer


def load_module(path: Path) -> types.ModuleType:
    """Do what the scripted module factory does for one ``.py`` file of a module folder."""
    import slicer

    from .application import qSlicerScriptedLoadableModule
    from .proxies import wrap

    name = path.stem
    for folder in (path.parent, path.parent.parent):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(name, path)
    code = importlib.util.module_from_spec(spec)
    sys.modules[name] = code
    spec.loader.exec_module(code)
    app = slicer.app._native
    module = qSlicerScriptedLoadableModule(name, path, code, app)
    proxy = wrap(module)
    module.python_instance = getattr(code, name)(proxy)
    app._modules.modules[name] = module
    module.keep = proxy
    setattr(slicer.modules, name.lower(), proxy)
    setattr(slicer.modules, name + "Instance", module.python_instance)
    setattr(slicer.moduleNames, name, name)
    return code


def unload_module(name: str) -> None:
    """Tell a module that it goes away, as ``Reload`` does first."""
    import slicer

    slicer.app._native._modules.moduleAboutToBeUnloaded.emit(name)
    slicer.app._native._modules.modules.pop(name).forget_widget()


@contextlib.contextmanager
def _quiet_vtk() -> Iterator[None]:
    """The wheel has no folder of default terminologies and colour files; its logics complain at length."""
    import vtk

    before = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(before)


def _alias_libraries() -> None:
    import slicer_core  # noqa: F401  (registers the libraries below)

    for name in _ALIASES:
        if "slicer_core." + name in sys.modules:
            sys.modules.setdefault(name, sys.modules["slicer_core." + name])
    for name in ("MRMLCore", "MRMLLogic", "vtkSegmentationCore"):
        if "slicer_core." + name in sys.modules:
            sys.modules.setdefault(name + "Python", sys.modules["slicer_core." + name])


def _install_qt(slicer: Any) -> None:
    from . import application, ctk_widgets, mrml_widgets, qt_modules, ui_loader, views
    from .proxies import proxy_class

    sys.modules["qt"] = qt_modules.make_qt(ui_loader.QUiLoader)
    ctk = {**ctk_widgets.CTK_CLASSES, "ctkSettingsDialog": application.ctkSettingsDialog}
    sys.modules["ctk"] = qt_modules.make_namespace("ctk", ctk)
    for name, cls in {**mrml_widgets.MRML_CLASSES, **views.VIEW_CLASSES}.items():
        setattr(slicer, name, proxy_class(cls))


def _make_application(slicer: Any) -> Any:
    from .application import qSlicerApplication
    from .proxies import wrap

    app = qSlicerApplication(["Slicer"])
    slicer.app = wrap(app)
    slicer._stand_in = [app, slicer.app]
    return app


def _make_scene(slicer: Any, app: Any) -> None:
    from .application import register_logics

    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    app.set_scene(scene)
    app._logic.SetMRMLSceneDataIO(scene, slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic())
    app._logic.SetTemporaryPath(app.temporaryPath)
    cache = scene.GetCacheManager() or slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(app.temporaryPath)  # scene bundles are unpacked there
    scene.SetCacheManager(cache)
    scene.GetDataIOManager().SetCacheManager(cache)
    colors = app._logic.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    register_logics(app, scene)
    for name in (n for n in dir(slicer) if n.startswith("vtkMRML") and n.endswith("Node")):
        cls = getattr(slicer, name)
        try:
            node = cls()
        except (NotImplementedError, TypeError):
            continue  # abstract
        if node.GetNodeTagName() and not scene.GetClassNameByTag(node.GetNodeTagName()):
            scene.RegisterNodeClass(node)


def _install_python_side(slicer: Any, app: Any) -> None:
    from . import dicom_database, packages, parameter_node, sample_data, scene_files, scripted_module
    from .proxies import wrap

    scripted_module.install()
    parameter_node.install()
    packages.install()
    dicom_database.install()
    sample_data.install()
    database = dicom_database.ctkDICOMDatabase(app, app.temporaryPath)
    io_manager = scene_files.qSlicerCoreIOManager(app, slicer.mrmlScene)
    slicer.dicomDatabase = wrap(database)
    app.coreIOManager = app.ioManager = lambda: io_manager
    slicer._stand_in += [database, slicer.dicomDatabase, io_manager, wrap(io_manager)]


def _catch_observer_errors() -> None:
    """Exceptions in VTK observers and Qt virtual methods reach only ``sys.excepthook``."""
    from .proxies import callback_errors

    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        callback_errors.append(("observer", error))
        before(kind, error, trace)

    sys.excepthook = hook
