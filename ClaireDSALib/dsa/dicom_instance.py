"""One SOP instance that may be used: judged from its header, frames located, nothing decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from pydicom.dataset import Dataset

from ClaireDSALib.dsa.decode_codecs import EXPLICIT_BIG, NATIVE, RLE, FrameFormat, check_codestream, refusal
from ClaireDSALib.dsa.decode_errors import DecodeError, UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, read_bytes
from ClaireDSALib.dsa.dicom_fragments import FrameSpans, Span, encapsulated_spans, native_spans
from ClaireDSALib.dsa.dicom_header import Header, content_hash, integer, items, quiet, read_header, text

XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
XRF = "1.2.840.10008.5.1.4.1.1.12.2"
ENHANCED_XRF = "1.2.840.10008.5.1.4.1.1.12.2.1"
XA_BIPLANE_RETIRED = "1.2.840.10008.5.1.4.1.1.12.3"
SECONDARY_CAPTURE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
    }
)
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"

_ANGIOGRAPHIC = frozenset({XA, ENHANCED_XA, XRF, ENHANCED_XRF, XA_BIPLANE_RETIRED})
_ENHANCED = frozenset({ENHANCED_XA, ENHANCED_XRF})
_MODALITIES = frozenset({"XA", "RF"})
_VOLUMES = frozenset({"1.2.840.10008.5.1.4.1.1.13.1.1", "1.2.840.10008.5.1.4.1.1.13.1.2"})
_MAX_FRAMES = 100_000
_MAX_FRAME_PIXELS = 16384 * 16384
"""Four times the side of the largest detectors; a header that asks for more is lying."""
_UNDEFINED = 0xFFFFFFFF
_CODESTREAM_HEAD_BYTES = 1 << 20
"""Markers in front of the image header (comments, colour profiles) are shorter than this."""


@dataclass(frozen=True)
class Instance:
    """A usable SOP instance.

    ``label`` is the path below what the user named. ``bits_stored`` counts from the least
    significant bit that ``high_bit`` leaves.
    """

    label: str
    dataset: Dataset
    sop_instance_uid: str
    sop_class_uid: str
    form: FrameFormat
    source: ByteSource
    spans: tuple[tuple[Span, ...], ...]
    bits_stored: int
    high_bit: int
    signed: bool
    big_endian: bool
    warnings: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        return len(self.spans)

    @property
    def is_enhanced(self) -> bool:
        """Whether attributes hide in functional groups (PS3.3 C.7.6.16)."""
        return self.sop_class_uid in _ENHANCED

    @cached_property
    def shared(self) -> Dataset:
        """Shared functional groups, empty for classic instances."""
        found = items(self.dataset, "SharedFunctionalGroupsSequence")
        return found[0] if found else Dataset()

    @cached_property
    def per_frame(self) -> tuple[Dataset, ...]:
        """Per-frame functional groups, empty unless there is one for every frame."""
        found = items(self.dataset, "PerFrameFunctionalGroupsSequence")
        return found[: self.n_frames] if len(found) >= self.n_frames else ()


def examine_instance(label: str, source: ByteSource) -> Instance:
    """Judge one file by its header.

    Raises
    ------
    UnusableError
        With one sentence why the file is not used.
    """
    header = read_header(source)
    dataset = header.dataset
    _check_kind(dataset, header)
    form, n_frames = _format(dataset, header)
    found = _spans(header, form, n_frames)
    bits_stored, high_bit, warnings = _bits(dataset, form, _stream_precision(header.source, form, found))
    return Instance(
        label=label,
        dataset=dataset,
        sop_instance_uid=text(dataset, "SOPInstanceUID") or f"unnamed.{content_hash(source)[:32]}",
        sop_class_uid=text(dataset, "SOPClassUID"),
        form=form,
        source=header.source,
        spans=found.frames,
        bits_stored=bits_stored,
        high_bit=high_bit,
        signed=integer(dataset, "PixelRepresentation") == 1,
        big_endian=header.big_endian or header.transfer_syntax == EXPLICIT_BIG,
        warnings=(*found.warnings, *warnings),
    )


def _check_kind(dataset: Dataset, header: Header) -> None:
    sop_class, modality = text(dataset, "SOPClassUID"), text(dataset, "Modality")
    if sop_class == MEDIA_DIRECTORY or "DirectoryRecordSequence" in dataset:
        msg = "a DICOMDIR is an index of files, not an image"
    elif items(dataset, "EncryptedAttributesSequence") and not modality:
        msg = "the header is encrypted; decrypt the file first"
    elif sop_class in _VOLUMES:
        msg = "a reconstructed X-ray volume, not an angiographic run"
    elif modality not in _MODALITIES and (modality or sop_class not in _ANGIOGRAPHIC):
        msg = f"modality {_shown(modality)}: not an X-ray angiogram (XA or RF)"
    elif sop_class and sop_class not in _ANGIOGRAPHIC | SECONDARY_CAPTURE:
        msg = f"{_class_name(sop_class)} is not an angiographic image"
    elif header.pixels is None:
        msg = "no pixel data in the file"
    elif (samples := integer(dataset, "SamplesPerPixel")) not in (None, 1):
        msg = f"a colour image ({samples} samples per pixel), not an angiographic run"
    elif (photometric := text(dataset, "PhotometricInterpretation", "MONOCHROME2")) not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        msg = f"photometric interpretation {_shown(photometric)} is not a grey image"
    else:
        msg = refusal(header.transfer_syntax)
    if msg:
        raise UnusableError(msg)


def _format(dataset: Dataset, header: Header) -> tuple[FrameFormat, int]:
    rows, columns = (integer(dataset, keyword) for keyword in ("Rows", "Columns"))
    allocated = integer(dataset, "BitsAllocated")
    n_frames = 1 if text(dataset, "NumberOfFrames") == "" else integer(dataset, "NumberOfFrames")
    if not rows or not columns or rows < 0 or columns < 0 or rows * columns > _MAX_FRAME_PIXELS:
        msg = f"the header gives an impossible image size: {rows} rows x {columns} columns"
        raise UnusableError(msg)
    if n_frames is None or not 0 < n_frames <= _MAX_FRAMES:
        msg = f"the header gives an impossible number of frames: {n_frames if n_frames is not None else 'not a number'}"
        raise UnusableError(msg)
    if allocated not in (8, 16):
        msg = f"{allocated} bits are allocated per pixel; 8 and 16 can be read"
        raise UnusableError(msg)
    return FrameFormat(rows, columns, allocated, header.transfer_syntax), n_frames


def _stream_precision(source: ByteSource, form: FrameFormat, found: FrameSpans) -> int:
    """Bits per sample that the first compressed frame declares; 0 when there is none to ask."""
    if form.transfer_syntax in NATIVE or form.transfer_syntax == RLE:
        return 0
    offset, length = found.frames[0][0]
    try:
        return check_codestream(read_bytes(source, offset, min(length, _CODESTREAM_HEAD_BYTES)), form).precision
    except DecodeError as error:
        msg = f"undecodable: {error}"
        raise UnusableError(msg) from error


def _bits(dataset: Dataset, form: FrameFormat, precision: int) -> tuple[int, int, tuple[str, ...]]:
    stored = integer(dataset, "BitsStored")
    if stored is not None and stored < precision < form.bits_allocated:  # many writers declare the whole container
        note = f"the compressed pixels hold {precision} bits, the header promises {stored}; {precision} are used"
        return precision, precision - 1, (note,)
    if stored is None or not 1 <= stored <= form.bits_allocated:
        note = f"BitsStored {stored} is impossible; {form.bits_allocated} assumed"
        return form.bits_allocated, form.bits_allocated - 1, (note,)
    high = integer(dataset, "HighBit")
    if high is None or not stored - 1 <= high < form.bits_allocated:
        return stored, stored - 1, ()
    return stored, high, ()


def _spans(header: Header, form: FrameFormat, n_frames: int) -> FrameSpans:
    assert header.pixels is not None
    offset, length = header.pixels.offset, header.pixels.length
    if length == 0:
        msg = "no pixel data in the file"
        raise UnusableError(msg)
    if form.transfer_syntax in NATIVE:
        frame_bytes = form.rows * form.columns * form.dtype.itemsize
        return native_spans(header.source, offset, length, n_frames, frame_bytes)
    if length != _UNDEFINED:
        msg = "the pixel data is marked as compressed but not cut into items"
        raise UnusableError(msg)
    offsets = _extended_offsets(header.dataset)
    return encapsulated_spans(header.source, offset, n_frames, form.transfer_syntax, offsets)


def _extended_offsets(dataset: Dataset) -> tuple[int, ...]:
    with quiet():
        value = getattr(dataset.get("ExtendedOffsetTable"), "value", dataset.get("ExtendedOffsetTable"))
    if not isinstance(value, bytes) or len(value) % 8:
        return ()
    return struct.unpack(f"<{len(value) // 8}Q", value)


def _class_name(uid: str) -> str:
    with quiet():
        from pydicom.uid import UID

        name = UID(uid).name
    return f"a {name}" if name != uid else f"SOP class {_shown(uid)}"


def _shown(value: str) -> str:
    """Quote a short code from the header; anything longer might be somebody's name in the wrong place."""
    return value if value and len(value) <= 64 and value.replace("_", "").replace(".", "").isalnum() else "unknown"
