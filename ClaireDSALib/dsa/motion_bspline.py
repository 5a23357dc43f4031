"""Smooth deformation between a frame and the mask: cubic B-splines, fitted by SimpleITK."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - the name its own documentation uses
from scipy import ndimage

from ClaireDSALib.dsa.displacement import Displacement, Field, Rigid, resample

GRID_PX = 256
"""The deformation is fitted on pictures averaged down to about this size: it is smooth anyway."""

MESH = 5
"""B-spline patches per side; finer meshes start to follow vessels."""

_ITERATIONS = 30
_BLUR_PX = 1.0
_BACKGROUND_PX = 8.0
"""Standard deviation, coarse pixels, of what is taken off as background: blush must not pull the mesh."""

_CONTRAST_SIGMAS = 3.0
"""Pixels that stay darker than the mask by this many robust standard deviations hold contrast and do not count."""


class BsplineRegistration:
    """Registers frames to one mask.

    Parameters
    ----------
    reference : (h, w) float32 ndarray
        Attenuation of the mask.
    inside : (h, w) bool ndarray
        False where there is no picture.
    """

    def __init__(self, reference: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> None:
        self._step = max(1, round(max(reference.shape) / GRID_PX))
        self._fixed = self._coarse(reference)
        self._inside = ndimage.binary_erosion(inside, iterations=2, border_value=True)[:: self._step, :: self._step]

    def register(self, frame: npt.NDArray[np.float32], start: Displacement | None) -> Field:
        """Displacement of every pixel of a frame, ``start`` included.

        Parameters
        ----------
        frame : (h, w) float32 ndarray
            Attenuation.
        start : Displacement, optional
            Rigid motion found before.
        """
        begin = start or Rigid((0.0, 0.0), 0.0, frame.shape)
        moved = self._coarse(resample(frame, begin))
        extra = self._fit(moved)
        rows, columns = np.indices(frame.shape, dtype=np.float32) / self._step
        fine = [ndimage.map_coordinates(axis, (rows, columns), order=1, mode="nearest") for axis in extra]
        return Field(_composed(begin, np.stack(fine) * self._step))

    def _coarse(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        blurred = ndimage.gaussian_filter(image, _BLUR_PX * self._step)[:: self._step, :: self._step]
        return blurred - ndimage.gaussian_filter(blurred, _BACKGROUND_PX)

    def _fit(self, moving: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(2, h, w) displacement in coarse pixels, row and column."""
        fixed_image, moving_image = sitk.GetImageFromArray(self._fixed), sitk.GetImageFromArray(moving)
        transform = sitk.BSplineTransformInitializer(fixed_image, [MESH, MESH], order=3)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetMetricFixedMask(sitk.GetImageFromArray(self._counting(moving).astype(np.uint8)))
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-6, numberOfIterations=_ITERATIONS)
        method.SetInitialTransform(transform, inPlace=True)
        method.SetNumberOfThreads(1)  # the sum of the metric, and so the result, depends on the number of threads
        method.Execute(fixed_image, moving_image)
        field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, fixed_image.GetSize())
        xy = sitk.GetArrayFromImage(field)
        return np.stack([xy[..., 1], xy[..., 0]]).astype(np.float32)

    def _counting(self, moving: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Pixels the metric counts: inside the picture and free of contrast."""
        difference = moving - self._fixed
        values = difference[self._inside]
        middle = np.median(values)
        spread = 1.4826 * np.median(np.abs(values - middle))
        contrast = ndimage.median_filter(difference, size=3) > middle + _CONTRAST_SIGMAS * max(spread, 1e-6)
        return self._inside & ~ndimage.binary_dilation(contrast)


def _composed(first: Displacement, extra: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Field of ``first`` after ``extra``: ``d(x) = e(x) + f(x + e(x))``."""
    if not isinstance(first, Rigid):
        msg = f"a deformation starts from a rigid motion; got {type(first).__name__}"
        raise TypeError(msg)
    angle = np.deg2rad(first.rotation_deg)
    centre = (np.array(first.shape, np.float32) - 1) / 2
    at = np.indices(extra.shape[1:], dtype=np.float32) + extra - centre[:, None, None]
    row = np.cos(angle) * at[0] - np.sin(angle) * at[1] - at[0] + first.shift_px[0]
    column = np.sin(angle) * at[0] + np.cos(angle) * at[1] - at[1] + first.shift_px[1]
    return (extra + np.stack([row, column])).astype(np.float32)
