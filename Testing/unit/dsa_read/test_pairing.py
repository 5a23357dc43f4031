"""The two planes of a biplane run find each other, and strangers do not."""

from __future__ import annotations

import pytest

from ClaireDSALib.dsa.read import examine, read
from Testing.unit.dsa_read import dicom_builder as build


def plane(folder, name, angle, **attributes):
    attributes = {
        "StudyInstanceUID": "1.2.3", "PositionerPrimaryAngle": angle, "PositionerSecondaryAngle": 0, "FrameTime": 250,
        "AcquisitionDate": "20260102", "AcquisitionTime": "101500", **attributes,
    }  # fmt: skip
    return build.write_run(folder / f"{name}.dcm", build.raw_run(4, 32), **attributes)


def pairs(folder):
    return read(folder).pairs


def test_runs_started_together_at_a_right_angle_are_a_pair(tmp_path):
    plane(tmp_path, "a", 88)
    plane(tmp_path, "b", -2)
    (pair,) = pairs(tmp_path)
    assert (pair.ap.geometry.view, pair.lateral.geometry.view) == ("ap", "lateral")
    assert pair.reason == "started together, 90 degrees apart"


@pytest.mark.parametrize("attributes", [{"AcquisitionTime": None, "AcquisitionDate": None}])
def test_equal_instance_numbers_pair_runs_without_times(tmp_path, attributes):
    for name, angle, number in (("a", 0, 5), ("b", 90, 5), ("c", 0, 6)):
        path = tmp_path / f"{name}.dcm"
        build.write_run(
            path, build.raw_run(4, 32), StudyInstanceUID="1.2.3", PositionerPrimaryAngle=angle, InstanceNumber=number
        )
    (pair,) = pairs(tmp_path)
    assert "same instance number" in pair.reason


def test_a_reference_pairs_runs_whose_clocks_differ(tmp_path):
    plane(tmp_path, "a", 0, SOPInstanceUID="1.2.3.4")
    reference = build.item(ReferencedSOPClassUID=build.XA, ReferencedSOPInstanceUID="1.2.3.4")
    plane(tmp_path, "b", 90, AcquisitionTime="101509", ReferencedImageSequence=[reference])
    (pair,) = pairs(tmp_path)
    assert "refers" in pair.reason


def test_planes_without_angles_pair_by_their_image_type(tmp_path):
    for name, kind in (("a", "BIPLANE B"), ("b", "BIPLANE A")):
        build.write_run(
            tmp_path / f"{name}.dcm", build.raw_run(4, 32), StudyInstanceUID="1.2.3", AcquisitionDate="20260102",
            AcquisitionTime="101500", ImageType=["ORIGINAL", "PRIMARY", kind], SeriesDescription=kind,
        )  # fmt: skip
    (pair,) = pairs(tmp_path)
    assert pair.ap.identity.description == "BIPLANE A"
    assert "planes A and B" in pair.reason


@pytest.mark.parametrize(
    "stranger",
    [
        {"StudyInstanceUID": "9.9"},
        {"AcquisitionTime": "101530"},
        {"PositionerPrimaryAngle": 30},
        {"PatientID": "somebody else"},
    ],
)
def test_strangers_are_no_pair(tmp_path, stranger):
    plane(tmp_path, "a", 0)
    plane(tmp_path, "b", 90, **stranger)
    assert pairs(tmp_path) == ()


def test_each_run_belongs_to_one_pair_at_most(tmp_path):
    for k, time in enumerate(("101500.0", "101500.2", "101600.0", "101600.1")):
        plane(tmp_path, f"ap{k}", 0, AcquisitionTime=time)
        plane(tmp_path, f"lat{k}", 90, AcquisitionTime=time)
    found = pairs(tmp_path)
    assert len(found) == 4
    assert len({one.run_id for pair in found for one in (pair.ap, pair.lateral)}) == 8
    assert all(pair.ap.identity.acquired_at == pair.lateral.identity.acquired_at for pair in found)


def test_headers_alone_find_the_pair(tmp_path):
    plane(tmp_path, "a", 88)
    plane(tmp_path, "b", -2)
    assert len(examine(tmp_path).pairs) == 1
