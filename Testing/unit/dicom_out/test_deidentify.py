"""Copies keep the run and lose the patient."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

pytest.importorskip("dicomanonymizer", reason='dicom-anonymizer is not installed: pip install "claire-dsa[pacs]"')

from ClaireDSALib.cli.main import app
from ClaireDSALib.dsa.read import read
from ClaireDSALib.export.deidentify import Pseudonyms, deidentify_dataset, deidentify_folder

_KEY = Pseudonyms(b"a secret of the site")
_SECRETS = ("Doe", "Jane", "SECRET-7", "Hospital", "Bond", "ACC-1", "sister", "SN-4711", "19700102", "20240229")


@pytest.fixture
def a_named_study(a_study, tmp_path):
    """Both runs with identifiers in many places, also inside sequences and private elements."""
    folder = tmp_path / "Doe_Jane"
    folder.mkdir()
    for number, path in enumerate(sorted(a_study.glob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "SECRET-7", "19700102"
        dataset.InstitutionName, dataset.ReferringPhysicianName = "Hospital", "Bond^James"
        dataset.AccessionNumber, dataset.DeviceSerialNumber = "ACC-1", "SN-4711"
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240229"
        dataset.SeriesDescription = "run of Jane Doe"
        dataset.ImageComments = "her sister was here too"
        other = Dataset()
        other.PatientID, other.TypeOfPatientID = "SECRET-7", "TEXT"
        dataset.OtherPatientIDsSequence = [other]
        request = Dataset()
        request.RequestedProcedureDescription, request.StudyInstanceUID = "Jane Doe", dataset.StudyInstanceUID
        dataset.RequestAttributesSequence = [request]
        dataset.private_block(0x0011, "VENDOR", create=True).add_new(1, "LO", "Doe, Jane")
        dataset.BurnedInAnnotation = "YES" if number else "NO"
        dataset.save_as(folder / path.name)
    (folder / "Jane.txt").write_text("notes on Jane Doe")
    return folder


def test_no_identifier_is_left_anywhere(a_named_study, tmp_path):
    copied = [one.target for one in deidentify_folder(a_named_study, tmp_path / "out", _KEY) if one.target]
    assert len(copied) == 2
    originals = [pydicom.dcmread(path) for path in sorted(a_named_study.glob("*.dcm"))]
    uids = {one[k].value for one in originals for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    for path in copied:
        header = path.read_bytes().replace(pydicom.dcmread(path).PixelData, b"")
        for secret in (*_SECRETS, *uids):
            assert secret.encode() not in header, secret
        assert not any(secret in str(path.relative_to(tmp_path / "out")) for secret in _SECRETS)


def test_the_run_is_what_it_was(a_named_study, tmp_path, verify):
    copied = deidentify_folder(a_named_study, tmp_path / "out", _KEY)
    before, after = read(a_named_study), read(tmp_path / "out")
    assert len(after.series) == len(before.series) == 2
    assert len(after.pairs) == len(before.pairs) == 1
    same = {int(one.to_array().sum()): one for one in after.series}
    for one in before.series:
        other = same[int(one.to_array().sum())]
        assert np.array_equal(one.to_array(), other.to_array())
        assert np.array_equal(one.times_s, other.times_s)
        assert one.geometry == other.geometry
    for one in copied:
        if one.target is not None:
            assert verify(one.target)[0] == []
            dataset = pydicom.dcmread(one.target)
            assert dataset.PatientIdentityRemoved == "YES"
            assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_relations_between_the_copies_stay(a_named_study, tmp_path):
    found = deidentify_folder(a_named_study, tmp_path / "out", _KEY)
    one, other = (pydicom.dcmread(copy.target) for copy in found if copy.target)
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.PatientID == other.PatientID == _KEY.patient("SECRET-7")
    assert one.ReferencedImageSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert one.StudyDate == other.StudyDate != "20240229"


def test_the_key_decides_the_pseudonyms(a_study):
    def pseudonym(key):
        dataset = pydicom.dcmread(next(a_study.glob("*.dcm")), stop_before_pixels=True)
        deidentify_dataset(dataset, Pseudonyms(key))
        return dataset.PatientID, dataset.SOPInstanceUID, dataset.StudyDate

    first, again, other = (pseudonym(key) for key in (b"0123456789abcdef", b"0123456789abcdef", b"another key here"))
    assert first == again
    assert not set(first) & set(other)


def test_what_is_left_out_and_what_must_be_looked_at_is_said(a_named_study, tmp_path):
    key = tmp_path / "key.txt"
    key.write_text("a secret of the site\n")
    arguments = ["deidentify", str(a_named_study), "-o", str(tmp_path / "out"), "--key-file", str(key)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    assert "2 of 3 files copied" in done.stdout
    assert "burned into the picture" in done.stderr
    assert "not a DICOM file" in done.stderr
    assert "Jane" not in done.stderr


def test_short_keys_and_copies_among_the_originals_are_refused(a_study, tmp_path):
    (tmp_path / "key.txt").write_text("short")
    run = CliRunner().invoke
    done = run(app, ["deidentify", str(a_study), "-o", str(tmp_path), "--key-file", str(tmp_path / "key.txt")])
    assert (done.exit_code, "at least 16" in done.stderr) == (2, True)
    done = run(app, ["deidentify", str(a_study), "-o", str(a_study / "copies")])
    assert (done.exit_code, "among the originals" in done.stderr) == (2, True)
