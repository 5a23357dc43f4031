"""``slicer.dicomDatabase`` and ``DICOMLib`` on pydicom: the calls that DICOM plugins make."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom
import slicer
from PySide6 import QtCore
from PySide6.QtCore import Property, Signal

from .ctk_widgets import stored

_HEADER_LIMIT_BYTES = 1024
"""Elements longer than this stay on disk until asked for; pixel data above all."""


class ctkDICOMDatabase(QtCore.QObject):
    databaseChanged = Signal()
    seriesAdded = Signal(str)
    tagsToPrecache, setTagsToPrecache = stored("QStringList", "tagsToPrecache", list)
    isOpen = Property(bool, lambda _: True)
    databaseDirectory = Property(str, lambda s: s._folder)

    def __init__(self, parent: QtCore.QObject, folder: str) -> None:
        super().__init__(parent)
        self._folder = folder
        self._headers: dict[str, pydicom.Dataset] = {}

    def insert(self, path: str, *_: Any) -> None:
        header = self._header(path)
        self._headers[path] = header
        self.seriesAdded.emit(str(header.get("SeriesInstanceUID", "")))

    def fileValue(self, path: str, tag: str) -> str:
        element = self._header(path).get(_tag(tag))
        if element is None or element.VR == "SQ" or element.value is None or isinstance(element.value, bytes):
            return ""
        value = element.value
        several = isinstance(value, Iterable) and not isinstance(value, str | pydicom.valuerep.PersonName)
        return "\\".join(str(v) for v in value) if several else str(value)

    def fileValueExists(self, path: str, tag: str) -> bool:
        return _tag(tag) in self._header(path)

    def patients(self) -> list[str]:
        return self._distinct("PatientID")

    def studiesForPatient(self, patient: str) -> list[str]:
        return self._distinct("StudyInstanceUID", PatientID=patient)

    def seriesForStudy(self, study: str) -> list[str]:
        return self._distinct("SeriesInstanceUID", StudyInstanceUID=study)

    def filesForSeries(self, series: str, *_: Any) -> list[str]:
        return [f for f, h in self._headers.items() if str(h.SeriesInstanceUID) == series]

    def instanceForFile(self, path: str) -> str:
        return str(self._header(path).SOPInstanceUID)

    def fileForInstance(self, uid: str) -> str:
        return next((f for f, h in self._headers.items() if str(h.SOPInstanceUID) == uid), "")

    def seriesForFile(self, path: str) -> str:
        return str(self._header(path).SeriesInstanceUID)

    def allFiles(self) -> list[str]:
        return list(self._headers)

    def forget(self) -> None:
        self._headers.clear()

    def _header(self, path: str) -> pydicom.Dataset:
        return self._headers.get(path) or pydicom.dcmread(path, defer_size=_HEADER_LIMIT_BYTES, stop_before_pixels=True)

    def _distinct(self, keyword: str, **match: str) -> list[str]:
        fitting = [h for h in self._headers.values() if all(str(h.get(k, "")) == v for k, v in match.items())]
        return list(dict.fromkeys(str(h.get(keyword, "")) for h in fitting))


def _tag(text: str) -> tuple[int, int]:
    group, element = text.split(",")
    return int(group, 16), int(element, 16)


class DICOMLoadable:
    """One thing a plugin offers to load."""

    def __init__(self, qLoadable: Any = None) -> None:
        self.name, self.tooltip, self.warning = "Unknown", "No further information available", ""
        self.files: list[str] = []
        self.selected, self.confidence = False, 0.5
        self.referencedInstanceUIDs: list[str] = []


class DICOMPlugin:
    """Base class of readers."""

    def __init__(self) -> None:
        self.loadType = "Generic DICOM"
        self.tags: dict[str, str] = {"seriesInstanceUID": "0020,000E", "seriesDescription": "0008,103E"}
        self.loadables: dict[str, list[DICOMLoadable]] = {}

    def hashFiles(self, files: Iterable[str]) -> str:
        return "\n".join(sorted(files))

    def getCachedLoadables(self, files: Iterable[str]) -> list[DICOMLoadable] | None:
        return self.loadables.get(self.hashFiles(files))

    def cacheLoadables(self, files: Iterable[str], loadables: list[DICOMLoadable]) -> None:
        self.loadables[self.hashFiles(files)] = loadables

    def examineForImport(self, fileLists: Iterable[list[str]]) -> list[DICOMLoadable]:
        return [loadable for files in fileLists for loadable in self.examineFiles(files)]

    def examine(self, fileLists: Iterable[list[str]]) -> list[DICOMLoadable]:
        return self.examineForImport(fileLists)

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
        return []

    def defaultSeriesNodeName(self, seriesUID: str) -> str:
        return f"Unnamed series {seriesUID}"

    def addSeriesInSubjectHierarchy(self, loadable: DICOMLoadable, dataNode: Any) -> None:
        """Patient, study and series items above the node, by UID, as the desktop names them."""
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        header = slicer.dicomDatabase._native._header(loadable.files[0])
        dicom = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()
        patient_id, study_uid = str(header.get("PatientID", "")), str(header.StudyInstanceUID)
        patient = tree.GetItemByUID(dicom, patient_id)
        if not patient:
            patient = tree.CreateSubjectItem(tree.GetSceneItemID(), str(header.get("PatientName", "")))
            tree.SetItemUID(patient, dicom, patient_id)
        study = tree.GetItemByUID(dicom, study_uid)
        if not study:
            study = tree.CreateStudyItem(patient, str(header.get("StudyDate", "")) or "Study")
            tree.SetItemUID(study, dicom, study_uid)
        series = tree.GetItemByDataNode(dataNode) or tree.CreateItem(study, dataNode)
        tree.SetItemParent(series, study)
        tree.SetItemUID(series, dicom, str(header.SeriesInstanceUID))


def import_folder(database: ctkDICOMDatabase, folder: Path) -> list[str]:
    """Index a folder, as the DICOM browser's import does, and return the series found."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            database.insert(str(path))
        except pydicom.errors.InvalidDicomError:
            continue
    return list(dict.fromkeys(database.seriesForFile(f) for f in database.allFiles()))


def install() -> None:
    """Make ``DICOMLib`` importable."""
    package, plugin = types.ModuleType("DICOMLib"), types.ModuleType("DICOMLib.DICOMPlugin")
    for module in (package, plugin):
        module.DICOMPlugin, module.DICOMLoadable = DICOMPlugin, DICOMLoadable
    package.DICOMUtils = types.ModuleType("DICOMLib.DICOMUtils")
    sys.modules.update({"DICOMLib": package, "DICOMLib.DICOMPlugin": plugin, "DICOMLib.DICOMUtils": package.DICOMUtils})
