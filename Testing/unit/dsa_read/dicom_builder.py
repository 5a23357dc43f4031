"""Simulated angiograms as DICOM files: every transfer syntax, every attribute the reader looks at."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, generate_uid

XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K = "1.2.840.10008.1.2.4.203"

LOSSLESS = (
    IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000_LOSSLESS,
    HTJ2K_LOSSLESS,
)  # fmt: skip
LOSSY = (JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000, HTJ2K)
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)

PATIENT_NAME = "Muster^Erika"
PATIENT_ID = "PID-4711-XYZ"
BIRTH_DATE = "19580213"


def raw_run(n_frames: int = 8, side: int = 64, bits: int = 12, seed: int = 0, *, fill: float = 0.5) -> np.ndarray:
    """Return a simulated unsubtracted run ``(T, side, side)``, contrast dark: anatomy, a filling vessel, noise."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side] / side
    anatomy = 0.85 - 0.5 * np.exp(-((row - 0.5) ** 2 + (column - 0.5) ** 2) / 0.12)
    anatomy += 0.05 * np.sin(9 * row) * np.cos(7 * column)
    vessel = _vessel(side)
    bolus = np.exp(-(((np.arange(n_frames) / n_frames - 0.45) / 0.13) ** 2))
    frames = anatomy * np.exp(-fill * bolus[:, None, None] * vessel) + rng.normal(0, 0.004, (n_frames, side, side))
    top = 2**bits - 1
    return np.clip(frames * top, 0, top).astype(np.uint8 if bits <= 8 else np.uint16)


def subtracted_run(n_frames: int = 8, side: int = 64, bits: int = 12, seed: int = 0) -> np.ndarray:
    """Return a simulated subtracted run ``(T, side, side)``, contrast dark on a flat background."""
    rng = np.random.default_rng(seed)
    bolus = np.exp(-(((np.arange(n_frames) / n_frames - 0.45) / 0.13) ** 2))
    frames = 0.6 - 0.3 * bolus[:, None, None] * _vessel(side) + rng.normal(0, 0.006, (n_frames, side, side))
    top = 2**bits - 1
    return np.clip(frames * top, 0, top).astype(np.uint8 if bits <= 8 else np.uint16)


def _vessel(side: int) -> np.ndarray:
    row, column = np.mgrid[:side, :side] / side
    path = 0.5 + 0.22 * np.sin(5 * row)
    branch = 0.35 + 0.4 * row
    return np.exp(-(((column - path) / 0.02) ** 2)) + 0.7 * np.exp(-(((column - branch) / 0.015) ** 2)) * (row > 0.4)


def build(
    frames: np.ndarray,
    *,
    transfer_syntax: str = EXPLICIT,
    bits_stored: int | None = None,
    sop_class: str = XA,
    predictor: int = 1,
    extended_offsets: bool = False,
    fragments_per_frame: int = 1,
    **attributes: Any,
) -> Dataset:
    """Make a data set of ``(T, H, W)`` stored values, encoded; ``attributes`` are set last, None deletes."""
    frames = np.atleast_3d(frames)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT_NAME, PATIENT_ID, BIRTH_DATE
    ds.Modality = "XA"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    container = 8 * frames.dtype.itemsize
    ds.BitsAllocated = container
    ds.BitsStored = bits_stored or max(2, int(frames.max()).bit_length())
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(frames.dtype.kind == "i")
    _set_pixels(ds, frames, transfer_syntax, predictor, extended_offsets, fragments_per_frame)
    with unchecked():
        for keyword, value in attributes.items():
            if keyword in ds:
                delattr(ds, keyword)
            if value is not None:
                setattr(ds, keyword, value)
    if "PixelData" in ds and transfer_syntax not in NATIVE:
        ds["PixelData"].is_undefined_length = True
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", generate_uid())
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a data set to a file and return its path."""
    path.write_bytes(to_bytes(ds))
    return path


def to_bytes(ds: Dataset) -> bytes:
    """Return the bytes of the file."""
    stream = BytesIO()
    with unchecked():
        ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write_run(path: Path, frames: np.ndarray | None = None, **options: Any) -> Path:
    """Build and save; a small raw run unless frames are given."""
    return save(build(raw_run() if frames is None else frames, **options), path)


def item(**attributes: Any) -> Dataset:
    """Make a sequence item."""
    ds = Dataset()
    with unchecked():
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    return ds


def unchecked() -> AbstractContextManager[None]:
    """Let pydicom write what the standard forbids."""
    return pydicom.config.disable_value_validation()


def build_enhanced(
    frames: np.ndarray,
    *,
    times: Sequence[str] = (),
    angles: Sequence[tuple[float, float]] = (),
    shared: dict[str, Dataset] | None = None,
    **attributes: Any,
) -> Dataset:
    """Make an Enhanced XA data set: ``times`` are DT values per frame, ``shared`` maps macro to its item."""
    ds = build(frames, sop_class=ENHANCED_XA, **attributes)
    ds.SharedFunctionalGroupsSequence = [item(**{macro: [one] for macro, one in (shared or {}).items()})]
    groups = []
    for k in range(len(frames)):
        group = Dataset()
        if times:
            group.FrameContentSequence = [item(FrameAcquisitionDateTime=times[k])]
        if angles:
            primary, secondary = angles[k]
            group.PositionerPositionSequence = [
                item(PositionerPrimaryAngle=primary, PositionerSecondaryAngle=secondary)
            ]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    return ds


def encode(frame: np.ndarray, transfer_syntax: str, bits: int, predictor: int = 1) -> bytes:
    """Compress one frame."""
    frame = np.ascontiguousarray(frame)
    if transfer_syntax == RLE:
        return rle(frame)
    if transfer_syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        precision = 8 if frame.dtype.itemsize == 1 else max(bits, 9)
        return imagecodecs.jpeg8_encode(frame, lossless=True, predictor=predictor, bitspersample=precision)
    if transfer_syntax in (JPEG_BASELINE, JPEG_EXTENDED):
        return imagecodecs.jpeg8_encode(frame, level=98, bitspersample=8 if frame.dtype.itemsize == 1 else 12)
    if transfer_syntax in (JPEG_LS, JPEG_LS_NEAR):
        return imagecodecs.jpegls_encode(frame, level=0 if transfer_syntax == JPEG_LS else 2)
    if transfer_syntax in (JPEG_2000_LOSSLESS, JPEG_2000):
        lossless = transfer_syntax == JPEG_2000_LOSSLESS
        return imagecodecs.jpeg2k_encode(
            frame, level=0 if lossless else 60, codecformat="j2k", reversible=lossless, bitspersample=bits
        )
    return imagecodecs.htj2k_encode(frame, level=None if transfer_syntax == HTJ2K_LOSSLESS else 0.0001)


def rle(frame: np.ndarray) -> bytes:
    """Encode with RLE (PS3.5 annex G): byte planes, most significant first, each packed."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8).reshape(frame.size, -1).T
    packed = [imagecodecs.packbits_encode(np.ascontiguousarray(plane).tobytes()) for plane in planes]
    packed = [one + b"\0" * (len(one) % 2) for one in packed]
    offsets = [64 + sum(map(len, packed[:k])) for k in range(len(packed))]
    header = np.array([len(packed), *offsets], "<u4").tobytes()
    return header.ljust(64, b"\0") + b"".join(packed)


