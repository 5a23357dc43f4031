"""Simulated runs as valid XA DICOM (PS3.3 A.14), with everything saying SIMULATED."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    XRayAngiographicImageStorage,
    generate_uid,
)

from .as_series import stored_relation
from .case import Case, Run
from .truth import write_truth
from .vendor import modality_table

Compression = Literal["none", "jpeg_lossless"]

TRUTH_FOLDER = "truth"

_FIRST_DAY = dt.datetime(2026, 1, 5, 8, 0, 0)
_BETWEEN_RUNS = dt.timedelta(minutes=3)
_UID_NAMESPACE = "ClaireDSA simulator"


@dataclass(frozen=True)
class Naming:
    """What ties the instances of a case together."""

    study_uid: str
    patient_id: str
    patient_name: str
    started: dt.datetime


def write_case(
    case: Case, folder: Path, *, compression: Compression = "none", truth: bool = True, strict: bool = True
) -> list[Path]:
    """Write every run of a case.

    Parameters
    ----------
    case : Case
    folder : Path
        Made when missing.
    compression : "none" or "jpeg_lossless"
    truth : bool
        Also write ``truth/<run>.truth.json`` and ``truth/<run>.truth.npz``.

    strict : bool
        XA images are MONOCHROME2 by the standard (PS3.3 C.8.7.1.1.8), yet MONOCHROME1 files exist: False writes the
        photometric interpretation of the look, True always MONOCHROME2.

    Returns
    -------
    list of Path
        The DICOM files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for run in case.runs:
        paths.append(write_run(case, run, folder, compression=compression, strict=strict))
        if truth:
            (folder / TRUTH_FOLDER).mkdir(exist_ok=True)
            write_truth(folder / TRUTH_FOLDER, run.run_id, case, run)
    return paths


def write_run(case: Case, run: Run, folder: Path, *, compression: Compression = "none", strict: bool = True) -> Path:
    """Write one run as ``<run_id>.dcm`` and return its path."""
    path = folder / f"{run.run_id}.dcm"
    dataset = xa_dataset(case, run, compression=compression, strict=strict)
    dataset.save_as(path, enforce_file_format=True)
    return path


def xa_dataset(case: Case, run: Run, *, compression: Compression = "none", strict: bool = True) -> FileDataset:
    """A multi-frame X-Ray Angiographic Image of one run, ready to save."""
    naming = naming_of(case)
    dataset = new_dataset(sop_instance_uid(case, run), XRayAngiographicImageStorage, compression)
    add_patient_and_study(dataset, naming)
    add_series_and_equipment(dataset, case, run, naming)
    add_general_image(dataset, case, run, naming)
    _add_frames(dataset, run)
    _add_mask(dataset, run)
    add_acquisition(dataset, run)
    add_positioner(dataset, run)
    add_pixels(dataset, run, compression, strict=strict)
    return dataset


def naming_of(case: Case) -> Naming:
    """Identifiers derived from the seed, so that the same case gives the same files."""
    return Naming(
        study_uid=derived_uid("study", case.seed),
        patient_id=f"SIM{case.seed:07d}",
        patient_name=f"SIMULATED^CASE{case.seed:07d}",
        started=_FIRST_DAY + dt.timedelta(hours=int(case.seed) % 1000),
    )


def sop_instance_uid(case: Case, run: Run) -> str:
    """The UID of a run's instance."""
    return derived_uid("instance", case.seed, run.run_id)


def started_at(case: Case, run: Run, naming: Naming) -> dt.datetime:
    """Start of a run: runs follow each other, the planes of a biplane run start together."""
    order = [_moment_key(other) for other in case.runs]
    moments = list(dict.fromkeys(order))
    place = moments.index(_moment_key(run)) if _moment_key(run) in moments else 0
    return naming.started + _BETWEEN_RUNS * place


def new_dataset(instance_uid: str, class_uid: str, compression: Compression) -> FileDataset:
    """An empty dataset with its file meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = class_uid
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.TransferSyntaxUID = JPEGLosslessSV1 if compression == "jpeg_lossless" else ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = class_uid
    dataset.SOPInstanceUID = instance_uid
    return dataset


def add_patient_and_study(dataset: Dataset, naming: Naming) -> None:
    """Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""
    dataset.PatientName = naming.patient_name
    dataset.PatientID = naming.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "SIMULATED; no patient exists"
    dataset.StudyInstanceUID = naming.study_uid
    dataset.StudyDate = naming.started.strftime("%Y%m%d")
    dataset.StudyTime = naming.started.strftime("%H%M%S")
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "SIM"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = "SIMULATED angiography"


