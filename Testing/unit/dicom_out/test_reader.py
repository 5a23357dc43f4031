"""Only our own reports are read; everything else is refused with a reason."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from ClaireDSALib.export.dicom_objects import dicom_objects
from ClaireDSALib.export.dicom_reader import read_sr


@pytest.fixture(scope="module")
def a_report(a_result, a_read_study):
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dicom_objects(a_result, a_read_study.series)[-1], enforce_file_format=True)
    return buffer.getvalue()


def _dataset(content):
    return pydicom.dcmread(io.BytesIO(content))


def test_an_image_is_refused(a_study):
    with pytest.raises(ValueError, match="no Comprehensive 3D SR"):
        read_sr(next(a_study.glob("*.dcm")))


def test_a_report_of_another_program_is_refused(a_report, tmp_path):
    dataset = _dataset(a_report)
    del dataset.CodingSchemeIdentificationSequence
    dataset.save_as(tmp_path / "other.dcm")
    with pytest.raises(ValueError, match="another program"):
        read_sr(tmp_path / "other.dcm")


def test_a_measurement_without_value_is_refused(a_report, tmp_path):
    dataset = _dataset(a_report)
    container = next(item for item in dataset.ContentSequence if item.ValueType == "CONTAINER")
    for group in container.ContentSequence:
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                item.MeasuredValueSequence = []
    dataset.save_as(tmp_path / "empty.dcm")
    with pytest.raises(ValueError, match="has no value"):
        read_sr(tmp_path / "empty.dcm")


def test_no_damaged_report_does_harm(a_report, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.dcm"
    refused = []
    for _ in range(60):
        content = bytearray(a_report)
        for place in generator.integers(132, len(content), size=4):
            content[place] = generator.integers(256)
        path.write_bytes(content[: int(generator.integers(200, len(content)))])
        try:
            read_sr(path)
        except ValueError as problem:
            refused.append(str(problem))
    assert len(refused) > 3
    assert all(reason.startswith("not a structured report of CLAIRE-DSA") for reason in refused)


def test_a_huge_file_is_not_even_opened(tmp_path):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        read_sr(path)
