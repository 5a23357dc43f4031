"""DICOM reader plugin: runs of angiography with their true times, polarity, spacing and pairs.

It outbids Slicer's image-sequence plugin for digital subtraction angiography only; other X-ray runs are offered
with less confidence, so that whoever reads coronary cine sees nothing change.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer
from DICOMLib import DICOMLoadable, DICOMPlugin
from slicer.i18n import tr as _

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE.parent, _HERE):
    if (_folder / "ClaireDSALib").is_dir() and str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from ClaireDSAWidgets.files import files_of  # noqa: E402

_XA, _ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1.1"
_XRF, _ENHANCED_XRF = "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.2.1"
_SECONDARY = tuple(f"1.2.840.10008.5.1.4.1.1.7{suffix}" for suffix in ("", ".1", ".2", ".3"))
"""Secondary capture, single and multi-frame: runs that passed through another archive."""

_CONFIDENCE_DSA = 0.85
"""Slicer's image-sequence plugin says 0.7."""
_CONFIDENCE_OTHER = 0.6


class ClaireDSADICOMPluginClass(DICOMPlugin):
    """Examines by headers alone and loads through ClaireDSALib."""

    def __init__(self) -> None:
        super().__init__()
        self.loadType = _("Angiographic run (CLAIRE-DSA)")
        self.tags["sopClassUID"] = "0008,0016"
        self.tags["modality"] = "0008,0060"
        self.tags["numberOfFrames"] = "0028,0008"

    def examineForImport(self, fileLists: Iterable[list[str]]) -> list[Any]:
        """Offer every run; the two views of a biplane run, which may be two DICOM series, as one."""
        wanted = [f for files in fileLists for f in files if self._may_be_a_run(f)]
        found = self.getCachedLoadables(wanted) if wanted else []
        if found is None:
            found = self.examineFiles(wanted)
            self.cacheLoadables(wanted, found)
        return found

    def examineFiles(self, files: list[str]) -> list[Any]:
        """Offer the runs of some files; reads headers, no pixels."""
        if not files:
            return []
        from ClaireDSALib.dsa.read import examine

        result = examine([Path(f) for f in files])
        loadables = []
        paired: set[str] = set()
        for pair in result.pairs:
            loadables.append(self._pair_loadable(pair))
            paired |= {pair.ap.run_id, pair.lateral.run_id}
        loadables += [self._loadable(s) for s in result.series if s.run_id not in paired]
        for skipped in result.skipped:
            logging.info("CLAIRE-DSA does not offer %s: %s", Path(skipped.source).name, skipped.reason)
        return loadables

    def load(self, loadable: Any) -> Any:
        """Put the runs of a loadable into the scene; returns the volume node of the first."""
        from ClaireDSAWidgets import settings_panel
        from ClaireDSAWidgets.case import Case

        from ClaireDSALib.dsa.read import read

        result = read([Path(f) for f in loadable.files])
        case = Case()
        case.add_series(result.series, result.pairs, logging.info)
        nodes = [case.nodes(series.run_id)[0] for series in result.series]
        if not nodes:
            reasons = "; ".join(s.reason for s in result.skipped)
            logging.error("CLAIRE-DSA could not load %s: %s", loadable.name, reasons)
            return False
        if not settings_panel.value("pseudonymousScene", False):
            for one in nodes:
                self.addSeriesInSubjectHierarchy(loadable, one.proxy)
                _move_run_to_study(one)
        slicer.util.setSliceViewerLayers(background=nodes[0].proxy, fit=True)
        return nodes[0].proxy

    def _may_be_a_run(self, path: str) -> bool:
        """Decide by what the database has cached, without opening the file."""
        value = slicer.dicomDatabase.fileValue
        sop_class = value(path, self.tags["sopClassUID"])
        if sop_class in (_XA, _ENHANCED_XA, _XRF, _ENHANCED_XRF):
            return True
        return sop_class in _SECONDARY and value(path, self.tags["modality"]) in ("XA", "RF", "DSA")

    def _loadable(self, series: Any) -> Any:
        loadable = DICOMLoadable()
        loadable.files = files_of(series)
        loadable.name = _title(series)
        loadable.tooltip = _tooltip(series)
        loadable.warning = " ".join(series.warnings)
        loadable.confidence = _CONFIDENCE_DSA if _is_dsa(series) else _CONFIDENCE_OTHER
        loadable.selected = loadable.confidence > 0.7
        return loadable

    def _pair_loadable(self, pair: Any) -> Any:
        ap, lateral = self._loadable(pair.ap), self._loadable(pair.lateral)
        loadable = ap
        loadable.files = list(dict.fromkeys(ap.files + lateral.files))
        loadable.name = _("{one} with {other} (biplane)").format(one=ap.name, other=lateral.name)
        loadable.tooltip = "\n".join((pair.reason, ap.tooltip, lateral.tooltip))
        loadable.warning = " ".join(w for w in (ap.warning, lateral.warning) if w)
        loadable.confidence = max(ap.confidence, lateral.confidence)
        loadable.selected = ap.selected or lateral.selected
        return loadable