def _set_pixels(
    ds: Dataset, frames: np.ndarray, transfer_syntax: str, predictor: int, extended: bool, pieces: int
) -> None:
    if transfer_syntax in NATIVE:
        order = ">" if transfer_syntax == BIG_ENDIAN else "<"
        data = frames.astype(frames.dtype.newbyteorder(order)).tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if frames.dtype.itemsize == 1 and transfer_syntax != IMPLICIT else "OW"
        return
    encoded = [encode(frame, transfer_syntax, int(ds.BitsStored), predictor) for frame in frames]
    if extended:
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(encoded)
    else:
        ds.PixelData = encapsulate(encoded, fragments_per_frame=pieces)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def lossless_jpeg(frame: np.ndarray, predictor: int, bits: int) -> bytes:
    """Encode with any of the seven predictors (ITU-T T.81 annex H), to check decoders against the standard."""
    values = frame.astype(np.int64)
    predicted = _predict(values, predictor, bits)
    difference = ((values - predicted + 2**15) % 2**16 - 2**15).ravel()
    category = np.zeros(len(difference), np.int64)
    magnitude = np.abs(difference)
    for size in range(1, 17):
        category[magnitude >= 2 ** (size - 1)] = size
    # Seventeen codes of five bits: no code consists of ones alone.
    bits_out = []
    for size, value in zip(category.tolist(), difference.tolist(), strict=True):
        bits_out.append(f"{size:05b}")
        if 0 < size < 16:
            bits_out.append(f"{value if value > 0 else value + 2**size - 1:0{size}b}")
    text = "".join(bits_out)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    size_bytes = frame.shape[0].to_bytes(2, "big") + frame.shape[1].to_bytes(2, "big")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    return b"".join(
        [
            b"\xff\xd8",
            b"\xff\xc3\x00\x0b" + bytes([bits]) + size_bytes + b"\x01\x01\x11\x00",
            b"\xff\xc4" + (len(table) + 2).to_bytes(2, "big") + table,
            b"\xff\xda\x00\x08\x01\x01\x00" + bytes([predictor]) + b"\x00\x00",
            scan,
            b"\xff\xd9",
        ]
    )  # fmt: skip


def _predict(values: np.ndarray, predictor: int, bits: int) -> np.ndarray:
    left = np.roll(values, 1, axis=1)
    above = np.roll(values, 1, axis=0)
    corner = np.roll(above, 1, axis=1)
    formulas = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }
    predicted = formulas[predictor].copy()
    predicted[:, 0] = above[:, 0]
    predicted[0, :] = left[0, :]
    predicted[0, 0] = 2 ** (bits - 1)
    return predicted


def deflate_bomb(megabytes: int) -> bytes:
    """A deflated data set of zeros: a thousand times smaller than what it unpacks to."""
    ds = build(raw_run(2, 16), transfer_syntax=EXPLICIT)
    ds.file_meta.TransferSyntaxUID = UID(DEFLATED)
    plain = to_bytes(build(raw_run(2, 16), transfer_syntax=DEFLATED))
    meta_end = 144 + int.from_bytes(plain[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    return plain[:meta_end] + body


def read_back(path: Path) -> Dataset:
    """Read a file with pydicom, for comparison."""
    return pydicom.dcmread(path)
