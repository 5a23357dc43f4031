"""What a run's own DICOM header hands on to the objects made from it: patient, study, references."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from ClaireDSALib.dsa.dicom_bytes import ByteSource
from ClaireDSALib.dsa.dicom_header import PARSE_ERRORS, integer, quiet, text
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.sources import DicomFrames, JoinedFrames, SelectedFrames

PATIENT_AND_STUDY = (
    # Patient (PS3.3 C.7.1.1) and Clinical Trial Subject (C.7.1.3)
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID",
    "PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientIDsSequence", "OtherPatientNames",
    "EthnicGroup", "PatientComments", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    # General Study (C.7.2.1), Patient Study (C.7.2.2) and Clinical Trial Study (C.7.2.3)
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "StudyDescription", "ProcedureCodeSequence", "PatientAge", "PatientSize",
    "PatientWeight", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
)  # fmt: skip
"""Attributes that are carried over unchanged; nothing else of the header is."""

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Must be there, may be empty."""

_EXTRA = (
    "Laterality",
    "BodyPartExamined",
    "PatientOrientation",
    "BurnedInAnnotation",
    "NumberOfFrames",
    "InstitutionName",
)
_UTF_8 = "ISO_IR 192"
_NO_MOMENT = ("19000101", "000000")
"""When the source says nothing at all about its time (de-identified files)."""


@dataclass(frozen=True)
class SourceRun:
    """One run as it lies in its DICOM files.

    Parameters
    ----------
    series : DsaSeries
    header : Dataset
        Header of the first instance, text decoded; only what is handed on.
    """

    series: DsaSeries
    header: Dataset

    @property
    def study_uid(self) -> str:
        return str(self.header.StudyInstanceUID)

    @property
    def instance_uids(self) -> tuple[str, ...]:
        """SOP instances of the run's frames, in order, each once."""
        return tuple(dict.fromkeys(ref.sop_instance_uid for ref in self.series.frame_refs))

    def frame_numbers(self, instance_uid: str) -> tuple[int, ...]:
        """1-based numbers of the frames used from one instance."""
        return tuple(r.frame_number for r in self.series.frame_refs if r.sop_instance_uid == instance_uid)

    @property
    def is_multi_frame(self) -> bool:
        """Whether frames must be named by number (PS3.3 table 10-3)."""
        return (integer(self.header, "NumberOfFrames") or 1) > 1

    @property
    def moment(self) -> tuple[str, str]:
        """(DA, TM) of the acquisition: the same input must give the same bytes, so no clock is read."""
        acquired = self.series.identity.acquired_at
        if acquired:
            return acquired[:8], acquired[8:]
        date, time = text(self.header, "StudyDate"), text(self.header, "StudyTime")
        return (date, time or "000000") if date.isdigit() and len(date) == 8 else _NO_MOMENT


def source_of(series: DsaSeries) -> SourceRun:
    """Re-read the header of a run's first file.

    Raises
    ------
    ValueError
        When the run does not come from DICOM files, when a file has gone, or when it has no study or instance UID.
    """
    source = next(_byte_sources(series.frames), None)
    if source is None or not series.frame_refs:
        msg = (
            f"run {series.run_id} was not read from DICOM files, so there is no patient and no study that objects "
            "could be filed under; read it with ClaireDSALib.dsa.read, or write pictures and tables instead"
        )
        raise ValueError(msg)
    header = _handed_on(_read(source, series.run_id))
    if not text(header, "StudyInstanceUID") or series.identity.series_uid == "":
        msg = f"run {series.run_id} has no study or series instance UID, so no object can refer to it"
        raise ValueError(msg)
    if any(ref.sop_instance_uid.startswith("unnamed.") for ref in series.frame_refs):
        msg = f"run {series.run_id} has a file without SOP instance UID, so no object can refer to it"
        raise ValueError(msg)
    return SourceRun(series, header)


def carry_over(header: Dataset, target: Dataset) -> None:
    """Give ``target`` the patient and the study of ``header``, as UTF-8."""
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            target[keyword] = copy.deepcopy(header[keyword])
        elif keyword in target and keyword not in TYPE_2:
            del target[keyword]
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(target, keyword, "")
    target.SpecificCharacterSet = _UTF_8


def plain_identity(source: SourceRun) -> Dataset:
    """Identity of a run's study that any library accepts: empty where the file's own value is out of the ordinary.

    :func:`carry_over` puts the file's own values in place afterwards.
    """
    plain = Dataset()
    for keyword in TYPE_2:
        setattr(plain, keyword, "")
    plain.StudyInstanceUID = source.study_uid
    plain.SpecificCharacterSet = _UTF_8
    return plain


def evidence_of(source: SourceRun) -> list[Dataset]:
    """One item per instance of the run, as a structured report cites its evidence."""
    found = []
    for uid in source.instance_uids:
        item = plain_identity(source)
        item.SOPClassUID = source.series.identity.sop_class_uid
        item.SOPInstanceUID = uid
        item.SeriesInstanceUID = source.series.identity.series_uid
        item.Modality = "XA"
        found.append(item)
    return found


def _byte_sources(frames: Any) -> Iterator[ByteSource]:
    if isinstance(frames, DicomFrames):
        yield frames.source
    elif isinstance(frames, JoinedFrames):
        for part in frames.parts:
            yield from _byte_sources(part)
    elif isinstance(frames, SelectedFrames):
        yield from _byte_sources(frames.base)


def _read(source: ByteSource, run_id: str) -> Dataset:
    try:
        with source.open() as stream, quiet():
            return pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    except (OSError, *PARSE_ERRORS) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        msg = f"the header of run {run_id} cannot be read again ({reason}); is the file still there?"
        raise ValueError(msg) from error


def _handed_on(header: Dataset) -> Dataset:
    kept = Dataset()
    with quiet():
        header.decode()
        for keyword in (*PATIENT_AND_STUDY, *_EXTRA):
            if keyword in header:
                kept[keyword] = header[keyword]
    return kept
