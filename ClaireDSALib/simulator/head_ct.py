"""A head from a CT: Hounsfield units to density, fitted to the patient's inner skull, completed below the scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .body import Body
from .head import procedural_head

_BONE_HU = 250.0
_BODY_HU = -300.0
_DENSITY_PER_HU = 0.00055
"""Above water: compact bone of 1700 HU has density 1.92."""

_LARGEST_DENSITY = 2.6
_SMALLEST_CAVITY_MM2 = 800.0
_HEIGHT_TO_MEAN = 0.84
"""Half height of the inner skull over the mean of its half width and half length."""


@dataclass(frozen=True)
class ScannedHead:
    """A head CT ready for use.

    Attributes
    ----------
    density : (X, Y, Z) float32 ndarray
        x to one side, y posterior, z superior; air outside the head.
    spacing_mm : (3,) ndarray
    centre_voxel : (3,) ndarray
        Centre of the inner skull.
    radii_mm : (3,) ndarray
        Half axes of the inner skull.
    """

    density: npt.NDArray[np.float32]
    spacing_mm: npt.NDArray[np.float64]
    centre_voxel: npt.NDArray[np.float64]
    radii_mm: npt.NDArray[np.float64]


def ct_head(
    path: Path, brain_centre_mm: npt.NDArray[np.float64], brain_radii_mm: npt.NDArray[np.float64], seed: int
) -> Body:
    """Fit a CT to a patient.

    Parameters
    ----------
    path : Path
        NRRD in Hounsfield units; axial slices from below the ears to the crown at least.
    brain_centre_mm, brain_radii_mm : (3,) ndarray
        Inner skull of the patient in the head frame.
    seed : int
        Mirrors half of the patients, and makes the jaw and neck that the scan may lack.

    Returns
    -------
    Body
        1.5 mm voxels.
    """
    scan = read_head_ct(path)
    body = procedural_head(seed, brain_centre_mm, brain_radii_mm)
    scale = np.asarray(brain_radii_mm) / scan.radii_mm
    mirror = -1.0 if np.random.default_rng([seed, 74]).random() < 0.5 else 1.0
    coordinates = []
    for axis, (n, origin, spacing) in enumerate(zip(body.density.shape, body.origin_mm, body.spacing_mm, strict=True)):
        line = (origin + spacing * np.arange(n) - brain_centre_mm[axis]) / (scale[axis] * scan.spacing_mm[axis])
        coordinates.append(scan.centre_voxel[axis] + line * (mirror if axis == 0 else 1.0))
    first = int(np.searchsorted(coordinates[2], 0.0))
    density = body.density.copy()
    density[:, :, first:] = _resample(scan.density, coordinates, first)
    return Body(density, body.origin_mm, body.spacing_mm)


@lru_cache(maxsize=2)
def read_head_ct(path: Path) -> ScannedHead:
    """Read a head CT and find its inner skull.

    Raises
    ------
    ValueError
        When no closed skull is found.
    """
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    hounsfield = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float32)
    spacing = np.array(image.GetSpacing())
    head = _largest_part(hounsfield > _BODY_HU)
    hounsfield = np.where(head, hounsfield, -1000.0)
    if _face_is_at_high_y(hounsfield, head):
        hounsfield = hounsfield[:, ::-1]
    centre, radii = _inner_skull(hounsfield, spacing, path)
    density = 1 + np.where(hounsfield < 100, hounsfield / 1000, hounsfield * _DENSITY_PER_HU)
    return ScannedHead(np.clip(density, 0, _LARGEST_DENSITY).astype(np.float32), spacing, centre, radii)


def _largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The head without table and head rest, its air cells included."""
    labels, count = ndimage.label(ndimage.binary_opening(mask))
    if count == 0:
        return mask
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return ndimage.binary_dilation(largest, iterations=2)


def _face_is_at_high_y(hounsfield: npt.NDArray[np.float32], head: npt.NDArray[np.bool_]) -> bool:
    """Sinuses and airways lie in front: where is the air that bone and tissue enclose?

    Files do not say reliably which way their second axis points.
    """
    lower = slice(0, head.shape[2] // 2)
    outline = np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(lower.stop)], -1)
    enclosed = outline & (hounsfield[:, :, lower] < -500)
    y = np.arange(head.shape[1])
    return float((enclosed.sum((0, 2)) * y).sum() / max(enclosed.sum(), 1)) > float(
        (outline.sum((0, 2)) * y).sum() / max(outline.sum(), 1)
    )


def _inner_skull(
    hounsfield: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64], path: Path
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre (voxels) and half axes (mm) of the cavity that closed rings of bone surround."""
    areas, cavities = [], []
    for k in range(hounsfield.shape[2]):
        bone = ndimage.binary_closing(hounsfield[:, :, k] > _BONE_HU, iterations=2)
        cavity = ndimage.binary_opening(ndimage.binary_fill_holes(bone) & ~bone, iterations=4)
        cavities.append(cavity)
        areas.append(float(cavity.sum() * spacing[0] * spacing[1]))
    closed = np.flatnonzero(np.array(areas) > _SMALLEST_CAVITY_MM2)
    if not len(closed):
        msg = f"{path.name} shows no closed skull above {_BONE_HU:.0f} HU; a head CT in Hounsfield units is needed"
        raise ValueError(msg)
    widest = cavities[int(np.argmax(areas))]
    extents = [np.flatnonzero(widest.any(1 - axis)) for axis in range(2)]
    half = [0.5 * (e[-1] - e[0] + 1) * spacing[axis] for axis, e in enumerate(extents)]
    height = _HEIGHT_TO_MEAN * float(np.mean(half))
    top = closed[-1] + np.sqrt(areas[int(closed[-1])] / np.pi) * 0.15 / spacing[2]
    centre = np.array([0.5 * (e[0] + e[-1]) for e in extents] + [top - height / spacing[2]])
    return centre, np.array([*half, height])


def _resample(
    density: npt.NDArray[np.float32], coordinates: list[npt.NDArray[np.float64]], first: int
) -> npt.NDArray[np.float32]:
    """Linear interpolation on a rectilinear grid, one axis after the other."""
    result = density
    for axis, wanted in enumerate((coordinates[0], coordinates[1], coordinates[2][first:])):
        n = result.shape[axis]
        inside = (wanted >= 0) & (wanted <= n - 1)
        low = np.clip(np.floor(wanted).astype(int), 0, n - 2)
        weight = (np.clip(wanted, 0, n - 1) - low).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = -1
        w = weight.reshape(shape)
        result = result.take(low, axis) * (1 - w) + result.take(low + 1, axis) * w
        result *= inside.reshape(shape)
    return result
