"""The same runs in two other forms: Enhanced XA (PS3.3 A.47) and one classic XA file per frame."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import EnhancedXAImageStorage, XRayAngiographicImageStorage

from .as_series import stored_relation
from .case import Case, Run
from .dicom import (
    add_acquisition,
    add_general_image,
    add_patient_and_study,
    add_pixels,
    add_positioner,
    add_series_and_equipment,
    decimal,
    derived_uid,
    naming_of,
    new_dataset,
    sop_instance_uid,
    started_at,
)


def write_single_frames(case: Case, run: Run, folder: Path) -> list[Path]:
    """Write one classic XA file per frame, all of one series, timed by their acquisition time.

    Returns
    -------
    list of Path
        ``<run_id>_0001.dcm`` ... in order of time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    naming = naming_of(case)
    paths = []
    for number in range(len(run.frames)):
        uid = derived_uid("frame", case.seed, run.run_id, number)
        dataset = new_dataset(uid, XRayAngiographicImageStorage, "none")
        add_patient_and_study(dataset, naming)
        add_series_and_equipment(dataset, case, run, naming)
        add_general_image(dataset, case, run, naming)
        moment = started_at(case, run, naming) + dt.timedelta(seconds=float(run.plan.times_s[number]))
        dataset.AcquisitionTime = dataset.ContentTime = moment.strftime("%H%M%S.%f")
        dataset.InstanceNumber = number + 1
        add_acquisition(dataset, run)
        add_positioner(dataset, run)
        add_pixels(dataset, run, frames=slice(number, number + 1))
        path = folder / f"{run.run_id}_{number + 1:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_enhanced(case: Case, run: Run, folder: Path) -> Path:
    """Write one Enhanced XA file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.run_id}_enhanced.dcm"
    enhanced_dataset(case, run).save_as(path, enforce_file_format=True)
    return path


def enhanced_dataset(case: Case, run: Run) -> FileDataset:
    """An Enhanced X-Ray Angiographic Image, ready to save."""
    naming = naming_of(case)
    start = started_at(case, run, naming)
    dataset = new_dataset(derived_uid("enhanced", case.seed, run.run_id), EnhancedXAImageStorage, "none")
    add_patient_and_study(dataset, naming)
    add_series_and_equipment(dataset, case, run, naming)
    dataset.InstanceNumber = 1
    dataset.ContentDate = start.strftime("%Y%m%d")
    dataset.ContentTime = start.strftime("%H%M%S.%f")
    dataset.AcquisitionDateTime = start.strftime("%Y%m%d%H%M%S.%f")
    dataset.AcquisitionNumber = 1
    subtracted = run.plan.delivery == "subtracted"
    dataset.ImageType = ["DERIVED" if subtracted else "ORIGINAL", "PRIMARY", "", "NONE"]
    dataset.ContentQualification = "RESEARCH"
    dataset.ImageComments = "SIMULATED, not from a patient; research only"
    dataset.BurnedInAnnotation = "YES" if run.plan.marks else "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = DicomSequence([])
    dataset.FrameOfReferenceUID = derived_uid("frame of reference", case.seed)
    dataset.PositionReferenceIndicator = ""
    dataset.SynchronizationFrameOfReferenceUID = derived_uid("synchronisation", case.seed)
    dataset.SynchronizationTrigger = "NO TRIGGER"
    dataset.AcquisitionTimeSynchronized = "N"
    dataset.NumberOfFrames = len(run.frames)
    if len(run.frames) > 1:
        dataset.FrameTimeVector = [round(1000 * float(s), 4) for s in np.r_[0.0, np.diff(run.plan.times_s)]]
        dataset.FrameIncrementPointer = 0x00181065
        dataset.PreferredPlaybackSequencing = 0
    _add_acquisition(dataset, run)
    _add_supine(dataset)
    del dataset.PatientPosition
    _add_dimensions(dataset, case, run)
    dataset.SharedFunctionalGroupsSequence = DicomSequence([_shared_groups(run, subtracted)])
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(
        [_frame_groups(run, start, number, subtracted) for number in range(len(run.frames))]
    )
    if run.subtractable:
        item = Dataset()
        item.MaskOperation = "AVG_SUB"
        item.SubtractionItemID = 1
        item.MaskFrameNumbers = [frame + 1 for frame in run.plan.mask_frames]
        item.ApplicableFrameRange = [1, len(run.frames)]
        item.ContrastFrameAveraging = 1
        item.MaskSubPixelShift = [0.0, 0.0]
        dataset.MaskSubtractionSequence = DicomSequence([item])
        dataset.RecommendedViewingMode = "SUB"
    add_pixels(dataset, run)
    for keyword in ("WindowCenter", "WindowWidth", "ModalityLUTSequence"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.PixelRepresentation = 0
    return dataset


def _add_acquisition(dataset: Dataset, run: Run) -> None:
    """XA/XRF Acquisition module (PS3.3 C.8.19.3)."""
    dataset.KVP = 80
    dataset.RadiationSetting = "GR"
    dataset.XRayTubeCurrentInmA = 250.0
    dataset.ExposureTimeInms = 60.0
    dataset.RadiationMode = "PULSED"
    dataset.PlanesInAcquisition = "SINGLE PLANE"
    dataset.XRayReceptorType = "DIGITAL_DETECTOR"
    dataset.CArmPositionerTabletopRelationship = "YES"
    dataset.AcquiredImageAreaDoseProduct = 0.1
    dataset.AcquisitionDuration = float(run.plan.times_s[-1] * 1000 + 60.0)
    dataset.AveragePulseWidth = 10.0
    dataset.DistanceReceptorPlaneToDetectorHousing = 10.0
    size_mm = [float(n * run.plan.view.detector_pitch_mm) for n in run.plan.view.shape]
    dataset.PhysicalDetectorSize = size_mm
    dataset.PlaneIdentification = "MONOPLANE"
    dataset.PositionerType = "CARM"
    dataset.DetectorType = "DIRECT"
    dataset.DetectorID = "SIMULATED"
    dataset.DateOfLastDetectorCalibration = "20260101"
    dataset.TimeOfLastDetectorCalibration = "000000"
    dataset.AcquisitionProtocolName = "SIMULATED"
    dataset.FocalSpots = 0.6


def _add_dimensions(dataset: Dataset, case: Case, run: Run) -> None:
    """Multi-frame Dimension module (PS3.3 C.7.6.17): frames are indexed by time alone."""
    organisation = Dataset()
    organisation.DimensionOrganizationUID = derived_uid("dimension", case.seed, run.run_id)
    dataset.DimensionOrganizationSequence = DicomSequence([organisation])
    index = Dataset()
    index.DimensionOrganizationUID = organisation.DimensionOrganizationUID
    index.DimensionIndexPointer = 0x00209057
    index.FunctionalGroupPointer = 0x00209111
    dataset.DimensionIndexSequence = DicomSequence([index])


def _shared_groups(run: Run, subtracted: bool) -> Dataset:
    """Functional groups that hold for every frame."""
    view, plan = run.plan.view, run.plan
    properties = Dataset()
    properties.FrameType = ["DERIVED" if subtracted else "ORIGINAL", "PRIMARY", "", "NONE"]
    properties.ImagerPixelSpacing = [decimal(view.detector_pitch_mm)] * 2
    properties.PixelIntensityRelationship = stored_relation(run)
    properties.PixelIntensityRelationshipSign = 1
    properties.GeometricalProperties = "UNIFORM"
    properties.ImageProcessingApplied = "DIGITAL_SUBTR" if subtracted else "NONE"
    geometry = Dataset()
    geometry.DistanceSourceToDetector = decimal(view.sid_mm)
    geometry.DistanceSourceToIsocenter = float(view.sod_mm)
    geometry.DistanceSourceToPatient = decimal(view.sod_mm)
    geometry.EstimatedRadiographicMagnificationFactor = decimal(view.sid_mm / view.sod_mm)
    field = Dataset()
    field.FieldOfViewShape = "RECTANGLE"
    field.FieldOfViewDimensionsInFloat = [
        view.shape[0] * view.detector_pitch_mm,
        view.shape[1] * view.detector_pitch_mm,
    ]
    field.FieldOfViewOrigin = [0.0, 0.0]
    field.FieldOfViewRotation = "0"
    field.FieldOfViewHorizontalFlip = "NO"
    field.FieldOfViewDescription = "SIMULATED"
    collimator = Dataset()
    collimator.CollimatorShape = "RECTANGULAR"
    left, right, top, bottom = plan.collimator.edges if plan.collimator.shape == "rectangular" else (0, 1, 0, 1)
    collimator.CollimatorLeftVerticalEdge = round(left * view.shape[1])
    collimator.CollimatorRightVerticalEdge = round(right * view.shape[1])
    collimator.CollimatorUpperHorizontalEdge = round(top * view.shape[0])
    collimator.CollimatorLowerHorizontalEdge = round(bottom * view.shape[0])
    isocentre = Dataset()
    isocentre.PositionerIsocenterPrimaryAngle = float(view.primary_deg)
    isocentre.PositionerIsocenterSecondaryAngle = float(view.secondary_deg)
    isocentre.PositionerIsocenterDetectorRotationAngle = 0.0
    isocentre.TableXPositionToIsocenter = 0.0
    isocentre.TableYPositionToIsocenter = 0.0
    isocentre.TableZPositionToIsocenter = 0.0
    isocentre.TableHorizontalRotationAngle = 0.0
    isocentre.TableHeadTiltAngle = 0.0
    isocentre.TableCradleTiltAngle = 0.0
    positioner = Dataset()
    positioner.PositionerPrimaryAngle = decimal(view.primary_deg)
    positioner.PositionerSecondaryAngle = decimal(view.secondary_deg)
    transform = Dataset()
    transform.RescaleIntercept, transform.RescaleSlope, transform.RescaleType = 0, 1, "US"
    voi = Dataset()
    low, high = np.percentile(run.frames[:, ::8, ::8], (0.5, 99.5))
    voi.WindowCenter, voi.WindowWidth = round((low + high) / 2, 1), round(max(high - low, 2), 1)
    groups = Dataset()
    groups.FramePixelDataPropertiesSequence = DicomSequence([properties])
    groups.XRayGeometrySequence = DicomSequence([geometry])
    groups.FieldOfViewSequence = DicomSequence([field])
    groups.CollimatorShapeSequence = DicomSequence([collimator])
    groups.IsocenterReferenceSystemSequence = DicomSequence([isocentre])
    groups.PositionerPositionSequence = DicomSequence([positioner])
    groups.PixelValueTransformationSequence = DicomSequence([transform])
    groups.FrameVOILUTSequence = DicomSequence([voi])
    detector = Dataset()
    detector.DetectorActiveTime = 60.0
    groups.FrameDetectorParametersSequence = DicomSequence([detector])
    calibration = Dataset()
    calibration.DistanceObjectToTableTop = 150.0
    calibration.ObjectPixelSpacingInCenterOfBeam = [float(view.isocentre_spacing_mm)] * 2
    if not subtracted:
        calibration.BeamAngle = 0.0
        calibration.TableHeight = 100.0
    groups.ProjectionPixelCalibrationSequence = DicomSequence([calibration])
    table = Dataset()
    table.TableTopVerticalPosition = 0.0
    table.TableTopLongitudinalPosition = 0.0
    table.TableTopLateralPosition = 0.0
    table.TableHorizontalRotationAngle = 0.0
    table.TableHeadTiltAngle = 0.0
    table.TableCradleTiltAngle = 0.0
    groups.TablePositionSequence = DicomSequence([table])
    event = Dataset()
    event.IrradiationEventUID = derived_uid("irradiation", run.run_id, run.plan.seed)
    groups.IrradiationEventIdentificationSequence = DicomSequence([event])
    orientation = Dataset()
    orientation.PatientOrientation = ["L", "F"]
    groups.PatientOrientationInFrameSequence = DicomSequence([orientation])
    anatomy = Dataset()
    anatomy.FrameLaterality = "U"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = _region_code(run)
    anatomy.AnatomicRegionSequence = DicomSequence([region])
    groups.FrameAnatomySequence = DicomSequence([anatomy])
    return groups


def _frame_groups(run: Run, start: dt.datetime, number: int, subtracted: bool) -> Dataset:
    """Functional groups of one frame: when, and what kind."""
    moment = start + dt.timedelta(seconds=float(run.plan.times_s[number]))
    content = Dataset()
    content.FrameAcquisitionNumber = 1
    content.FrameReferenceDateTime = content.FrameAcquisitionDateTime = moment.strftime("%Y%m%d%H%M%S.%f")
    content.FrameAcquisitionDuration = 60.0
    content.DimensionIndexValues = [number + 1]
    content.InStackPositionNumber = number + 1
    content.StackID = "1"
    characteristics = Dataset()
    if subtracted:
        characteristics.DerivationDescription = "SIMULATED; mask subtracted pixel by pixel in the logarithm"
    groups = Dataset()
    groups.FrameContentSequence = DicomSequence([content])
    groups.XAXRFFrameCharacteristicsSequence = DicomSequence([characteristics])
    return groups


def _add_supine(dataset: Dataset) -> None:
    """Patient orientation: recumbent, supine, headfirst (PS3.16 CID 19, 20, 21)."""
    orientation, modifier, gantry = Dataset(), Dataset(), Dataset()
    for item, code in (
        (orientation, ("102538003", "recumbent")),
        (modifier, ("40199007", "supine")),
        (gantry, ("102540008", "headfirst")),
    ):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[0], "SCT", code[1]
    orientation.PatientOrientationModifierCodeSequence = DicomSequence([modifier])
    dataset.PatientOrientationCodeSequence = DicomSequence([orientation])
    dataset.PatientGantryRelationshipCodeSequence = DicomSequence([gantry])


def _region_code(run: Run) -> tuple[str, str, str]:
    return {
        "head": ("69536005", "SCT", "Head"),
        "neck": ("45048000", "SCT", "Neck"),
        "arch": ("57034009", "SCT", "Aortic arch"),
        "groin": ("26893007", "SCT", "Inguinal region"),
    }[run.plan.body_part]


__all__ = ["enhanced_dataset", "sop_instance_uid", "write_enhanced", "write_single_frames"]