def add_series_and_equipment(dataset: Dataset, case: Case, run: Run, naming: Naming) -> None:
    """General Series and General Equipment modules (PS3.3 C.7.3.1, C.7.5.1); every run is a series."""
    number = _run_number(case, run)
    dataset.Modality = "XA"
    dataset.SeriesInstanceUID = derived_uid("series", case.seed, run.run_id)
    dataset.SeriesNumber = number
    dataset.SeriesDescription = f"Sim {run.plan.body_part} {run.plan.injection.vessel} {run.run_id}"
    dataset.SeriesDate = naming.started.strftime("%Y%m%d")
    dataset.SeriesTime = started_at(case, run, naming).strftime("%H%M%S")
    dataset.Manufacturer = f"SIMULATED {run.plan.look.name}"
    dataset.ManufacturerModelName = "ClaireDSA simulator"
    dataset.SoftwareVersions = "ClaireDSA simulator"
    dataset.DeviceSerialNumber = "SIMULATED"
    dataset.BodyPartExamined = {"head": "HEAD", "neck": "NECK", "arch": "CHEST", "groin": "HIP"}[run.plan.body_part]
    if run.plan.body_part == "groin":
        dataset.Laterality = "R"
    dataset.PatientPosition = "HFS"


def add_general_image(dataset: Dataset, case: Case, run: Run, naming: Naming) -> None:
    """General Image module, the planes of biplane runs, and what a subtraction by the console leaves in the header."""
    moment = started_at(case, run, naming)
    dataset.InstanceNumber = 1
    dataset.PatientOrientation = ""
    dataset.ContentDate = dataset.AcquisitionDate = moment.strftime("%Y%m%d")
    dataset.ContentTime = dataset.AcquisitionTime = moment.strftime("%H%M%S.%f")
    dataset.AcquisitionNumber = _run_number(case, run)
    other = _other_plane(case, run)
    plane = "SINGLE PLANE"
    if other is not None:
        plane = "BIPLANE A" if _run_number(case, run) < _run_number(case, other) else "BIPLANE B"
        item = Dataset()
        item.ReferencedSOPClassUID = dataset.SOPClassUID
        item.ReferencedSOPInstanceUID = sop_instance_uid(case, other)
        item.PurposeOfReferenceCodeSequence = DicomSequence([_code("121314", "Other image of biplane pair")])
        dataset.ReferencedImageSequence = DicomSequence([item])
    subtracted = run.plan.delivery == "subtracted"
    dataset.ImageType = ["DERIVED" if subtracted else "ORIGINAL", "PRIMARY", plane]
    dataset.ImageComments = "SIMULATED, not from a patient; research only"
    dataset.BurnedInAnnotation = "YES" if run.plan.marks else "NO"
    dataset.LossyImageCompression = "00"
    if subtracted:
        dataset.DerivationDescription = "SIMULATED; mask subtracted pixel by pixel in the logarithm"
        dataset.DerivationCodeSequence = DicomSequence([_code("113062", "Pixel by pixel subtraction")])
    if run.plan.contrast:
        dataset.ContrastBolusAgent = "SIMULATED iodine"


