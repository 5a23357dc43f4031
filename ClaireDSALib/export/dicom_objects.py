"""A case as DICOM objects for the archive: projections, pictures, segments and a structured report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.export import dicom_pictures as pictures
from ClaireDSALib.export.dicom_capture import Derivation, color_capture, grey_capture
from ClaireDSALib.export.dicom_codes import MINIMUM_PROJECTION, SUBTRACTION_DERIVATION
from ClaireDSALib.export.dicom_identity import model_key, run_series, study_series, write_object
from ClaireDSALib.export.dicom_report import ReportedRun, report_of_study, vessel_model
from ClaireDSALib.export.dicom_review import reviews_of_study
from ClaireDSALib.export.dicom_segments import segmentations_of
from ClaireDSALib.export.dicom_source import SourceRun, source_of
from ClaireDSALib.pipeline.report import CaseResult, ModelRecord, Override, RunReport

Arrays = Mapping[str, npt.NDArray[Any]]
Corrections = Mapping[str, Sequence[Override]]
"""Run id -> what reviewers said about it."""

_REPORT, _REVIEWS = 1, 2
_PROJECTIONS, _PICTURES, _SEGMENTS = 1, 2, 3


def write_dicom_objects(
    result: CaseResult, series: Sequence[DsaSeries], folder: str | Path, *, corrections: Corrections | None = None
) -> list[Path]:
    """Write everything that is known about a case as DICOM objects of the same patient and study.

    The same result gives the same files, UIDs included; see docs/dicom_conformance.md for what is written.

    Parameters
    ----------
    result : CaseResult
        As :func:`ClaireDSALib.pipeline.analyze.analyze` gave it.
    series : sequence of DsaSeries
        The runs as read from their DICOM files; those of ``result`` are looked up by their run id.
    folder : path
        Made when missing; one sub-folder per study.
    corrections : mapping of str to sequence of Override, optional
        Run id -> verdicts of reviewers, beside those the report holds already.

    Returns
    -------
    list of Path
        Images first, then segmentations, then reports: each object after those it refers to.

    Raises
    ------
    ValueError
        When a run does not come from DICOM files, or a run of the report is not among ``series``.
    OSError
        When a file cannot be written.
    """
    return [write_object(dataset, Path(folder)) for dataset in dicom_objects(result, series, corrections=corrections)]


def dicom_objects(
    result: CaseResult, series: Sequence[DsaSeries], *, corrections: Corrections | None = None
) -> list[Dataset]:
    """As :func:`write_dicom_objects`, in memory."""
    by_id = {one.run_id: one for one in series}
    if missing := [run.run_id for run in result.report.runs if run.run_id not in by_id]:
        msg = f"the report has runs that were not handed in: {missing}; pass the series it was made from"
        raise ValueError(msg)
    key = model_key(result.report.provenance.models)
    studies: dict[str, list[tuple[SourceRun, RunReport]]] = {}
    for report in result.report.runs:
        source = source_of(by_id[report.run_id])
        studies.setdefault(source.study_uid, []).append((source, report))
    models = {record.task: record for record in result.report.provenance.models}
    overrides = _all_overrides(result, corrections or {})
    found: list[Dataset] = []
    for runs in studies.values():
        sources = [source for source, _ in runs]
        reported = [
            _images_of(source, place, report, result, key, models) for place, (source, report) in enumerate(runs)
        ]
        found += [image for run in reported for image in run.images]
        model_report = report_of_study(
            reported,
            result.report.pairs,
            models,
            study_series(sources, _REPORT, "report", key),
            result.report.reperfusion,
        )
        found.append(model_report)
        series_of_reviews = study_series(sources, _REVIEWS, "review by people", key)
        found += reviews_of_study(reported, overrides, model_report, series_of_reviews)
    return found


def _images_of(
    source: SourceRun, place: int, report: RunReport, result: CaseResult, key: str, models: Mapping[str, ModelRecord]
) -> ReportedRun:
    arrays = result.arrays.get(report.run_id, {})
    projections = projections_of(source, place, arrays, key)
    if not projections:
        return ReportedRun(source, report)
    segments = segmentations_of(
        source,
        run_series(source, place, _SEGMENTS, "vessels", key),
        projections[-1],
        report,
        arrays,
        vessel_model(report.vessels, models),
    )
    colored = _colored(source, place, report, arrays, key)
    images = (*projections, *colored, *segments.values())
    return ReportedRun(source, report, projections[-1], segments.get("vessels"), images)


def _colored(source: SourceRun, place: int, report: RunReport, arrays: Arrays, key: str) -> list[Dataset]:
    """Overlays, maps and evidence, each as one object of several frames."""
    series = run_series(source, place, _PICTURES, "overlays and maps", key)
    kinds = (
        ("OVERLAY", "Findings drawn over the projection", pictures.overlays(report, arrays), True),
        ("TEMPORAL_MAP", "Maps of the passage of contrast, with colour bars", pictures.maps(arrays), True),
        ("EVIDENCE", "Where the classes of the labels were seen", pictures.evidence(report, arrays), False),
    )
    return [
        color_capture(source, series, number, frames, Derivation(kind, text), is_scaled=is_scaled)
        for number, (kind, text, frames, is_scaled) in enumerate(kinds, start=1)
        if frames
    ]


def _all_overrides(result: CaseResult, corrections: Corrections) -> dict[str, list[Override]]:
    """What the report holds and what was handed in, each verdict once."""
    return {
        run.run_id: list(dict.fromkeys((*run.overrides, *corrections.get(run.run_id, ()))))
        for run in result.report.runs
    }


def projections_of(source: SourceRun, position: int, arrays: Arrays, key: str) -> list[Dataset]:
    """The MinIP and, where there are any, the subtracted MinIP of the arterial frames and of all frames, last."""
    if "minip" not in arrays:
        return []
    series = run_series(source, position, _PROJECTIONS, "projections", key)
    low, high = (float(v) for v in np.percentile(arrays["minip"], (0.3, 99.7)))
    found = [
        grey_capture(
            source,
            series,
            1,
            arrays["minip"],
            Derivation("MINIP", "Minimum over time of all frames of the run; contrast dark", (MINIMUM_PROJECTION,)),
            bits_stored=source.series.intensity.bits_stored,
            window=(low, high),
        )
    ]
    kinds = (
        ("arterial_minip", "ARTERIAL_MINIP", "of the arterial frames"),
        ("subtracted_minip", "SUBTRACTED_MINIP", "of all frames"),
    )
    codes = (SUBTRACTION_DERIVATION, MINIMUM_PROJECTION)
    for name, kind, what in kinds:
        if name in arrays:
            text = f"Minimum over time {what} after subtraction in the logarithm; contrast dark"
            number, shown = len(found) + 1, pictures.subtracted_window()
            how = Derivation(kind, text, codes)
            found.append(grey_capture(source, series, number, arrays[name], how, window=shown))
    return found
