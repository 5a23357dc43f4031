"""Multipart bodies come apart the same however they are cut, and broken ones are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ClaireDSALib.pacs.multipart import DicomBody, MultipartError, MultipartReader, boundary_of

_PARTS = st.lists(st.one_of(st.binary(max_size=60), st.just(b"\r\n--b"), st.just(b"--bound\r\n")), max_size=4)


def _body(parts: list[bytes], boundary: bytes = b"bound-7") -> bytes:
    made = b"a preamble that means nothing\r\n"
    for number, part in enumerate(parts):
        made += b"--" + boundary + b"\r\nContent-Type: application/dicom\r\nX-Number: %d\r\n\r\n" % number
        made += part + b"\r\n"
    return made + b"--" + boundary + b"--\r\nan epilogue"


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


@given(_PARTS, st.integers(1, 40))
def test_parts_are_the_same_whatever_the_size_of_the_pieces(parts, size):
    reader = MultipartReader(_cut(_body(parts), size), b"bound-7")
    found = [(headers["x-number"], b"".join(data)) for headers, data in reader]
    assert found == [(str(number), part) for number, part in enumerate(parts)]


@given(_PARTS.filter(bool), st.data())
def test_a_body_that_ends_early_is_an_error_and_whole_parts_come_before_it(parts, data):
    body = _body(parts)
    end = data.draw(st.integers(0, body.index(b"--bound-7--") + 8))
    whole: list[bytes] = []
    with pytest.raises(MultipartError, match="ended before"):
        whole.extend(b"".join(part) for _, part in MultipartReader(_cut(body[:end], 16), b"bound-7"))
    assert whole == parts[: len(whole)]


def test_a_part_that_nobody_reads_is_passed_over():
    reader = MultipartReader([_body([b"one" * 100, b"two"])], b"bound-7")
    assert [headers["x-number"] for headers, _ in reader] == ["0", "1"]


def test_endless_headers_are_refused():
    endless = iter(lambda: b"x" * 10_000, None)
    with pytest.raises(MultipartError, match="bytes of headers"):
        list(MultipartReader((b"--b\r\n", *[next(endless) for _ in range(20)]), b"b"))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ('multipart/related; boundary="a b=c"; type="application/dicom"', b"a b=c"),
        ("Multipart/Related;BOUNDARY=x", b"x"),
    ],
)
def test_the_boundary_is_found_in_the_header(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", ["", "text/html", "multipart/related", f"multipart/related; boundary={'x' * 71}"]
)
def test_a_header_without_a_usable_boundary_is_refused(content_type):
    with pytest.raises(MultipartError, match="a multipart type with a boundary is needed"):
        boundary_of(content_type)


def test_what_is_written_is_read_back_and_as_long_as_it_says(tmp_path: Path):
    files = [tmp_path / "one", tmp_path / "two"]
    files[0].write_bytes(b"\r\n--" * 1000)
    files[1].write_bytes(b"")
    body = DicomBody(files)
    data = b"".join(body)
    assert len(data) == len(body)
    parts = [b"".join(part) for _, part in MultipartReader([data], boundary_of(body.content_type))]
    assert parts == [path.read_bytes() for path in files]
