"""Vessel masks as a segmentation with standard terminology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from .colors import SEGMENT_COLORS
from .images import array_of_image, image_from_array
from .nodes import tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .host import Host

SEGMENT_NAMES = {
    "vessels": "Vessels",
    "arteries": "Arteries",
    "veins": "Veins",
    "centerline": "Centre lines",
}
"""Array name -> name of the segment, in drawing order."""

_SCT_TYPES = {
    "vessels": ("59820001", "Blood vessel"),
    "arteries": ("51114001", "Artery"),
    "veins": ("29092000", "Vein"),
    "centerline": ("59820001", "Blood vessel"),
}
"""SNOMED CT codes as listed in DICOM PS3.16, CID 7153 and Slicer's DICOM master list."""


def terminology_entry(array_name: str) -> str:
    """Slicer's serialised terminology of a segment: category Anatomical Structure, SNOMED CT type."""
    code, meaning = _SCT_TYPES[array_name]
    return (
        "Segmentation category and type - DICOM master list"
        f"~SCT^123037004^Anatomical Structure~SCT^{code}^{meaning}~^^"
        "~Anatomic codes - DICOM master list~^^~^^"
    )


def add_segmentation(
    host: Host, run_id: str, name: str, masks: Mapping[str, npt.NDArray[np.bool_]], reference: Any
) -> Any | None:
    """Add a segmentation of the masks that are present; None when there is none.

    Parameters
    ----------
    masks : mapping of str to (H, W) bool
        Any of ``vessels``, ``arteries``, ``veins``, ``centerline``.
    reference : volume node
        Gives the geometry; must have the shape of the masks.
    """
    present = {k: masks[k] for k in SEGMENT_NAMES if k in masks}
    if not present:
        return None
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for array_name, mask in present.items():
        _add_segment(node, array_name, mask, reference)
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.18)
    display.SetOpacity2DOutline(0.9)
    display.SetSliceIntersectionThickness(1)
    for hidden in ("centerline", *(("vessels",) if "arteries" in present else ())):
        if hidden in present:
            display.SetSegmentVisibility(hidden, False)
    return tag(node, run_id, "segmentation")


def segment_masks(segmentation: Any, reference: Any) -> dict[str, npt.NDArray[np.bool_]]:
    """Array name -> ``(H, W)`` mask in the geometry of the reference volume, also after loading a scene."""
    columns, rows, _ = reference.GetImageData().GetDimensions()
    ids = vtk.vtkStringArray()
    segmentation.GetSegmentation().GetSegmentIDs(ids)
    known = [ids.GetValue(i) for i in range(ids.GetNumberOfValues())]
    return {name: _mask(segmentation, name, (rows, columns)) for name in SEGMENT_NAMES if name in known}


def _add_segment(node: Any, array_name: str, mask: npt.NDArray[np.bool_], reference: Any) -> None:
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(image_from_array(mask.astype(np.uint8)))
    matrix = vtk.vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    segment = slicer.vtkSegment()
    segment.SetName(SEGMENT_NAMES[array_name])
    segment.SetColor(*SEGMENT_COLORS[array_name])
    segment.AddRepresentation(_BINARY_LABELMAP, image)
    segment.SetTag("TerminologyEntry", terminology_entry(array_name))
    node.GetSegmentation().AddSegment(segment, array_name)


_BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _mask(segmentation: Any, segment_id: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Segments of a loaded scene are cropped to their extent and may share one label map."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(_BINARY_LABELMAP)
    mask = np.zeros(shape, bool)
    column_0, column_1, row_0, row_1, _, _ = image.GetExtent()
    if column_1 >= column_0 and row_1 >= row_0:
        values = array_of_image(image)
        mask[row_0 : row_1 + 1, column_0 : column_1 + 1] = values == segment.GetLabelValue()
    return mask
