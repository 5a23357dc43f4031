"""Vessels, arteries and veins as a DICOM segmentation of the projection they were found in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ClaireDSALib import __version__
from ClaireDSALib.dsa.dicom_header import quiet
from ClaireDSALib.export.dicom_codes import (
    ARTIFICIAL_INTELLIGENCE,
    BODY_STRUCTURE,
    MORPHOLOGICAL,
    SEGMENT_TYPES,
)
from ClaireDSALib.export.dicom_identity import MANUFACTURER, MODEL_NAME, RESEARCH_USE, NewSeries, seal, stable_uid
from ClaireDSALib.export.dicom_source import TYPE_2, SourceRun
from ClaireDSALib.pipeline.report import ModelRecord, RunReport

SEGMENT_LABELS = {"vessels": "Vessels", "arteries": "Arteries", "veins": "Veins"}
"""Array name -> label of the segment, in the order of their numbers."""

_THICKNESS_MM = 1
"""A projection has no thickness, but the Pixel Measures macro has."""

SEGMENT_COLORS = {"vessels": (41, 199, 217), "arteries": (232, 82, 71), "veins": (82, 128, 242)}
"""Array name -> RGB, the colours of the scene in 3D Slicer."""


def segmentations_of(
    source: SourceRun,
    series: NewSeries,
    projection: Dataset,
    report: RunReport,
    arrays: Mapping[str, npt.NDArray[Any]],
    model: ModelRecord | None,
) -> dict[str, Dataset]:
    """The masks of a run as binary segmentations, pixel for pixel on its projection.

    Each mask is an object of its own: ITK, and all that builds on it, cannot open several segments that share one
    plane, since it takes their frames for slices that are 0 mm apart.

    Parameters
    ----------
    source : SourceRun
    series : NewSeries
    projection : Dataset
        The Secondary Capture the masks belong to; a run itself cannot carry them, since its frames have no
        frame of reference.
    report : RunReport
    arrays : mapping of str to ndarray
        Any of ``vessels``, ``arteries`` and ``veins`` as ``(H, W)`` bool.
    model : ModelRecord or None
        The bundle that drew them; None for the classical method.

    Returns
    -------
    dict of str to Dataset
        Array name -> segmentation with one segment, sealed.
    """
    if report.vessels is None:
        return {}
    algorithm = _algorithm(report, model)
    present = [name for name in SEGMENT_LABELS if name in arrays]
    return {
        name: _segmentation(source, series, number, projection, name, np.asarray(arrays[name], bool), algorithm)
        for number, name in enumerate(present, start=1)
    }


def cielab_of(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Recommended Display CIELab Value of an sRGB colour (PS3.3 C.10.7.1.1).

    Examples
    --------
    >>> cielab_of((255, 255, 255))
    (65535, 32896, 32896)
    """
    from skimage.color import rgb2lab

    lightness, a, b = (float(v) for v in rgb2lab(np.array(rgb, float)[None, None] / 255)[0, 0])
    return (
        round(lightness / 100 * 65535),
        round((a + 128) / 255 * 65535),
        round((b + 128) / 255 * 65535),
    )


def _segmentation(
    source: SourceRun,
    series: NewSeries,
    number: int,
    projection: Dataset,
    name: str,
    mask: npt.NDArray[np.bool_],
    algorithm: Any,
) -> Dataset:
    import highdicom

    with quiet():
        dataset = highdicom.seg.Segmentation(
            source_images=[_acceptable(projection)],
            pixel_array=mask.astype(np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(name, source, algorithm)],
            series_instance_uid=series.uid,
            series_number=series.number,
            sop_instance_uid="2.25.0",
            instance_number=number,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL_NAME,
            software_versions=__version__,
            device_serial_number=__version__,
            omit_empty_frames=False,
            content_label=name.upper(),
            content_description=f"{SEGMENT_LABELS[name]} on the projection of the run",
            series_description=series.description,
        )
    dataset.ImageComments = RESEARCH_USE
    dataset.PatientOrientation = projection.PatientOrientation
    dimension = stable_uid("dimension", series.uid, number)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension
    return seal(dataset, source)


def _description(name: str, source: SourceRun, algorithm: Any) -> Any:
    import highdicom

    code = _highdicom_code
    item = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=SEGMENT_LABELS[name],
        segmented_property_category=code(BODY_STRUCTURE),
        segmented_property_type=code(SEGMENT_TYPES[name]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=stable_uid("segment", source.study_uid, *source.instance_uids, name),
        tracking_id=f"{source.series.run_id}/{name}"[:64],
    )
    item.RecommendedDisplayCIELabValue = list(cielab_of(SEGMENT_COLORS[name]))
    return item


def _algorithm(report: RunReport, model: ModelRecord | None) -> Any:
    import highdicom

    if model is None:
        name = f"CLAIRE-DSA {report.vessels.method}"[:64] if report.vessels else MODEL_NAME
        return highdicom.AlgorithmIdentificationSequence(
            name=name, family=_highdicom_code(MORPHOLOGICAL), version=__version__, source=MANUFACTURER
        )
    return highdicom.AlgorithmIdentificationSequence(
        name=model.name[:64],
        family=_highdicom_code(ARTIFICIAL_INTELLIGENCE),
        version=model.version[:64],
        source=MANUFACTURER,
        parameters={"sha256": model.sha256},
    )


def _acceptable(projection: Dataset) -> Dataset:
    """The projection as highdicom wants it.

    Without the patient's and the study's values, which it judges more strictly than files do; the right ones are put
    into the finished object. And with a plane: GDCM, and with it ITK and Slicer, opens no segmentation without one. A
    projection has no plane in the patient, so this is the grid of the picture in a frame of reference of its own,
    which is where ITK puts the picture too: origin 0, axes along rows and columns, one unit per pixel when the spacing
    is unknown.
    """
    plain = Dataset()
    for element in projection:
        if element.keyword != "PixelData":
            plain.add(copy.deepcopy(element))
    plain.file_meta = projection.file_meta
    for keyword in TYPE_2:
        setattr(plain, keyword, "")
    plain.FrameOfReferenceUID = stable_uid("picture plane", projection.SOPInstanceUID)
    plain.PositionReferenceIndicator = ""
    plain.ImagePositionPatient = [0, 0, 0]
    plain.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    plain.PixelSpacing = list(projection.get("PixelSpacing") or (1, 1))
    plain.SliceThickness = _THICKNESS_MM
    return plain


def _highdicom_code(entry: Any) -> Any:
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(entry.value, entry.scheme, entry.meaning)
