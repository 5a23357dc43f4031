"""Pictures as Secondary Capture: one grey projection, or coloured pictures as frames of one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, SecondaryCaptureImageStorage

from ClaireDSALib import __version__
from ClaireDSALib.dsa.dicom_header import text
from ClaireDSALib.export.dicom_codes import SOURCE_IMAGE, CodeEntry
from ClaireDSALib.export.dicom_identity import MANUFACTURER, MODEL_NAME, RESEARCH_USE, NewSeries, seal
from ClaireDSALib.export.dicom_source import SourceRun

_MOST_LABEL, _MOST_TEXT = 16, 1024
"""Lengths of a short string, SH, and of a short text, ST (PS3.5 section 6.2)."""


@dataclass(frozen=True)
class Derivation:
    """How a picture was made from the run.

    Parameters
    ----------
    kind : str
        Third value of Image Type.
    text : str
    codes : tuple of CodeEntry
        From CID 7203.
    """

    kind: str
    text: str
    codes: tuple[CodeEntry, ...] = ()


def grey_capture(
    source: SourceRun,
    series: NewSeries,
    number: int,
    pixels: npt.NDArray[np.unsignedinteger],
    derivation: Derivation,
    *,
    bits_stored: int = 16,
    window: tuple[float, float] | None = None,
) -> Dataset:
    """A projection with its own values, contrast dark.

    Parameters
    ----------
    source : SourceRun
    series : NewSeries
    number : int
        Instance number within the series.
    pixels : (H, W) uint8 or uint16 ndarray
    derivation : Derivation
    bits_stored : int
        For uint16 values.
    window : (low, high), optional
        Values shown as black and as white.

    Returns
    -------
    Dataset
        Secondary Capture Image, sealed.
    """
    dataset = _base(source, series, number, derivation, SecondaryCaptureImageStorage)
    allocated = 8 * pixels.dtype.itemsize
    stored = 8 if allocated == 8 else max(bits_stored, int(pixels.max()).bit_length(), 1)
    _add_pixels(dataset, pixels, "MONOCHROME2", 1, allocated, stored)
    if window is not None:
        low, high = window
        dataset.WindowCenter, dataset.WindowWidth = _decimal((low + high) / 2), _decimal(max(high - low, 1.0))
    _add_spacing(dataset, source)
    return seal(dataset, source)


def color_capture(
    source: SourceRun,
    series: NewSeries,
    number: int,
    frames: Mapping[str, npt.NDArray[np.uint8]],
    derivation: Derivation,
    *,
    is_scaled: bool,
) -> Dataset:
    """Coloured pictures of one size as frames of one object, each with its name.

    Parameters
    ----------
    source : SourceRun
    series : NewSeries
    number : int
        Instance number within the series.
    frames : mapping of str to (H, W, 3) uint8 ndarray
        Name of the frame -> picture.
    derivation : Derivation
    is_scaled : bool
        Whether a pixel is as large as one of the run's, so that the run's spacing holds.
    """
    pictures = np.stack([np.ascontiguousarray(frame, np.uint8) for frame in frames.values()])
    dataset = _base(source, series, number, derivation, MultiFrameTrueColorSecondaryCaptureImageStorage)
    dataset.NumberOfFrames = len(pictures)
    if len(pictures) > 1:
        dataset.FrameIncrementPointer = 0x00182002
        dataset.FrameLabelVector = [_short(name) for name in frames]
    listed = "; ".join(f"{number} {name}" for number, name in enumerate(frames, start=1))
    dataset.DerivationDescription = f"{derivation.text}: {listed}"[:_MOST_TEXT]
    dataset.BurnedInAnnotation = dataset.get("BurnedInAnnotation") or "NO"
    dataset.PlanarConfiguration = 0
    _add_pixels(dataset, pictures, "RGB", 3, 8, 8)
    if is_scaled:
        _add_spacing(dataset, source)
    return seal(dataset, source)


def reference(instance: Dataset) -> Dataset:
    """A reference to one instance (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.SOPClassUID
    item.ReferencedSOPInstanceUID = instance.SOPInstanceUID
    return item


def coded(entry: CodeEntry) -> Dataset:
    """A code sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = entry
    return item


def source_images(source: SourceRun) -> DicomSequence:
    """References to the instances and frames the run consists of (PS3.3 C.7.6.1.1.4)."""
    found = []
    for uid in source.instance_uids:
        item = Dataset()
        item.ReferencedSOPClassUID = source.series.identity.sop_class_uid
        item.ReferencedSOPInstanceUID = uid
        if source.is_multi_frame:
            item.ReferencedFrameNumber = list(source.frame_numbers(uid))
        item.PurposeOfReferenceCodeSequence = DicomSequence([coded(SOURCE_IMAGE)])
        found.append(item)
    return DicomSequence(found)


def _base(source: SourceRun, series: NewSeries, number: int, derivation: Derivation, class_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = class_uid
    dataset.Modality = "OT"  # not XA: our own reader, and a viewer's, must not take a projection for a run
    dataset.SeriesInstanceUID, dataset.SeriesNumber = series.uid, series.number
    dataset.SeriesDescription = series.description
    dataset.InstanceNumber = number
    orientation: Any = source.header.get("PatientOrientation")
    dataset.PatientOrientation = orientation or ""
    if burned := text(source.header, "BurnedInAnnotation"):
        dataset.BurnedInAnnotation = burned
    dataset.ConversionType = "WSD"
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    dataset.SoftwareVersions = __version__
    dataset.ImageType = ["DERIVED", "SECONDARY", derivation.kind]
    dataset.DerivationDescription = derivation.text
    if derivation.codes:
        dataset.DerivationCodeSequence = DicomSequence([coded(code) for code in derivation.codes])
    dataset.SourceImageSequence = source_images(source)
    dataset.ImageComments = RESEARCH_USE
    dataset.LossyImageCompression = "00"
    return dataset


def _add_pixels(
    dataset: Dataset,
    pixels: npt.NDArray[np.unsignedinteger],
    photometric: str,
    samples: int,
    allocated: int,
    stored: int,
) -> None:
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = photometric
    axis = pixels.ndim - (2 if samples == 1 else 3)
    dataset.Rows, dataset.Columns = pixels.shape[axis : axis + 2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = 0
    data = np.ascontiguousarray(pixels, "u1" if allocated == 8 else "<u2").tobytes()
    dataset.add_new("PixelData", "OB" if allocated == 8 else "OW", data + b"\0" * (len(data) % 2))


def _add_spacing(dataset: Dataset, source: SourceRun) -> None:
    """Basic Pixel Spacing Calibration macro (PS3.3 10.7.1.3), when the run has a spacing."""
    spacing = source.series.geometry.pixel_spacing_mm
    if spacing is None:
        return
    dataset.PixelSpacing = [_decimal(value) for value in spacing]
    origin = source.series.geometry.spacing_source
    if origin == "PixelSpacing (uncalibrated)":
        return
    dataset.PixelSpacingCalibrationType = "FIDUCIAL" if "FIDUCIAL" in origin else "GEOMETRY"
    dataset.PixelSpacingCalibrationDescription = f"from {origin}"[:64]


def _short(name: str) -> str:
    """The head of a frame's name, cut between words, as a short string."""
    head = name.split(",")[0].split(":")[0].replace("\\", "/")
    while len(head) > _MOST_LABEL and " " in head:
        head = head.rsplit(" ", 1)[0]
    return head[:_MOST_LABEL]


def _decimal(value: float) -> str:
    """A decimal string, DS, of at most 16 characters."""
    return f"{value:.10g}"
