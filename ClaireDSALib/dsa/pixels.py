"""From stored bits to normalised values: unsigned, contrast dark, linear in the stored value."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from ClaireDSALib.dsa.decode_codecs import NATIVE, RLE
from ClaireDSALib.dsa.dicom_groups import find_item, find_number, find_text
from ClaireDSALib.dsa.dicom_header import integers, numbers, quiet, text
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.series import Intensity, IntensityRelation

_RELATIONS: dict[str, IntensityRelation] = {"LIN": "LIN", "LOG": "LOG", "DISP": "DISP"}


@dataclass(frozen=True)
class Normalisation:
    """How a stored value becomes a normalised one: ``table[(min(stored, ceiling) >> shift & mask) ^ flip]``.

    ``flip`` holds the sign bit (two's complement -> offset binary) and, when the values are inverted,
    all bits in addition: ``max - v == v ^ max`` for ``max = 2**bits - 1``.
    """

    shift: int = 0
    mask: int = 0
    """0 when every bit of the container is meaningful."""
    flip: int = 0
    ceiling: int = 0
    """Largest value of lossy streams, which overshoot; 0 when the container holds no larger one."""
    table: npt.NDArray[np.unsignedinteger] | None = None
    """Modality LUT over every value after ``flip``; decides the dtype of the result."""

    def apply(self, pixels: npt.NDArray) -> npt.NDArray:
        """Normalise ``pixels`` in place where the dtype allows, and return the result."""
        if self.ceiling:
            np.minimum(pixels, pixels.dtype.type(self.ceiling), out=pixels)
        if self.shift:
            np.right_shift(pixels, self.shift, out=pixels)
        if self.mask:
            np.bitwise_and(pixels, pixels.dtype.type(self.mask), out=pixels)
        if self.flip:
            np.bitwise_xor(pixels, pixels.dtype.type(self.flip), out=pixels)
        return pixels if self.table is None else self.table[pixels]


@dataclass(frozen=True)
class ModalityTable:
    """A monotone modality LUT (PS3.3 C.11.1) over every stored value in offset binary."""

    values: npt.NDArray[np.uint16]
    bits: int
    falling: bool


def modality_table(instance: Instance) -> tuple[ModalityTable | None, tuple[str, ...]]:
    """Read the modality LUT; None when there is none or it cannot be used, and a sentence why."""
    item = find_item(instance, "PixelValueTransformationSequence", "ModalityLUTSequence")
    if not len(item):
        return None, ()
    descriptor, data = integers(item, "LUTDescriptor"), _lut_data(item, big_endian=instance.big_endian)
    if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16 or len(data) != (descriptor[0] or 2**16):
        return None, ("the modality LUT is damaged and is not used",)
    steps = np.diff(data.astype(np.int64))
    if not (np.all(steps >= 0) or np.all(steps <= 0)) or data.max() == data.min():
        return None, ("the modality LUT is not monotone and is not used",)
    stored = np.arange(2**instance.bits_stored) - (2 ** (instance.bits_stored - 1) if instance.signed else 0)
    index = np.clip(stored - _first_mapped(instance, descriptor[1]), 0, len(data) - 1)
    bits = max(descriptor[2], int(data.max()).bit_length())
    return ModalityTable(data[index], bits, falling=bool(steps.sum() < 0)), ()


def normalisation_of(instance: Instance, table: ModalityTable | None, *, inverted: bool) -> Normalisation:
    """Compose shift, mask, sign, table and inversion; ``inverted`` refers to the stored values."""
    bits, container = instance.bits_stored, 8 * instance.form.dtype.itemsize
    plain = instance.form.transfer_syntax in NATIVE or instance.form.transfer_syntax == RLE
    shift = instance.high_bit + 1 - bits if plain else 0
    short = bits < container
    mask = 2**bits - 1 if short and (plain or instance.signed) else 0
    ceiling = 2**bits - 1 if short and not mask else 0
    sign = 2 ** (bits - 1) if instance.signed else 0
    if table is None:
        return Normalisation(shift, mask, sign ^ (2**bits - 1) if inverted else sign, ceiling)
    top = 2**table.bits - 1
    values = top - table.values if inverted != table.falling else table.values
    return Normalisation(shift, mask, sign, ceiling, values.astype(np.uint8 if table.bits <= 8 else np.uint16))


def intensity_of(instance: Instance, table: ModalityTable | None, *, inverted: bool, polarity_source: str) -> Intensity:
    """Describe the normalised values."""
    relation = relation_of(instance)
    if table is not None and relation == "LOG":
        relation = "LIN"  # the purpose of a modality LUT beside LOG (PS3.3 C.8.7.1.1.2)
    return Intensity(
        photometric=text(instance.dataset, "PhotometricInterpretation", "MONOCHROME2"),
        bits_stored=instance.bits_stored if table is None else table.bits,
        relation=relation,
        inverted=inverted,
        polarity_source=polarity_source,
        window=_window(instance, table, inverted=inverted),
    )


def relation_of(instance: Instance) -> IntensityRelation:
    """Return LIN, LOG or DISP, ``unknown`` when the header says none of these."""
    word = find_text(instance, "FramePixelDataPropertiesSequence", "PixelIntensityRelationship").upper()
    return _RELATIONS.get(word, "unknown")


def _window(instance: Instance, table: ModalityTable | None, *, inverted: bool) -> tuple[float, float] | None:
    centre = find_number(instance, "FrameVOILUTSequence", "WindowCenter")
    width = find_number(instance, "FrameVOILUTSequence", "WindowWidth")
    if centre is None or width is None or width < 1:
        return None
    if table is not None:
        return (2**table.bits - 1 - centre if inverted != table.falling else centre), width
    slope = find_number(instance, "PixelValueTransformationSequence", "RescaleSlope") or 1.0
    intercept = find_number(instance, "PixelValueTransformationSequence", "RescaleIntercept") or 0.0
    centre, width = (centre - intercept) / slope, width / abs(slope)
    centre += 2 ** (instance.bits_stored - 1) if instance.signed else 0
    return (2**instance.bits_stored - 1 - centre if inverted else centre), width


def _first_mapped(instance: Instance, value: int) -> int:
    """The second value of LUTDescriptor is signed when the pixels are (PS3.3 C.11.1.1)."""
    return value - 2**16 if instance.signed and value >= 2**15 else value


def _lut_data(item: Dataset, *, big_endian: bool) -> npt.NDArray[np.uint16]:
    with quiet():
        raw = item.get("LUTData")
    if isinstance(raw, bytes):
        return np.array(
            struct.unpack(f"{'>' if big_endian else '<'}{len(raw) // 2}H", raw[: len(raw) // 2 * 2]), np.uint16
        )
    values = numbers(item, "LUTData")
    if any(not 0 <= one < 2**16 for one in values):
        return np.zeros(0, np.uint16)
    return np.array(values, np.uint16)