class ClaireDSADICOMPlugin:
    """Hidden module that registers the plugin."""

    def __init__(self, parent: Any) -> None:
        parent.title = _("CLAIRE-DSA DICOM plugin")
        parent.categories = ["Developer Tools.DICOM Plugins"]
        parent.contributors = ["The CLAIRE-DSA developers"]
        parent.helpText = _("Loads runs of X-ray angiography from the DICOM module.")
        parent.acknowledgementText = ""
        parent.hidden = True
        slicer.modules.dicomPlugins["ClaireDSADICOMPlugin"] = ClaireDSADICOMPluginClass


def _is_dsa(series: Any) -> bool:
    """Subtracted, or made to be: a mask operation, an injection's worth of slow frames with a mask frame."""
    if series.geometry.view == "rotational" or series.n_frames < 2:
        return False
    said = series.identity.description.upper()
    return series.subtraction_state == "subtracted" or bool(series.mask_operations) or "DSA" in said or "SUBTR" in said


def _title(series: Any) -> str:
    number = series.identity.series_number
    parts = [_("Run {n}").format(n=number) if number is not None else _("Run")]
    if series.identity.instance_number is not None:
        parts[0] += f".{series.identity.instance_number}"
    if series.geometry.view != "unknown":
        parts.append({"ap": "AP"}.get(series.geometry.view, series.geometry.view))
    parts.append(_("{n} frames in {t:.1f} s").format(n=series.n_frames, t=float(series.times_s[-1])))
    return ", ".join(parts)


def _tooltip(series: Any) -> str:
    geometry = series.geometry
    lines = [
        _("Times from {source}").format(source=series.times_source),
        _("Subtraction: {state} ({source})").format(state=series.subtraction_state, source=series.subtraction_source),
        _("Polarity from {source}").format(source=series.intensity.polarity_source),
    ]
    if geometry.pixel_spacing_mm is None:
        lines.append(_("Pixel spacing unknown"))
    else:
        row, column = geometry.pixel_spacing_mm
        lines.append(f"{row:.3f} × {column:.3f} mm ({geometry.spacing_source})")
    return "\n".join(lines)


def _move_run_to_study(nodes: Any) -> None:
    """Put the run's folder under the DICOM study, and drop our own stand-ins for patient and study when empty."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = tree.GetItemParent(tree.GetItemByDataNode(nodes.sequence))
    proxy = tree.GetItemByDataNode(nodes.proxy)
    study = tree.GetItemParent(proxy)
    ours = tree.GetItemParent(folder)
    if not study or study in (folder, ours):
        return
    tree.SetItemParent(folder, study)
    tree.SetItemParent(proxy, folder)
    while ours and ours != tree.GetSceneItemID() and not tree.GetNumberOfItemChildren(ours):
        above = tree.GetItemParent(ours)
        tree.RemoveItem(ours)
        ours = above
