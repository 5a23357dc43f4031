"""What a compressed frame says about itself, read before any decoder allocates memory for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ClaireDSALib.dsa.decode_errors import DecodeError

_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a length: TEM and RST0-7 (ITU-T T.81, table B.1)."""
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""SOF0-15 without DHT, JPG and DAC; SOF55 of JPEG-LS (ITU-T T.87)."""
_MAX_TILES = 65535
"""Largest number of tiles a JPEG 2000 codestream can number (ITU-T T.800, A.5.1)."""


@dataclass(frozen=True)
class CodestreamHeader:
    """Shape and precision that a compressed frame declares."""

    family: str
    """``jpeg``, ``jpeg_lossless``, ``jpegls`` or ``jpeg2000``."""
    rows: int
    columns: int
    components: int
    precision: int
    """Bits per sample."""
    signed: bool = False


def examine_codestream(data: bytes) -> CodestreamHeader:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 frame.

    Raises
    ------
    DecodeError
        When the bytes are none of these or end before the header does.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _examine_jpeg(data)
        return _examine_jpeg2000(data)
    except (struct.error, IndexError) as error:
        msg = "the compressed frame ends inside its header"
        raise DecodeError(msg) from error


def _examine_jpeg(data: bytes) -> CodestreamHeader:
    for marker, start in _jpeg_segments(data):
        if marker in _FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, start)
            family = {0xF7: "jpegls", 0xC3: "jpeg_lossless"}.get(marker, "jpeg")
            return CodestreamHeader(family, rows, columns, components, precision)
        if marker in (0xD9, 0xDA):
            break
    msg = "the JPEG frame has no image header"
    raise DecodeError(msg)


def _jpeg_segments(data: bytes):
    position = 2
    while True:
        if data[position] != 0xFF:
            msg = f"the JPEG frame has no marker at byte {position}"
            raise DecodeError(msg)
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _STANDALONE_MARKERS:
            position += 2
        else:
            yield marker, position + 4
            position += 2 + max(2, struct.unpack_from(">H", data, position + 2)[0])


def _examine_jpeg2000(data: bytes) -> CodestreamHeader:
    start = 0 if data[:4] == b"\xff\x4f\xff\x51" else data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0:
        msg = f"the compressed frame starts with {data[:4].hex() or 'nothing'}, which is no JPEG or JPEG 2000 header"
        raise DecodeError(msg)
    x1, y1, x0, y0, tile_w, tile_h, tile_x0, tile_y0, components = struct.unpack_from(">8LH", data, start + 8)
    depth, step_x, step_y = struct.unpack_from(">3B", data, start + 42)
    if not (x0 < x1 and y0 < y1 and tile_w and tile_h and step_x == step_y == 1):
        msg = "the JPEG 2000 header describes an empty or subsampled image"
        raise DecodeError(msg)
    tiles = -(-(x1 - tile_x0) // tile_w) * -(-(y1 - tile_y0) // tile_h)
    if not 0 < tiles <= _MAX_TILES:
        msg = f"the JPEG 2000 header describes {tiles} tiles; at most {_MAX_TILES} are allowed"
        raise DecodeError(msg)
    return CodestreamHeader("jpeg2000", y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, signed=bool(depth & 0x80))
