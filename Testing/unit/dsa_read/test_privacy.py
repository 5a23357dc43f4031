"""Nothing that a reader returns names the patient."""

from __future__ import annotations

import pytest

from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.read_identity import SALT_VARIABLE, patient_key
from Testing.unit.dsa_read import dicom_builder as build

SECRETS = ("muster", "erika", build.PATIENT_ID.casefold(), build.BIRTH_DATE)


@pytest.fixture
def found(tmp_path):
    named = {"SeriesDescription": "DSA Muster Erika", "Manufacturer": "Maker", "FrameTimeVector": [0, 1]}
    build.write_run(tmp_path / "good.dcm", **named)
    build.write_run(tmp_path / "ct.dcm", Modality="CT", **named)
    build.write_run(tmp_path / "odd.dcm", Modality="MUSTER^ERIKA", PhotometricInterpretation="Muster Erika", **named)
    build.write_run(tmp_path / "odd2.dcm", PhotometricInterpretation="Muster Erika", **named)
    damaged = build.write_run(tmp_path / "cut.dcm", **named).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(damaged[:2000])
    return read(tmp_path)


def test_no_name_number_or_birth_date_anywhere(found):
    everything = repr(found).casefold()
    assert len(found.series) == 1
    assert len(found.skipped) == 4
    for secret in SECRETS:
        assert secret not in everything


def test_a_free_text_without_the_name_is_kept(tmp_path):
    series = read(build.write_run(tmp_path / "a.dcm", SeriesDescription="ICA left AP")).series[0]
    assert series.identity.description == "ICA left AP"


def test_one_patient_has_one_key_and_two_have_two(monkeypatch):
    monkeypatch.delenv(SALT_VARIABLE, raising=False)
    assert patient_key("A1") == patient_key("A1")
    assert patient_key("A1") != patient_key("A2")
    assert patient_key("A1", "hospital") != patient_key("A1", "other")
    assert patient_key("") == ""
    key = patient_key("A1")
    monkeypatch.setenv(SALT_VARIABLE, "a secret of the site")
    assert patient_key("A1") != key


def test_the_run_id_is_short_stable_and_safe_as_a_file_name(tmp_path):
    path = build.write_run(tmp_path / "a.dcm")
    first, again = read(path).series[0].run_id, read(path).series[0].run_id
    assert first == again
    assert first.isalnum()
    assert len(first) == 12
    assert build.PATIENT_ID not in first
