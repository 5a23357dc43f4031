"""Read the header of one DICOM instance without its pixels, and values from it without exceptions."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from ClaireDSALib.dsa.decode_codecs import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource
from ClaireDSALib.dsa.dicom_inflate import inflate
from ClaireDSALib.dsa.dicom_tags import HEADER_KEYWORDS

PARSE_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    LookupError,
    struct.error,
    zlib.error,
)
"""Whatever a damaged header makes the parser raise."""

_TAGS: dict[str, int] = {}
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Explicit VRs with a 32-bit length (PS3.5 section 7.1.2)."""
_MAX_VALUE_BYTES = 16 * 2**20
"""Header elements longer than this are passed over: no value needed here comes near."""


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel data begins."""

    offset: int
    """First byte of the value."""
    length: int
    """As declared; 0xFFFFFFFF when encapsulated."""


@dataclass(frozen=True)
class Header:
    """Parsed header of one instance."""

    dataset: Dataset
    transfer_syntax: str
    source: ByteSource
    """The bytes that ``pixels`` refers to: inflated ones for a deflated file."""
    big_endian: bool
    pixels: PixelElement | None


def read_header(source: ByteSource) -> Header:
    """Parse everything in front of the pixels.

    Raises
    ------
    UnusableError
        When the file is no DICOM file, or its header is damaged.
    """
    with source.open() as stream, quiet():
        head = stream.read(132)
        if not head:
            msg = "the file is empty"
            raise UnusableError(msg)
        if head[128:] != b"DICM" and not _looks_like_bare_data_set(head):
            msg = "not a DICOM file"
            raise UnusableError(msg)
        stream.seek(0)
        try:
            return _parse(stream, source)
        except PARSE_ERRORS as error:
            if isinstance(error, UnusableError):
                raise
            msg = f"the DICOM header is damaged ({type(error).__name__})"
            raise UnusableError(msg) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning about, or refusing, values that we judge ourselves.

    Values are converted when they are first looked at, so this surrounds a whole reading.
    """
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def text(dataset: Dataset, keyword: str, default: str = "") -> str:
    """Return an attribute as plain text, ``default`` when absent or unreadable."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return default
    return str(value).strip("\0 ") or default


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a multi-valued attribute as upper-case words."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return ()
    values = [value] if isinstance(value, str) else value
    try:
        return tuple(str(one).strip().upper() for one in values)
    except TypeError:
        return (str(value).strip().upper(),)


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return an attribute as finite floats; empty when absent or when any value is no number."""
    value = _value(dataset, keyword)
    if value is None or (isinstance(value, (str, bytes)) and not value):
        return ()
    values = [value] if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__") else value
    try:
        found = tuple(float(one) for one in values)
    except (ValueError, TypeError, OverflowError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value as a finite float, None when absent."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def integers(dataset: Dataset, keyword: str) -> tuple[int, ...]:
    """Return an attribute as integers; empty when absent or when any value is no whole number."""
    found = numbers(dataset, keyword)
    return tuple(int(one) for one in found) if all(one == int(one) for one in found) else ()


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return the first value as an integer, None when absent."""
    found = integers(dataset, keyword)
    return found[0] if found else None


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence, empty when absent or damaged."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, (str, bytes)):
        return ()
    try:
        return tuple(item for item in value if isinstance(item, Dataset))
    except PARSE_ERRORS:
        return ()


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """Return the first item of a sequence, or an empty one."""
    found = items(dataset, keyword)
    return found[0] if found else Dataset()


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        element = dataset.get(_TAGS.get(keyword) or _TAGS.setdefault(keyword, tag_for_keyword(keyword) or 0))
        return None if element is None else element.value
    except PARSE_ERRORS:
        return None


def _looks_like_bare_data_set(head: bytes) -> bool:
    """A data set without preamble begins with a low element of group 0002 or 0008, little endian."""
    group, element = struct.unpack_from("<HH", head.ljust(4, b"\0"))
    return group in (0x0002, 0x0008) and element <= 0x0100 and len(head) == 132


def _parse(stream: BinaryIO, source: ByteSource) -> Header:
    meta = _transfer_syntax(stream)
    if meta == DEFLATED:
        source = inflate(stream, source)
        with source.open() as inflated:
            return _parse_plain(inflated, source, meta)
    return _parse_plain(stream, source, meta)


def _parse_plain(stream: BinaryIO, source: ByteSource, transfer_syntax: str) -> Header:
    stream.seek(0)
    dataset = pydicom.dcmread(
        stream,
        stop_before_pixels=True,
        force=True,
        specific_tags=list(HEADER_KEYWORDS),
        defer_size=_MAX_VALUE_BYTES,
    )
    implicit, little = dataset.original_encoding
    pixels = _pixel_element(stream, implicit=bool(implicit), little=little is not False)
    if not transfer_syntax:
        transfer_syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE
    return Header(dataset, transfer_syntax, source, little is False, pixels)


def _transfer_syntax(stream: BinaryIO) -> str:
    head = stream.read(132)
    stream.seek(132 if head[128:] == b"DICM" else 0)
    meta = pydicom.filereader._read_file_meta_info(stream)
    return str(meta.get("TransferSyntaxUID", "") or "")


def _pixel_element(stream: BinaryIO, *, implicit: bool, little: bool) -> PixelElement | None:
    """Read element headers from the stream's position to the pixel data (7FE0,0010)."""
    order = "<" if little else ">"
    while True:
        header = stream.read(8)
        if len(header) < 8:
            return None
        group, element = struct.unpack_from(order + "HH", header)
        tag = group << 16 | element
        if tag not in _PIXEL_TAGS and tag not in (0x7FE00001, 0x7FE00002, 0x7FE00003):
            return None
        if implicit:
            length = struct.unpack_from(order + "L", header, 4)[0]
        elif header[4:6] in _LONG_LENGTH_VRS:
            length = struct.unpack(order + "L", stream.read(4))[0]
        else:
            length = struct.unpack_from(order + "H", header, 6)[0]
        if tag == 0x7FE00010:
            return PixelElement(stream.tell(), length)
        if tag in _PIXEL_TAGS:
            msg = "the pixels are floating point numbers, which angiographic runs are not"
            raise UnusableError(msg)
        stream.seek(length, io.SEEK_CUR)


def content_hash(source: ByteSource) -> str:
    """Return a hash of the first bytes, to name an instance that has no UID."""
    with source.open() as stream:
        return hashlib.sha256(stream.read(1 << 16)).hexdigest()
