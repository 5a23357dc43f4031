"""What traces a run back to its source without naming the patient."""

from __future__ import annotations

import functools
import hashlib
import os
import re

from ClaireDSALib.dsa.dicom_header import integer, text
from ClaireDSALib.dsa.dicom_instance import Instance
from ClaireDSALib.dsa.series import Identity
from ClaireDSALib.dsa.timing import acquired_at

SALT_VARIABLE = "CLAIRE_DSA_SALT"
"""Environment variable with a secret of the site; without it a fixed public salt is used."""

_PUBLIC_SALT = "claire-dsa"
_HASH_ROUNDS = 50_000
"""Makes trying all patient numbers slow; a public salt still only hides them from a casual look."""
_SHORTEST_NAME = 3


def identity_of(instance: Instance) -> Identity:
    """Collect UIDs, numbers and times; the patient only as a salted hash."""
    dataset = instance.dataset
    moment = acquired_at(instance)
    return Identity(
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        sop_class_uid=instance.sop_class_uid,
        patient_key=patient_key(text(dataset, "PatientID"), text(dataset, "IssuerOfPatientID")),
        series_number=integer(dataset, "SeriesNumber"),
        instance_number=integer(dataset, "InstanceNumber"),
        acquired_at=moment.strftime("%Y%m%d%H%M%S.%f") if moment is not None else "",
        description=_without_patient(text(dataset, "SeriesDescription"), instance),
        manufacturer=_without_patient(text(dataset, "Manufacturer"), instance),
        model_name=_without_patient(text(dataset, "ManufacturerModelName"), instance),
    )


def patient_key(patient_id: str, issuer: str = "") -> str:
    """Return a key that is equal for equal patients and does not show who they are; empty without an ID."""
    return _hashed(os.environ.get(SALT_VARIABLE) or _PUBLIC_SALT, patient_id, issuer) if patient_id else ""


@functools.lru_cache(maxsize=1024)
def _hashed(salt: str, patient_id: str, issuer: str) -> str:
    secret = f"{issuer}\0{patient_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.pbkdf2_hmac("sha256", secret, salt.encode("utf-8", "surrogatepass"), _HASH_ROUNDS)
    return digest.hex()[:16]


def _without_patient(value: str, instance: Instance) -> str:
    """Drop a free text that repeats a part of the patient's name or number."""
    identifiers = " ".join(text(instance.dataset, keyword) for keyword in ("PatientName", "PatientID"))
    words = {word for word in re.split(r"[\W_]+", identifiers.casefold()) if len(word) >= _SHORTEST_NAME}
    return "" if any(word in value.casefold() for word in words) else value[:256]
