"""Attributes that Enhanced instances keep in functional groups and classic ones at the top (PS3.3 C.7.6.16)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_header import first_item, number, numbers, text
from ClaireDSALib.dsa.dicom_instance import Instance


def places(instance: Instance, macro: str, frame: int = 0) -> tuple[Dataset, ...]:
    """Return where an attribute of ``macro`` may stand for a 0-based frame: its own group, the shared one, the top."""
    found = []
    if instance.per_frame:
        found.append(first_item(instance.per_frame[frame], macro))
    found.append(first_item(instance.shared, macro))
    return (*found, instance.dataset)


def find_numbers(instance: Instance, macro: str, keyword: str, frame: int = 0) -> tuple[float, ...]:
    """Return the values of an attribute at the first place that has it; empty when none has."""
    return next((found for place in places(instance, macro, frame) if (found := numbers(place, keyword))), ())


def find_number(instance: Instance, macro: str, keyword: str, frame: int = 0) -> float | None:
    """Return the first value of an attribute at the first place that has it; None when none has."""
    return next(
        (found for place in places(instance, macro, frame) if (found := number(place, keyword)) is not None), None
    )


def find_text(instance: Instance, macro: str, keyword: str, frame: int = 0) -> str:
    """Return an attribute as text from the first place that has it; empty when none has."""
    return next((found for place in places(instance, macro, frame) if (found := text(place, keyword))), "")


def find_item(instance: Instance, macro: str, sequence: str, frame: int = 0) -> Dataset:
    """Return the first item of ``sequence`` at the first place that has one; an empty data set when none has."""
    return next(
        (found for place in places(instance, macro, frame) if len(found := first_item(place, sequence))), Dataset()
    )
