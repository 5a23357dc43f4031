"""A shareable copy of DICOM images: PS3.15 basic profile, keyed pseudonyms, dates moved alike for a patient.

What happens to which attribute comes from the tables of PS3.15 E.1-1 in the package dicom-anonymizer, applied to the
data set and to every item of its sequences. Identifiers become keyed hashes, so that the same key gives the same
pseudonyms and nobody without it can try them out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from ClaireDSALib.dsa.dicom_header import PARSE_ERRORS, quiet, text
from ClaireDSALib.export.atomic import writing

SHORTEST_KEY = 16
_TABLES = "dicomfields_2026c"
_PSEUDONYM_LETTERS = 12
_MOST_DAYS = 3650
_METHOD = "CLAIRE-DSA: PS3.15 basic profile, dates moved, keyed pseudonyms"
_METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
_CLEARED_DATES = ("PatientBirthDate", "PatientBirthTime")
_DOCUMENTS = ("SR", "PR", "KO", "DOC")


@dataclass(frozen=True)
class Copied:
    """One input and what became of it."""

    source: str
    target: Path | None
    """None when it was left out; ``reason`` says why."""
    reason: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Pseudonyms:
    """Keyed names in place of identifiers.

    Parameters
    ----------
    key : bytes
        At least 16; whoever has it can find out which pseudonym belongs to a known patient number.

    Examples
    --------
    >>> names = Pseudonyms(b"0123456789abcdef")
    >>> names.uid("1.2.3") == names.uid("1.2.3"), names.patient("7")[:2]
    (True, 'P-')
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < SHORTEST_KEY:
            msg = f"a key needs at least {SHORTEST_KEY} characters; got {len(self.key)}"
            raise ValueError(msg)

    @classmethod
    def from_file(cls, path: Path | None) -> Pseudonyms:
        """With the key in a file; with a new one that is kept nowhere when there is no file."""
        return cls(secrets.token_bytes(32) if path is None else path.read_text(encoding="utf-8").strip().encode())

    def uid(self, uid: str) -> str:
        """Another UID (PS3.5 annex B.2), the same for the same one."""
        return f"2.25.{int.from_bytes(self._hash('uid', uid)[:16], 'big')}" if uid else ""

    def patient(self, patient_id: str) -> str:
        """Pseudonym of a patient."""
        return f"P-{self._hash('patient', patient_id).hex()[:_PSEUDONYM_LETTERS]}"

    def days(self, patient_id: str) -> int:
        """How many days the dates of a patient are moved back."""
        return 1 + int.from_bytes(self._hash("days", patient_id)[:4], "big") % _MOST_DAYS

    def _hash(self, kind: str, value: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()


def deidentify_folder(path: str | Path, out: str | Path, names: Pseudonyms) -> list[Copied]:
    """Copy every DICOM image below ``path``; files are named after their new UIDs.

    Parameters
    ----------
    path : path
        A file or a folder.
    out : path
        Made when missing.
    names : Pseudonyms

    Returns
    -------
    list of Copied
        One per file found, also for those left out.
    """
    return [deidentify_file(file, Path(out), names, name) for name, file in _files(Path(path))]


def deidentify_file(file: Path, out: Path, names: Pseudonyms, name: str = "") -> Copied:
    """Copy one image as ``<pseudonym>/<study>/<series>_<instance>.dcm`` below ``out``."""
    with quiet():
        try:
            dataset = pydicom.dcmread(file)
        except (OSError, *PARSE_ERRORS) as error:
            return Copied(name, None, f"not a DICOM file that can be read ({type(error).__name__})")
        if "PixelData" not in dataset:
            return Copied(name, None, "no image: documents and reports hold free text and are not copied")
        if text(dataset, "Modality") in _DOCUMENTS:
            return Copied(name, None, "a document, not an image")
        if not text(dataset, "SOPInstanceUID"):
            return Copied(name, None, "it has no SOP instance UID")
        burned = _burned_in(dataset)
        deidentify_dataset(dataset, names)
        folder = out / text(dataset, "PatientID") / text(dataset, "StudyInstanceUID")[-12:]
        target = folder / f"{text(dataset, 'SeriesInstanceUID')[-8:]}_{text(dataset, 'SOPInstanceUID')[-12:]}.dcm"
        with writing(target) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return Copied(name, target, warning=burned)


def deidentify_dataset(dataset: Dataset, names: Pseudonyms) -> None:
    """Apply the profile to a data set, in place, pixels untouched."""
    patient = text(dataset, "PatientID") or text(dataset, "StudyInstanceUID")
    rules = _Rules(names, names.days(patient))
    with quiet():
        rules.apply(dataset)
        if getattr(dataset, "file_meta", None) is not None:
            rules.apply(dataset.file_meta)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.preamble = b"\0" * 128
        dataset.PatientName = dataset.PatientID = names.patient(patient)
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = _METHOD
        dataset.DeidentificationMethodCodeSequence = DicomSequence([_coded(*code) for code in _METHOD_CODES])
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"


@dataclass(frozen=True)
class _Rules:
    names: Pseudonyms
    days: int

    @cached_property
    def _actions(self) -> dict[Any, str]:
        from dicomanonymizer.simpledicomanonymizer import initialize_actions

        return {tag: action.__name__ for tag, action in initialize_actions(_TABLES).items()}

    def apply(self, dataset: Dataset) -> None:
        for element in list(dataset):
            if element.tag.is_private or element.VR == "UN" or not dictionary_has_tag(element.tag):
                del dataset[element.tag]
                continue
            self._treat(dataset, element)
            if element.tag in dataset and element.VR == "SQ":
                for item in element.value:
                    self.apply(item)

    def _treat(self, dataset: Dataset, element: Any) -> None:
        action = self._action_of(element.tag)
        if not action:
            return
        if element.keyword in _CLEARED_DATES:
            element.value = ""
        elif element.VR in ("DA", "DT"):
            element.value = self._moved(element.value)
        elif element.VR == "TM":
            return  # intervals between runs and frames stay true; the day is hidden
        elif element.VR == "UI":
            element.value = self._renamed(element.value)
        elif action == "delete":
            del dataset[element.tag]
        elif element.VR == "SQ":
            if not action.endswith("_UID"):
                element.value = DicomSequence([])
        elif action in ("empty", "delete_or_empty"):
            element.value = None
        else:
            self._replace(element)

    def _action_of(self, tag: Any) -> str:
        found = self._actions.get((tag.group, tag.element), "")
        repeating = (a for t, a in self._actions.items() if len(t) > 2 and _matches(tag, t))
        return found or next(repeating, "")

    def _replace(self, element: Any) -> None:
        from dicomanonymizer.simpledicomanonymizer import replace_element

        replace_element(element)

    def _renamed(self, value: Any) -> Any:
        several = isinstance(value, Sequence) and not isinstance(value, str)
        return [self.names.uid(str(one)) for one in value] if several else self.names.uid(str(value or ""))

    def _moved(self, value: Any) -> Any:
        if value and not isinstance(value, str) and isinstance(value, Sequence):
            return [self._moved(one) for one in value]
        stored = str(value or "")
        try:
            day = dt.datetime.strptime(stored[:8], "%Y%m%d").replace(tzinfo=dt.UTC)
        except ValueError:
            return ""
        return (day - dt.timedelta(days=self.days)).strftime("%Y%m%d") + stored[8:]


def _matches(tag: Any, pattern: tuple[int, int, int, int]) -> bool:
    group, element, group_mask, element_mask = pattern
    return tag.group & group_mask == group & group_mask and tag.element & element_mask == element & element_mask


def _burned_in(dataset: Dataset) -> str:
    """What has to be looked at by a person: pixels are not searched for text."""
    said = text(dataset, "BurnedInAnnotation").upper()
    if said == "YES":
        return "the header says that text is burned into the picture; look at it before you share it"
    if said != "NO" and "Secondary Capture" in dataset.SOPClassUID.name:
        return "a secondary capture often has text burned in; look at it before you share it"
    return ""


def _coded(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file with a number in place of its name, which often names the patient."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
    yield from ((f"input {number}", file) for number, file in enumerate(files, 1))
