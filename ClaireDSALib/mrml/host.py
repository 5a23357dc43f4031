"""What the scene layer needs from the application around it."""

from __future__ import annotations

from typing import Any, Protocol

import slicer


class Host(Protocol):
    """The application around the scene.

    The desktop module answers with ``slicer.mrmlScene`` and ``slicer.modules.<name>.logic()``,
    slicer-core with :class:`CoreHost`.
    """

    @property
    def scene(self) -> Any:
        """The ``vtkMRMLScene`` to read and write."""

    def logic(self, name: str) -> Any:
        """Module logic by its module name in lower case: ``sequences``, ``colors``, ``segmentations`` ..."""


class CoreHost:
    """Host on the slicer-core wheel: a scene with the logics that plain slicer-core leaves out.

    Parameters
    ----------
    scene : vtkMRMLScene, optional
        An existing scene (trame-slicer's ``SlicerApp.scene``); a new one by default.
    app_logic : vtkSlicerApplicationLogic, optional
        Belongs to ``scene``; a new one by default.

    Examples
    --------
    >>> host = CoreHost()
    >>> host.logic("sequences").GetClassName()
    'vtkSlicerSequencesLogic'
    """

    def __init__(self, scene: Any = None, app_logic: Any = None) -> None:
        self._scene = slicer.vtkMRMLScene() if scene is None else scene
        self._app_logic = app_logic or self._make_app_logic()
        # SetModuleLogic keeps a weak pointer only: these references keep the logics alive.
        self._logics = {name: self._register(name, make()) for name, make in _LOGICS.items()}
        self._scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())

    @property
    def scene(self) -> Any:
        return self._scene

    def logic(self, name: str) -> Any:
        """Return a module logic.

        Raises
        ------
        KeyError
            When this host has no such logic.
        """
        if name not in self._logics:
            msg = f"host has no logic {name!r}; it has {sorted(self._logics)}"
            raise KeyError(msg)
        return self._logics[name]

    def _make_app_logic(self) -> Any:
        logic = slicer.vtkSlicerApplicationLogic()
        logic.SetMRMLScene(self._scene)
        logic.GetColorLogic().SetMRMLScene(self._scene)
        return logic

    def _register(self, name: str, logic: Any) -> Any:
        module = _MODULE_NAMES[name]
        if (present := self._app_logic.GetModuleLogic(module)) is not None:
            return present
        logic.SetMRMLScene(self._scene)
        logic.SetMRMLApplicationLogic(self._app_logic)
        self._app_logic.SetModuleLogic(module, logic)
        return logic


_LOGICS = {
    "volumes": slicer.vtkSlicerVolumesLogic,
    "segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
    "subjecthierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
    "markups": slicer.vtkSlicerMarkupsLogic,
    "sequences": slicer.vtkSlicerSequencesLogic,
    "tables": slicer.vtkSlicerTablesLogic,
    "plots": slicer.vtkSlicerPlotsLogic,
}
_MODULE_NAMES = {
    "volumes": "Volumes",
    "segmentations": "Segmentations",
    "subjecthierarchy": "SubjectHierarchy",
    "markups": "Markups",
    "sequences": "Sequences",
    "tables": "Tables",
    "plots": "Plots",
}
