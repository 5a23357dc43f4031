"""Mask Subtraction Sequence -> MaskOperation (PS3.3 C.7.6.10), frame numbers counted from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_header import integer, integers, items, numbers, text
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.series import MaskOperation

_OPERATIONS = ("NONE", "AVG_SUB", "TID", "REV_TID")


def mask_operations_of(instance: Instance, kept: Sequence[int]) -> tuple[tuple[MaskOperation, ...], tuple[str, ...]]:
    """Read the mask operations.

    Parameters
    ----------
    instance : Instance
    kept : sequence of int
        0-based frames of the file that the run keeps; frame numbers are translated to positions in it.

    Returns
    -------
    operations : tuple of MaskOperation
    warnings : tuple of str
        What the header said that cannot be followed.
    """
    position = {frame: place for place, frame in enumerate(kept)}
    operations: list[MaskOperation] = []
    warnings: list[str] = []
    for item in items(instance.dataset, "MaskSubtractionSequence"):
        name = text(item, "MaskOperation").upper()
        if name not in _OPERATIONS:
            warnings.append("a mask operation in the header has an unknown name and is not used")
            continue
        operation, remarks = _operation(name, item, position)
        warnings.extend(remarks)
        if operation is not None:
            operations.append(operation)
    return tuple(operations), tuple(warnings)


def _operation(name: str, item: Dataset, position: Mapping[int, int]) -> tuple[MaskOperation | None, list[str]]:
    warnings: list[str] = []
    numbered = integers(item, "MaskFrameNumbers") if name == "AVG_SUB" else ()
    frames = tuple(position[one - 1] for one in numbered if one - 1 in position)
    if len(frames) < len(numbered):
        warnings.append(f"{len(numbered) - len(frames)} mask frame number(s) lie outside the run and are not used")
    if name == "AVG_SUB" and not frames:
        return None, [*warnings, "the header asks for subtraction but names no usable mask frame"]
    ranges, remark = _ranges(integers(item, "ApplicableFrameRange"), position)
    return (
        MaskOperation(
            operation=name,  # type: ignore[arg-type]  # one of _OPERATIONS
            mask_frames=frames,
            applicable_frames=ranges,
            tid_offset=_offset(item),
            contrast_frame_averaging=max(1, integer(item, "ContrastFrameAveraging") or 1),
            sub_pixel_shift=_shift(item),
        ),
        warnings + remark,
    )


def _ranges(values: Sequence[int], position: Mapping[int, int]) -> tuple[tuple[tuple[int, int], ...], list[str]]:
    """Translate pairs of 1-based first and last frames; an incomplete list means every frame."""
    if len(values) % 2:
        return (), ["ApplicableFrameRange has an odd number of values; the mask is applied to every frame"]
    found = []
    for first, last in zip(values[::2], values[1::2], strict=True):
        inside = [place for frame, place in position.items() if first - 1 <= frame <= last - 1]
        if inside:
            found.append((min(inside), max(inside)))
    if values and not found:
        return (), ["ApplicableFrameRange lies outside the run; the mask is applied to every frame"]
    return tuple(found), []


def _offset(item: Dataset) -> int:
    offset = integer(item, "TIDOffset")
    return 1 if offset is None else offset


def _shift(item: Dataset) -> tuple[float, float]:
    values = numbers(item, "MaskSubPixelShift")
    return (values[0], values[1]) if len(values) == 2 else (0.0, 0.0)
