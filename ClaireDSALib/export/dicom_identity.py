"""Names of our objects: UIDs that follow from the input, the models and the content, and nothing else.

The same input and the same models give the same UIDs and the same bytes; another model version gives others; and two
objects of different content never share a UID, because the content itself is part of it.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from ClaireDSALib import __version__
from ClaireDSALib.dsa.dicom_header import quiet, text
from ClaireDSALib.export.atomic import writing
from ClaireDSALib.export.dicom_codes import ACQUISITION_EQUIPMENT
from ClaireDSALib.export.dicom_source import SourceRun, carry_over
from ClaireDSALib.pipeline.report import ModelRecord

MANUFACTURER = "CLAIRE-DSA project"
MODEL_NAME = "CLAIRE-DSA"
RESEARCH_USE = "For research use only. Not a medical device. Not for diagnosis or treatment."
"""Said once in every object: in Image Comments of images, in a comment at the top of reports."""

IMPLEMENTATION_CLASS_UID = "2.25.100444915575324854752423510988607081863"
_IMPLEMENTATION_NAME = "CLAIRE_DSA"
_NAMESPACE = uuid.UUID("afc062f3-5737-5d12-aeb8-c15a263b49ae")
_UNPAIRED = frozenset(
    {
        "ABDOMEN", "ABDOMENPELVIS", "AORTA", "BRAIN", "CEREBELLUM", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS",
        "CIRCLEOFWILLIS", "COCCYX", "CORONARYARTERY", "CSPINE", "FACE", "HEAD", "HEADNECK", "HEART", "JAW", "LIVER",
        "LSPINE", "MEDIASTINUM", "NECK", "NECKCHEST", "PANCREAS", "PELVIS", "SKULL", "SPINE", "SSPINE", "TSPINE",
        "WHOLEBODY",
    }
)  # fmt: skip
"""Body Part Examined of parts without sides (PS3.16 annex L)."""
_SERIES_PER_RUN = 10
_FIRST_SERIES = 9000
"""Our series stand behind those of the modality."""


@dataclass(frozen=True)
class NewSeries:
    """A series we add to a study."""

    uid: str
    number: int
    description: str


def stable_uid(*parts: object) -> str:
    """A UID from a name (PS3.5 annex B.2): equal parts give equal UIDs.

    Examples
    --------
    >>> stable_uid("a", 1) == stable_uid("a", 1), stable_uid("a") == stable_uid("b")
    (True, False)
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps([str(part) for part in parts])).int}"


def model_key(models: Sequence[ModelRecord]) -> str:
    """What decides the results apart from the input: this software and the bundles, not the device they ran on."""
    bundles = sorted((m.task, m.name, m.version, m.sha256) for m in models)
    return json.dumps([__version__, bundles])


def run_series(source: SourceRun, position: int, kind: int, title: str, key: str) -> NewSeries:
    """The series of one kind of object made from one run.

    Parameters
    ----------
    source : SourceRun
    position : int
        Of the run within its study, from 0.
    kind : int
        1 to 9.
    title : str
    key : str
        From :func:`model_key`.
    """
    uid = stable_uid("series", title, source.study_uid, *source.instance_uids, key)
    number = source.series.identity.series_number
    name = f"series {number}" if number is not None else f"run {position + 1}"
    return NewSeries(uid, _FIRST_SERIES + _SERIES_PER_RUN * (position + 1) + kind, f"CLAIRE-DSA {title}, {name}"[:64])


def study_series(sources: Sequence[SourceRun], kind: int, title: str, key: str) -> NewSeries:
    """The series of one kind of object about a whole study."""
    instances = [uid for source in sources for uid in source.instance_uids]
    uid = stable_uid("series", title, sources[0].study_uid, *instances, key)
    return NewSeries(uid, _FIRST_SERIES + kind, f"CLAIRE-DSA {title}"[:64])


def file_meta(class_uid: str) -> FileMetaDataset:
    """File meta information; the instance UID is put in by :func:`seal`."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(class_uid)
    meta.MediaStorageSOPInstanceUID = UID("2.25.0")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = _IMPLEMENTATION_NAME
    return meta


def seal(dataset: Dataset, source: SourceRun, moment: tuple[str, str] | None = None) -> Dataset:
    """Put in patient, study, times and, last, the instance UID that follows from the content.

    Parameters
    ----------
    dataset : Dataset
        With file meta information; changed in place.
    source : SourceRun
        Whose patient and study it belongs to.
    moment : (DA, TM), optional
        Of the content; the acquisition's unless given.

    Returns
    -------
    Dataset
        The same data set.
    """
    carry_over(source.header, dataset)
    date, time = moment or source.moment
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in dataset:  # the moment of writing would make every copy differ
            delattr(dataset, keyword)
    dataset.ContentDate, dataset.ContentTime = date, time
    if dataset.Modality == "OT":
        _add_body_part(source, dataset)
    if acquired := _acquisition_equipment(source):
        dataset.ContributingEquipmentSequence = DicomSequence([acquired])
    elif "ContributingEquipmentSequence" in dataset:
        del dataset.ContributingEquipmentSequence
    dataset.file_meta = file_meta(dataset.SOPClassUID)
    dataset.preamble = b"\0" * 128
    dataset.SOPInstanceUID = "2.25.0"
    with io.BytesIO() as buffer, quiet():
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        uid = stable_uid("instance", hashlib.sha256(buffer.getvalue()).hexdigest())
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    return dataset


def _add_body_part(source: SourceRun, dataset: Dataset) -> None:
    """Body part and side as the run has them; an empty side where the part may be paired (PS3.3 C.7.3.1)."""
    part, side = text(source.header, "BodyPartExamined"), text(source.header, "Laterality")
    if part:
        dataset.BodyPartExamined = part
    if side or part.upper() not in _UNPAIRED:
        dataset.Laterality = side


def _acquisition_equipment(source: SourceRun) -> Dataset | None:
    """The device that took the run (PS3.3 C.12.1.1.5), when its maker is known."""
    if not text(source.header, "Manufacturer"):
        return None
    item, purpose = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = ACQUISITION_EQUIPMENT
    item.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        if keyword in source.header:
            item[keyword] = copy.deepcopy(source.header[keyword])
    item.ContributionDescription = "Acquisition of the run"
    return item


def write_object(dataset: Dataset, folder: Path) -> Path:
    """Write a sealed data set as ``<series number>_<modality>_<instance number>.dcm``, whole or not at all."""
    name = f"{dataset.SeriesNumber}_{dataset.Modality.lower()}_{dataset.InstanceNumber}.dcm"
    path = folder / str(dataset.StudyInstanceUID).rsplit(".", 1)[-1][-12:] / name
    with writing(path) as temporary, quiet():
        pydicom.dcmwrite(temporary, dataset, enforce_file_format=True)
    return path
