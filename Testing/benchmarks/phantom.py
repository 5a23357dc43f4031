"""A synthetic run as DICOM, for timing: a smooth head-like shading, noise, and a few dark lines that come and go."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1, XRayAngiographicImageStorage, generate_uid

N_FRAMES, SIZE, BITS = 40, 1024, 12


def frames(n_frames: int = N_FRAMES, size: int = SIZE) -> np.ndarray:
    """(T, size, size) uint16, 12 bits: the same every time."""
    rng = np.random.default_rng(2025)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    head = 2600 - 1200 * np.exp(-(x**2 + y**2) * 3)
    lines = [np.exp(-(((x - c) * 60 + 3 * np.sin(6 * y + c)) ** 2)) for c in (-0.4, 0.0, 0.3)]
    out = np.empty((n_frames, size, size), np.uint16)
    for t in range(n_frames):
        filling = np.clip((t - 6) / 6, 0, 1) * np.clip((26 - t) / 8, 0, 1)
        signal = head * np.exp(-0.5 * filling * sum(lines))
        noise = rng.standard_normal((size, size), np.float32) * 0.5 * np.sqrt(signal)
        out[t] = np.clip(np.round(signal + noise), 1, 2**BITS - 1)
    return out


def write(path: Path, *, compressed: bool, n_frames: int = N_FRAMES, size: int = SIZE) -> Path:
    """Write the run as X-Ray Angiographic Image, uncompressed or JPEG Lossless (process 14, selection value 1)."""
    pixels = frames(n_frames, size)
    data = _header(n_frames, size)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1 if compressed else ExplicitVRLittleEndian
    if compressed:
        encoded = [imagecodecs.jpeg8_encode(f, lossless=True, bitspersample=BITS, predictor=1) for f in pixels]
        data.PixelData = encapsulate(encoded)
        data["PixelData"].VR = "OB"
    else:
        data.PixelData = pixels.tobytes()
        data["PixelData"].VR = "OW"
    data.save_as(path, enforce_file_format=True)
    return path


def _header(n_frames: int, size: int) -> Dataset:
    data = Dataset()
    data.SOPClassUID = XRayAngiographicImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=["claire-dsa benchmark"])
    data.StudyInstanceUID = data.SeriesInstanceUID = data.SOPInstanceUID
    data.Modality = "XA"
    data.PatientName, data.PatientID = "Benchmark^Synthetic", "BENCHMARK"
    data.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    data.Rows = data.Columns = size
    data.NumberOfFrames = n_frames
    data.FrameTime = 500
    data.FrameIncrementPointer = 0x00181063
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, BITS, BITS - 1, 0
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LIN", 1
    return data
