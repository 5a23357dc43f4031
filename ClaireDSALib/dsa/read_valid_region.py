"""Which pixels are picture: not shutter, not collimator, not padding (PS3.3 C.7.6.11, C.8.7.3, C.7.5.1.1.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from scipy import ndimage

from ClaireDSALib.dsa.dicom_groups import places
from ClaireDSALib.dsa.dicom_header import integer, numbers, texts
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.pixels import Normalisation
from ClaireDSALib.dsa.read_sample import Sample, edges
from ClaireDSALib.dsa.series import Frame

Mask = npt.NDArray[np.bool_]

_SMALLEST_PICTURE = 0.02
"""A shutter that leaves less than this share is a mistake in the header."""
_SMALLEST_BORDER = 0.005
"""A constant border smaller than this share of the picture is not worth a mask."""
_RECTANGULARITY = 0.99
"""Saturated air around a head is constant too; only a straight frame is a collimator then."""
_RINGING_SHARE = 0.015
_RINGING_REACH_PX = 12
"""One and a half blocks of JPEG."""
_MACROS = {"Shutter": "FrameDisplayShutterSequence", "Collimator": "CollimatorSequence"}


def region_from_header(instance: Instance) -> tuple[Mask | None, tuple[str, ...]]:
    """Return the pixels inside every shutter and collimator of the header, and what was odd about them."""
    shape = instance.form.rows, instance.form.columns
    region = np.ones(shape, bool)
    warnings: list[str] = []
    for kind, macro in _MACROS.items():
        for place in places(instance, macro):
            opening = _opening(place, kind, shape)
            if opening is None:
                continue
            if (region & opening).mean() < _SMALLEST_PICTURE:
                warnings.append(f"the {kind.lower()} in the header leaves no picture and is not used")
            else:
                region &= opening
            break
    return (None if region.all() else region), tuple(warnings)


def region_from_pixels(
    instance: Instance, sample: Sample, normalisation: Normalisation, max_value: int, *, subtracted: bool
) -> Mask | None:
    """Return the pixels that are neither padding nor a border of one constant value; None when all are picture."""
    if sample.darkest is None or sample.brightest is None:
        return None
    extremes = sample.darkest, sample.brightest
    outside = _padding(instance, *extremes, normalisation) | _border(*extremes, max_value, subtracted=subtracted)
    share = outside.mean()
    return ~outside if _SMALLEST_BORDER <= share <= 1 - _SMALLEST_PICTURE else None


def may_be_padded(instance: Instance) -> bool:
    """Whether the header names a value that stands for no picture."""
    return integer(instance.dataset, "PixelPaddingValue") is not None


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """Return what is picture by both masks."""
    if first is None or second is None:
        return second if first is None else first
    joined = first & second
    return joined if joined.mean() >= _SMALLEST_PICTURE else first


def _opening(place: Dataset, kind: str, shape: tuple[int, int]) -> Mask | None:
    shapes = texts(place, f"{kind}Shape")
    makers = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
    openings = [makers[one](place, kind, shape) for one in shapes if one in makers]
    found = [one for one in openings if one is not None]
    return np.logical_and.reduce(found) if found else None


def _rectangle(place: Dataset, kind: str, shape: tuple[int, int]) -> Mask | None:
    sides = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    edges = [integer(place, f"{kind}{side}Edge") for side in sides]
    if any(edge is None for edge in edges):
        return None
    left, right, upper, lower = edges
    row, column = _grid(shape)
    return (column >= left) & (column <= right) & (row >= upper) & (row <= lower)


def _circle(place: Dataset, kind: str, shape: tuple[int, int]) -> Mask | None:
    centre = numbers(place, f"CenterOfCircular{kind}")
    radius = integer(place, f"RadiusOfCircular{kind}")
    if len(centre) != 2 or not radius or radius < 0:
        return None
    row, column = _grid(shape)
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= float(radius) ** 2


def _polygon(place: Dataset, kind: str, shape: tuple[int, int]) -> Mask | None:
    from skimage.draw import polygon2mask

    corners = numbers(place, f"VerticesOfThePolygonal{kind}")
    if len(corners) < 6 or len(corners) % 2 or len(corners) > 2000:
        return None
    return polygon2mask(shape, np.array(corners).reshape(-1, 2) - 1)


def _grid(shape: tuple[int, int]) -> tuple[npt.NDArray, npt.NDArray]:
    """Rows and columns counted from 1, as the header does."""
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    return row, column


def _padding(instance: Instance, darkest: Frame, brightest: Frame, normalisation: Normalisation) -> Mask:
    value = integer(instance.dataset, "PixelPaddingValue")
    if value is None or not -(2**15) <= value < 2**16:
        return np.zeros(darkest.shape, bool)
    limit = integer(instance.dataset, "PixelPaddingRangeLimit")
    ends = [value, value if limit is None or not -(2**15) <= limit < 2**16 else limit]
    stored = np.array(ends, np.int64).astype(instance.form.dtype)
    low, high = sorted(normalisation.apply(stored).tolist())
    return (darkest >= low) & (brightest <= high)


def _border(darkest: Frame, brightest: Frame, max_value: int, *, subtracted: bool) -> Mask:
    """Pixels of the border's most frequent value that never change and touch the border."""
    same = darkest == brightest
    still = edges(darkest)[edges(same)]
    if not len(still):
        return np.zeros_like(same)
    values, counts = np.unique(still, return_counts=True)
    value = int(values[counts.argmax()])
    same &= darkest == value
    if same.mean() < _SMALLEST_BORDER:
        return np.zeros_like(same)
    labels, _ = ndimage.label(same)
    touching = np.unique(edges(labels))
    border = np.isin(labels, touching[touching > 0])
    if value == max_value and not subtracted and not _is_rectangular(~border):
        return np.zeros_like(border)
    return border if subtracted else border | _ringing(border, value, brightest)


def _ringing(border: Mask, value: int, brightest: Frame) -> Mask:
    """Pixels close to a black border and almost as dark: lossy compression blurs the edge into its blocks."""
    tolerance = _RINGING_SHARE * float(brightest.max())
    if value > tolerance or not border.any():
        return np.zeros_like(border)
    near = ndimage.maximum_filter(border.view(np.uint8), 2 * _RINGING_REACH_PX + 1).view(bool)
    return near & (brightest <= value + tolerance)


def _is_rectangular(inside: Mask) -> bool:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows) or not len(columns):
        return False
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return inside.sum() >= _RECTANGULARITY * box
