"""Arrays as volumes: orientation, spacing, display."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

SPACING_ATTRIBUTE = "ClaireDSA.spacing"
"""``known`` or ``unknown`` on each volume; unknown ones are drawn with 1 mm pixels and measured in pixels only."""


def ijk_to_ras(
    shape: tuple[int, int], spacing_mm: tuple[float, float] | None, image_shape: tuple[int, int] | None = None
) -> Any:
    """Matrix that puts a picture into the axial plane, rows down and columns to the right on the screen.

    Same 180 degree rotation as Slicer's own image-sequence reader, so overlays fit its volumes too, but centred.

    Parameters
    ----------
    shape : (int, int)
        ``(rows, columns)`` of the array.
    spacing_mm : (float, float) or None
        ``(row, column)`` of the full image; None draws 1 mm.
    image_shape : (int, int), optional
        Shape of the image that the array spans when the array is a coarser grid over it.

    Returns
    -------
    vtkMatrix4x4
    """
    full = image_shape or shape
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    step_row, step_column = row_mm * full[0] / shape[0], column_mm * full[1] / shape[1]
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -step_column)
    matrix.SetElement(1, 1, -step_row)
    matrix.SetElement(0, 3, step_column * (shape[1] - 1) / 2)
    matrix.SetElement(1, 3, step_row * (shape[0] - 1) / 2)
    return matrix


def ras_of_pixel(
    pixel: tuple[float, float], shape: tuple[int, int], spacing_mm: tuple[float, float] | None
) -> tuple[float, float, float]:
    """RAS position of ``(row, column)`` in an image placed by :func:`ijk_to_ras`."""
    r, a, s, _ = ijk_to_ras(shape, spacing_mm).MultiplyPoint((pixel[1], pixel[0], 0.0, 1.0))
    return r, a, s


def pixel_of_ras(
    ras: tuple[float, float, float], shape: tuple[int, int], spacing_mm: tuple[float, float] | None
) -> tuple[float, float]:
    """Inverse of :func:`ras_of_pixel`."""
    matrix = ijk_to_ras(shape, spacing_mm)
    matrix.Invert()
    column, row, _, _ = matrix.MultiplyPoint((*ras, 1.0))
    return row, column


def image_from_array(array: npt.NDArray[Any]) -> Any:
    """``vtkImageData`` with a copy of ``(H, W)`` or ``(H, W, C)`` values."""
    values = np.ascontiguousarray(array)
    image = vtk.vtkImageData()
    image.SetDimensions(values.shape[1], values.shape[0], 1)
    flat = values.reshape(-1) if values.ndim == 2 else values.reshape(-1, values.shape[2])
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    return image


def array_of_image(image: Any) -> npt.NDArray[Any]:
    """Copy of the pixels: ``(H, W)`` or ``(H, W, C)``; a stack gives ``(K, H, W)``."""
    columns, rows, slices = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = (slices, rows, columns) if slices > 1 else (rows, columns)
    return values.reshape(*shape, -1).copy() if values.ndim == 2 else values.reshape(shape).copy()


def fill_volume(
    volume: Any,
    array: npt.NDArray[Any],
    spacing_mm: tuple[float, float] | None,
    image_shape: tuple[int, int] | None = None,
) -> None:
    """Give a volume node pixels, orientation and the mark whether its spacing is known."""
    volume.SetIJKToRASMatrix(ijk_to_ras(array.shape[:2], spacing_mm, image_shape))
    volume.SetAttribute(SPACING_ATTRIBUTE, "unknown" if spacing_mm is None else "known")
    volume.SetAndObserveImageData(image_from_array(array))


def add_volume(
    scene: Any,
    name: str,
    array: npt.NDArray[Any],
    spacing_mm: tuple[float, float] | None,
    *,
    image_shape: tuple[int, int] | None = None,
    unit: str = "",
) -> Any:
    """Add an ``(H, W)`` picture or an ``(H, W, C)`` colour picture as a volume node.

    Parameters
    ----------
    unit : str
        Unit of the values (``s``, ``logit``); becomes the attribute ``ClaireDSA.unit``.
    """
    kind = "vtkMRMLScalarVolumeNode" if array.ndim == 2 else "vtkMRMLVectorVolumeNode"
    volume = scene.AddNewNodeByClass(kind, name)
    if array.ndim == 3:
        volume.SetVoxelVectorType(
            volume.VoxelVectorTypeColorRGBA if array.shape[2] == 4 else volume.VoxelVectorTypeColorRGB
        )
    fill_volume(volume, array, spacing_mm, image_shape)
    if unit:
        volume.SetAttribute("ClaireDSA.unit", unit)
    volume.CreateDefaultDisplayNodes()
    return volume


def set_window(volume: Any, low: float, high: float) -> None:
    """Fix window and level to a range of values, and switch the automatic choice off."""
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(low), float(max(high, low + 1e-6)))


def robust_range(array: npt.NDArray[Any], low_percent: float = 0.5, high_percent: float = 99.5) -> tuple[float, float]:
    """Range of values without the extremes; ``(0, 1)`` when nothing is finite."""
    values = np.asarray(array)[:: max(1, array.shape[0] // 256), :: max(1, array.shape[1] // 256)]
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (low_percent, high_percent))
    return float(low), float(high)


def scalar_volume_node() -> Any:
    """A volume node outside any scene, to be copied into a sequence."""
    return slicer.vtkMRMLScalarVolumeNode()
