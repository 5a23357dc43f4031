"""Decoders of single compressed frames, by DICOM transfer syntax (PS3.5 annex A.4).

imagecodecs is used directly: it releases the GIL, so that threads decode in parallel, and it reads
12-bit extended JPEG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_codestream import CodestreamHeader, examine_codestream
from ClaireDSALib.dsa.decode_errors import DecodeError

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})

_CODESTREAM_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
_RLE_HEADER_BYTES = 64
_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError)


@dataclass(frozen=True)
class FrameFormat:
    """What the DICOM header promises about each frame."""

    rows: int
    columns: int
    bits_allocated: int
    transfer_syntax: str

    @property
    def dtype(self) -> np.dtype:
        """Container of the stored values: uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits_allocated <= 8 else np.uint16)


def syntax_name(uid: str) -> str:
    """Return the plain name of a transfer syntax, empty when unknown here."""
    return {RLE: "RLE", **_CODESTREAM_SYNTAXES}.get(uid, "")


def refusal(uid: str) -> str:
    """Return why a transfer syntax cannot be decoded and what to install; empty when it can."""
    if uid in NATIVE:
        return ""
    missing = _missing_codec(uid)
    if missing is None:
        return f"transfer syntax {uid} is not supported; convert the file with dcmtk or gdcm to an uncompressed one"
    if missing:
        return f"transfer syntax {uid} needs the {missing} decoder; install it with: pip install -U imagecodecs"
    return ""


def decode(data: bytes, form: FrameFormat, out: npt.NDArray[np.unsignedinteger] | None = None) -> npt.NDArray:
    """Decode one frame to ``(rows, columns)`` uint8 or uint16, bits as stored (signed values keep their bits).

    Parameters
    ----------
    data : bytes
        Fragments of the frame, joined.
    form : FrameFormat
        What the header promises; a codestream that says otherwise is refused before it is decoded.
    out : (rows, columns) ndarray of ``form.dtype``, optional
        Reused memory for the result.

    Raises
    ------
    DecodeError
        When the data is damaged or of another shape.
    """
    if form.transfer_syntax == RLE:
        pixels = _run(_decode_rle, data, form)
    else:
        header = check_codestream(data, form)
        pixels = _run(_decoder_of(header), data, _fitting(out, header))
    return _as_stored(pixels, form, out)


def check_codestream(data: bytes, form: FrameFormat) -> CodestreamHeader:
    """Read the header of a compressed frame and refuse it when the DICOM header promises something else.

    Raises
    ------
    DecodeError
    """
    header = examine_codestream(data)
    if (header.rows, header.columns) != (form.rows, form.columns) or header.components != 1:
        msg = (
            f"the compressed frame holds {header.rows} x {header.columns} pixels of {header.components} component(s);"
            f" the header promises {form.rows} x {form.columns} of 1"
        )
        raise DecodeError(msg)
    if not 2 <= header.precision <= 8 * form.dtype.itemsize:
        msg = (
            f"the compressed frame holds {header.precision} bits per pixel; the header allocates {form.bits_allocated}"
        )
        raise DecodeError(msg)
    return header


def _missing_codec(uid: str) -> str | None:
    if uid == RLE:
        needed = ["DICOMRLE"]
    elif uid in _CODESTREAM_SYNTAXES:
        name = _CODESTREAM_SYNTAXES[uid]
        needed = ["JPEG2K" if "2" in name else "JPEGLS" if "LS" in name else "JPEG8"]
    else:
        return None
    return next((name for name in needed if not getattr(imagecodecs, name).available), "")


def _decoder_of(header: CodestreamHeader) -> Callable[..., npt.NDArray]:
    if header.family == "jpeg2000":
        return _decode_jpeg2000
    if header.family == "jpegls":
        return _decode_jpegls
    return _decode_jpeg


def _decode_jpeg(data: bytes, out: npt.NDArray | None) -> npt.NDArray:
    return imagecodecs.jpeg8_decode(data, out=out)


def _decode_jpegls(data: bytes, out: npt.NDArray | None) -> npt.NDArray:
    return imagecodecs.jpegls_decode(data, out=out)


def _decode_jpeg2000(data: bytes, out: npt.NDArray | None) -> npt.NDArray:  # noqa: ARG001 - OpenJPEG allocates anyway
    """Decode JPEG 2000 and HTJ2K: OpenJPH, twice as fast for the latter, gives damaged frames without an error."""
    return imagecodecs.jpeg2k_decode(data, numthreads=1)


def _decode_rle(data: bytes, form: FrameFormat) -> npt.NDArray:
    segments = int.from_bytes(data[:4], "little")
    if len(data) < _RLE_HEADER_BYTES or segments != form.dtype.itemsize:
        msg = f"the RLE frame has {segments} segments; {form.dtype.itemsize} are needed"
        raise DecodeError(msg)
    pixels = np.zeros((form.rows, form.columns), form.dtype)
    decoded = imagecodecs.dicomrle_decode(
        data, form.dtype.newbyteorder("<"), out=pixels.reshape(-1).view(np.uint8).data
    )
    if len(decoded) != pixels.nbytes:
        msg = f"the RLE frame unpacks to {len(decoded)} of {pixels.nbytes} bytes"
        raise DecodeError(msg)
    return pixels


def _run(decoder: Callable[..., npt.NDArray], *arguments: object) -> npt.NDArray:
    try:
        return decoder(*arguments)
    except DecodeError:
        raise
    except _DECODER_ERRORS as error:
        msg = f"the compressed pixels are damaged ({type(error).__name__})"
        raise DecodeError(msg) from error


def _fitting(out: npt.NDArray | None, header: CodestreamHeader) -> npt.NDArray | None:
    """Decoders write 8-bit streams as uint8 and longer ones as uint16, whatever the header allocates."""
    if out is None or out.dtype.itemsize != (1 if header.precision <= 8 else 2) or header.signed:
        return None
    return out


def _as_stored(pixels: npt.NDArray, form: FrameFormat, out: npt.NDArray | None) -> npt.NDArray:
    if pixels.shape != (form.rows, form.columns):
        msg = f"the frame decoded to {pixels.shape}; the header promises {(form.rows, form.columns)}"
        raise DecodeError(msg)
    if pixels is out or (out is not None and pixels.base is out):
        return out
    stored = pixels.astype(form.dtype, copy=False)
    if out is None:
        return stored
    np.copyto(out, stored)
    return out
