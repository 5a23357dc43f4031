"""Where each frame of the pixel data lies, found without reading the pixels (PS3.5 annex A.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ClaireDSALib.dsa.decode_codecs import RLE
from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, read_bytes

Span = tuple[int, int]
"""(absolute offset, length) in bytes."""

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_MAX_FRAGMENTS = 500_000
"""More than any run needs; keeps a hostile file of empty items from taking minutes."""
_FRAME_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c")
"""JPEG and JPEG-LS start of image, JPEG 2000 codestream, JP2 file."""


@dataclass(frozen=True)
class FrameSpans:
    """The fragments of every frame, and what was odd about them."""

    frames: tuple[tuple[Span, ...], ...]
    warnings: tuple[str, ...] = ()


def native_spans(source: ByteSource, start: int, length: int, n_frames: int, frame_bytes: int) -> FrameSpans:
    """Cut uncompressed pixel data that begins at ``start`` into frames.

    Raises
    ------
    UnusableError
        When the file holds fewer bytes than the header promises.
    """
    promised = n_frames * frame_bytes
    available = source.size - start
    held = available if length == _UNDEFINED else min(length, available)
    if held < promised:
        whole = held // frame_bytes
        msg = f"truncated: {whole} of {n_frames} frame(s) are complete in the file; copy it again from its source"
        raise UnusableError(msg)
    frames = tuple(((start + k * frame_bytes, frame_bytes),) for k in range(n_frames))
    return FrameSpans(frames)


def encapsulated_spans(
    source: ByteSource,
    start: int,
    n_frames: int,
    transfer_syntax: str,
    extended_offsets: Sequence[int] = (),
) -> FrameSpans:
    """Group the fragments that follow ``start`` (the first byte after the pixel data element's header) into frames.

    Raises
    ------
    UnusableError
        When items are missing, cut or cannot be told apart.
    """
    items, complete = _walk_items(source, start)
    if not items:
        msg = "truncated: the pixel data holds no items"
        raise UnusableError(msg)
    offsets = _offset_table(source, items[0])
    fragments = items[1:]
    first = fragments[0][0] - 8 if fragments else 0
    frames, warnings = _group(source, fragments, n_frames, transfer_syntax, offsets or extended_offsets, first)
    if len(frames) < n_frames or (not complete and len(frames) <= n_frames):
        whole = len(frames) if complete else max(0, len(frames) - 1)
        if complete or _is_cut(source, items):
            msg = f"truncated: {min(whole, n_frames)} of {n_frames} frame(s) are complete in the file; copy it again"
            raise UnusableError(msg)
        warnings = (*warnings, "the pixel data has no end marker; the last frame may be incomplete")
    return FrameSpans(frames[:n_frames], warnings)


def _walk_items(source: ByteSource, start: int) -> tuple[list[Span], bool]:
    """Return the items and whether the sequence was closed by its delimiter."""
    items: list[Span] = []
    position, header = start, bytearray(8)
    with source.open() as stream:
        while len(items) <= _MAX_FRAGMENTS:
            stream.seek(position)
            if stream.readinto(header) < 8:  # type: ignore[attr-defined]
                return items, False
            length = struct.unpack_from("<L", header, 4)[0]
            if header[:4] == _SEQUENCE_END:
                return items, True
            if header[:4] != _ITEM or length == _UNDEFINED:
                return items, False
            items.append((position + 8, length))
            position += 8 + length
    msg = f"the pixel data is cut into more than {_MAX_FRAGMENTS} fragments"
    raise UnusableError(msg)


def _is_cut(source: ByteSource, items: list[Span]) -> bool:
    offset, length = items[-1]
    return offset + length > source.size or len(items) == 1


def _offset_table(source: ByteSource, item: Span) -> Sequence[int]:
    offset, length = item
    if length == 0 or length % 4 or offset + length > source.size or length > 4 * _MAX_FRAGMENTS:
        return ()
    return struct.unpack(f"<{length // 4}L", read_bytes(source, offset, length))


def _group(
    source: ByteSource,
    fragments: list[Span],
    n_frames: int,
    transfer_syntax: str,
    offsets: Sequence[int],
    base: int,
) -> tuple[tuple[tuple[Span, ...], ...], tuple[str, ...]]:
    if n_frames == 1 and transfer_syntax != RLE and fragments:
        return (tuple(fragments),), ()
    if len(fragments) <= n_frames or transfer_syntax == RLE:
        return tuple((one,) for one in fragments), _surplus(len(fragments), n_frames)
    by_table = _group_by_starts(fragments, {base + offset + 8 for offset in offsets})
    if len(offsets) == n_frames == len(by_table):
        return by_table, ()
    by_marker = _group_by_starts(fragments, {one[0] for one in fragments if _starts_frame(source, one)})
    if len(by_marker) >= n_frames:
        return by_marker, _surplus(len(by_marker), n_frames)
    msg = f"{len(fragments)} fragments of pixel data cannot be told apart into {n_frames} frames"
    raise UnusableError(msg)


def _surplus(found: int, promised: int) -> tuple[str, ...]:
    if found <= promised:
        return ()
    return (f"the file holds {found} frames, its header promises {promised}; the surplus is not used",)


def _group_by_starts(fragments: list[Span], starts: set[int]) -> tuple[tuple[Span, ...], ...]:
    edges = [k for k, (offset, _) in enumerate(fragments) if offset in starts]
    if not edges or edges[0] != 0:
        return ()
    return tuple(tuple(fragments[a:b]) for a, b in pairwise([*edges, len(fragments)]))


def _starts_frame(source: ByteSource, fragment: Span) -> bool:
    offset, length = fragment
    head = read_bytes(source, offset, min(4, length, max(0, source.size - offset)))
    return head.startswith(_FRAME_STARTS)