def add_pixels(
    dataset: Dataset,
    run: Run,
    compression: Compression = "none",
    *,
    strict: bool = True,
    frames: slice = slice(None),
) -> None:
    """Image Pixel and VOI LUT modules."""
    look = run.plan.look
    photometric = "MONOCHROME2" if strict else look.photometric
    stored = stored_pixels(run, photometric)[frames]
    table = modality_table(look) if stored_relation(run) == "LOG" else None
    if table is not None:
        item = Dataset()
        item.LUTDescriptor = [len(table) % 65536, 0, 16]
        item["LUTDescriptor"].VR = "US"
        item.ModalityLUTType = "US"
        item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
        dataset.ModalityLUTSequence = DicomSequence([item])
        frames_shown = table[run.frames[frames][:: max(1, len(stored) // 4), ::4, ::4]]
    else:
        frames_shown = stored[:: max(1, len(stored) // 4), ::4, ::4]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.BitsAllocated = 8 if look.bits == 8 else 16
    dataset.BitsStored = look.bits
    dataset.HighBit = look.bits - 1
    dataset.PixelRepresentation = 0
    low, high = np.percentile(frames_shown, (0.5, 99.5))
    dataset.WindowCenter = round(float(low + high) / 2 + 0.5, 1)
    dataset.WindowWidth = round(max(float(high - low), 2.0), 1)
    if compression == "jpeg_lossless":
        import imagecodecs

        coded = [
            imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=look.bits) for frame in stored
        ]
        dataset.PixelData = encapsulate(coded)
        dataset["PixelData"].VR = "OB"
        return
    data = stored.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if look.bits == 8 else "OW"


def stored_pixels(run: Run, photometric: str = "MONOCHROME2") -> npt.NDArray[np.unsignedinteger]:
    """``(T, H, W)`` uint8 or uint16 as the file holds them: MONOCHROME1 stores the inverse."""
    look = run.plan.look
    frames = run.frames if photometric == "MONOCHROME2" else look.max_value - run.frames
    return np.ascontiguousarray(frames, np.uint8 if look.bits == 8 else np.dtype("<u2"))


def _add_frames(dataset: Dataset, run: Run) -> None:
    """Cine and Multi-frame modules (PS3.3 C.7.6.5, C.7.6.6), absent for a single frame; increments, the first 0."""
    times_ms = np.asarray(run.plan.times_s) * 1000
    if len(run.frames) == 1:
        return
    dataset.NumberOfFrames = len(run.frames)
    dataset.FrameIncrementPointer = 0x00181065
    dataset.FrameTimeVector = [round(float(step), 4) for step in np.concatenate([[0.0], np.diff(times_ms)])]
    dataset.RecommendedDisplayFrameRate = max(1, round(1000 / float(np.median(np.diff(times_ms)))))
    dataset.RepresentativeFrameNumber = max(1, len(run.frames) // 2)


def _add_mask(dataset: Dataset, run: Run) -> None:
    """Mask module (PS3.3 C.7.6.10): frame numbers count from 1."""
    if not run.subtractable:
        return
    item = Dataset()
    item.MaskOperation = "AVG_SUB"
    item.MaskFrameNumbers = [frame + 1 for frame in run.plan.mask_frames]
    item.ApplicableFrameRange = [1, len(run.frames)]
    item.ContrastFrameAveraging = 1
    item.MaskSubPixelShift = [0.0, 0.0]
    dataset.MaskSubtractionSequence = DicomSequence([item])
    dataset.RecommendedViewingMode = "SUB"


def add_acquisition(dataset: Dataset, run: Run) -> None:
    """X-Ray Image, Acquisition and Collimator modules (PS3.3 C.8.7.1 to C.8.7.3)."""
    plan = run.plan
    dataset.PixelIntensityRelationship = stored_relation(run)
    dataset.KVP = 80
    dataset.RadiationSetting = "GR"
    dataset.XRayTubeCurrent = 250
    dataset.ExposureTime = 60
    dataset.Exposure = 15
    dataset.RadiationMode = "PULSED"
    dataset.TypeOfFilters = "STRIP"
    dataset.FocalSpots = 0.6
    pitch = plan.view.detector_pitch_mm
    dataset.ImagerPixelSpacing = [decimal(pitch), decimal(pitch)]
    height, width = plan.view.shape
    if plan.collimator.shape == "rectangular":
        left, right, top, bottom = plan.collimator.edges
        dataset.CollimatorShape = "RECTANGULAR"
        dataset.CollimatorLeftVerticalEdge = round(left * width)
        dataset.CollimatorRightVerticalEdge = round(right * width)
        dataset.CollimatorUpperHorizontalEdge = round(top * height)
        dataset.CollimatorLowerHorizontalEdge = round(bottom * height)
    elif plan.collimator.shape == "circular":
        dataset.CollimatorShape = "CIRCULAR"
        dataset.CenterOfCircularCollimator = [height // 2, width // 2]
        dataset.RadiusOfCircularCollimator = round(plan.collimator.radius * width / 2)


def add_positioner(dataset: Dataset, run: Run) -> None:
    """XA Positioner and X-Ray Table modules (PS3.3 C.8.7.5, C.8.7.4)."""
    view = run.plan.view
    dataset.PositionerMotion = "STATIC"
    dataset.PositionerPrimaryAngle = decimal(view.primary_deg)
    dataset.PositionerSecondaryAngle = decimal(view.secondary_deg)
    dataset.DistanceSourceToDetector = decimal(view.sid_mm)
    dataset.DistanceSourceToPatient = decimal(view.sod_mm)
    dataset.EstimatedRadiographicMagnificationFactor = decimal(view.sid_mm / view.sod_mm)
    if len(run.frames) > 1:
        dataset.TableMotion = "STATIC"


def _other_plane(case: Case, run: Run) -> Run | None:
    key = run.relations.get("biplane")
    if not key:
        return None
    return next((r for r in case.runs if r.run_id != run.run_id and r.relations.get("biplane") == key), None)


def _moment_key(run: Run) -> str:
    return "biplane " + run.relations["biplane"] if run.relations.get("biplane") else run.run_id


def _run_number(case: Case, run: Run) -> int:
    ids = [other.run_id for other in case.runs]
    digits = "".join(c for c in run.run_id if c.isdigit())
    return ids.index(run.run_id) + 1 if len(ids) > 1 else int(digits or 0) + 1


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def decimal(value: float) -> str:
    """A Decimal String: 16 characters at most."""
    return f"{value:.8f}"[:16].rstrip("0").rstrip(".") if "." in f"{value:.8f}"[:16] else f"{value:.8f}"[:16]


def derived_uid(*parts: object) -> str:
    return generate_uid(entropy_srcs=[_UID_NAMESPACE, *[str(part) for part in parts]])
