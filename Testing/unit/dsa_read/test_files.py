"""Files, folders, zip files and DICOMDIRs; what is not used says why in one sentence."""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from ClaireDSALib.dsa import read as read_from_package
from ClaireDSALib.dsa import read_zip
from ClaireDSALib.dsa.read import examine, read
from Testing.unit.dsa_read import dicom_builder as build


def reasons(found):
    return {one.source: one.reason for one in found.skipped}


def test_a_folder_is_searched_through_in_a_stable_order(tmp_path):
    for name in ("b/2.dcm", "a/1.dcm", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        build.write_run(tmp_path / name, StudyDescription=name)
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "empty").touch()
    found = read(tmp_path)
    assert len(found.series) == 3
    assert reasons(found) == {"notes.txt": "not a DICOM file", "empty": "the file is empty"}
    assert [one.run_id for one in found.series] == [one.run_id for one in read(tmp_path).series]


def test_progress_counts_files_and_then_runs(tmp_path):
    for k in range(3):
        build.write_run(tmp_path / f"{k}.dcm")
    seen = []
    read(tmp_path, progress=lambda *step: seen.append(step))
    assert seen == [(k + 1, 3, step) for step in ("files", "runs") for k in range(3)]


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_several_paths_are_read_as_one_case(tmp_path):
    paths = [build.write_run(tmp_path / f"{k}.dcm") for k in range(3)]
    assert len(read(paths[:2]).series) == 2


def test_the_package_offers_the_same_function(tmp_path):
    path = build.write_run(tmp_path / "run.dcm")
    assert read_from_package(path).series[0].run_id == read(path).series[0].run_id


def test_the_same_instance_twice_counts_once(tmp_path):
    path = build.write_run(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(path.read_bytes())
    found = read(tmp_path)
    assert len(found.series) == 1
    assert reasons(found) == {"b.dcm": "the same SOP instance as a.dcm; counted once"}


def test_single_frames_of_a_series_make_one_run_in_order_of_their_numbers(tmp_path):
    frames = build.raw_run(12, 32)
    for k in np.random.default_rng(0).permutation(12):
        build.write_run(
            tmp_path / f"{99 - k}.dcm", frames[k : k + 1], SeriesInstanceUID="1.2.3", InstanceNumber=int(k) + 1,
            FrameTime=100, transfer_syntax=build.LOSSLESS[k % len(build.LOSSLESS)], bits_stored=12,
        )  # fmt: skip
    (series,) = read(tmp_path).series
    np.testing.assert_array_equal(series.to_array(), frames)
    assert len({ref.sop_instance_uid for ref in series.frame_refs}) == 12
    assert {ref.frame_number for ref in series.frame_refs} == {1}


@pytest.mark.parametrize(
    "difference",
    [
        {"SeriesInstanceUID": "1.2.4"},
        {"AcquisitionNumber": 2},
        {"PositionerPrimaryAngle": 90},
        {"AcquisitionTime": "111500"},
    ],
)
def test_single_frames_of_different_acquisitions_stay_apart(tmp_path, difference):
    common = {
        "SeriesInstanceUID": "1.2.3", "AcquisitionNumber": 1, "PositionerPrimaryAngle": 0, "FrameTime": 100,
        "AcquisitionDate": "20260102", "AcquisitionTime": "101500",
    }  # fmt: skip
    frames = build.raw_run(4, 32)
    for k in range(4):
        attributes = {**common, **(difference if k >= 2 else {})}
        build.write_run(tmp_path / f"{k}.dcm", frames[k : k + 1], InstanceNumber=k + 1, **attributes)
    assert [one.n_frames for one in read(tmp_path).series] == [2, 2]


def test_screenshots_in_one_series_are_no_run(tmp_path):
    for k in range(3):
        build.write_run(
            tmp_path / f"{k}.dcm", build.raw_run(1, 32), sop_class=build.SECONDARY_CAPTURE,
            SeriesInstanceUID="1.2.3", InstanceNumber=k + 1,
        )  # fmt: skip
    assert [one.n_frames for one in read(tmp_path).series] == [1, 1, 1]


def test_single_frames_that_cannot_be_ordered_stand_alone_with_a_warning(tmp_path):
    for k in range(3):
        build.write_run(tmp_path / f"{k}.dcm", build.raw_run(1, 32), SeriesInstanceUID="1.2.3", InstanceNumber=7)
    found = read(tmp_path).series
    assert len(found) == 3
    assert all(any("cannot be put in order" in warning for warning in one.warnings) for one in found)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT"}, "modality CT: not an X-ray angiogram (XA or RF)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.1"}, "a reconstructed X-ray volume"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.5", "Modality": "RTPLAN"}, "modality RTPLAN"),
        ({"PixelData": None}, "no pixel data"),
        ({"SamplesPerPixel": 3}, "a colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not a grey image"),
        ({"Rows": 0}, "impossible image size"),
        ({"NumberOfFrames": 0}, "impossible number of frames"),
        ({"NumberOfFrames": 9}, "truncated: 8 of 9 frame(s)"),
        ({"Rows": 65535, "Columns": 4000}, "truncated: 0 of 8"),
        ({"Rows": 65535, "Columns": 65535}, "impossible image size"),
        ({"NumberOfFrames": 10**9}, "impossible number of frames"),
        ({"BitsAllocated": 32}, "32 bits are allocated"),
        ({"BitsAllocated": 1}, "1 bits are allocated"),
    ],
)
def test_each_unusable_file_gives_one_sentence(tmp_path, attributes, reason):
    build.write_run(tmp_path / "x.dcm", **attributes)
    found = read(tmp_path)
    assert not found.series
    assert len(found.skipped) == 1
    assert reason in found.skipped[0].reason
    assert "\n" not in found.skipped[0].reason


@pytest.mark.parametrize("syntax", [build.EXPLICIT, build.JPEG_LS, build.RLE, build.DEFLATED])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_cut_anywhere_is_refused(tmp_path, syntax, share):
    path = build.write_run(tmp_path / "x.dcm", transfer_syntax=syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found = read(path)
    assert not found.series
    assert "truncated" in found.skipped[0].reason or "damaged" in found.skipped[0].reason


def test_an_encrypted_file_says_so(tmp_path):
    build.write_run(
        tmp_path / "x.dcm",
        Modality=None,
        EncryptedAttributesSequence=[
            build.item(EncryptedContentTransferSyntaxUID=build.EXPLICIT, EncryptedContent=b"12")
        ],
    )
    assert "encrypted" in read(tmp_path).skipped[0].reason


def test_a_data_set_without_preamble_is_read(tmp_path):
    path = build.write_run(tmp_path / "x.dcm", transfer_syntax=build.IMPLICIT, FrameTime=100)
    ds = pydicom.dcmread(path)
    expected = read(path).series[0].to_array()
    del ds.file_meta
    ds.preamble = None
    ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read(path).series[0].to_array(), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert reasons(read(tmp_path)) == {"pipe": "not a regular file"}


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert reasons(read(tmp_path)) == {"link": "a link that leads nowhere"}


# ---------------------------------------------------------------------------------------------- zip


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_runs_inside_a_zip_are_read_like_files(tmp_path, method):
    frames = build.raw_run(6, 48)
    data = {f"study/{name}": build.to_bytes(build.build(frames, transfer_syntax=syntax))
            for name, syntax in (("a", build.JPEG_LS), ("b", build.EXPLICIT), ("c", build.DEFLATED))}  # fmt: skip
    found = read(zipped(tmp_path / "case.zip", {**data, "readme.txt": b"hello"}, method))
    assert len(found.series) == 3
    for series in found.series:
        np.testing.assert_array_equal(series.to_array(), frames)
    assert reasons(found) == {"case.zip/readme.txt": "not a DICOM file"}


def test_a_zip_member_cannot_choose_where_it_is_unpacked(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    data = build.to_bytes(build.build(build.raw_run(3, 32)))
    found = read(zipped(folder / "case.zip", {"../../escaped.dcm": data, "/absolute.dcm": data[:-2]}))
    assert len(found.series) == 1
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["case.zip", "in"]


def test_a_zip_bomb_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(read_zip, "_EXPANSION_FREE_BYTES", 2**20)
    head = bytes(128) + b"DICM"
    found = read(zipped(tmp_path / "bomb.zip", {"bomb.dcm": head + bytes(64 * 2**20)}))
    assert "zip bombs" in found.skipped[0].reason


def test_a_zip_that_lies_about_its_sizes_is_only_damaged(tmp_path):
    path = zipped(tmp_path / "case.zip", {"a.dcm": build.to_bytes(build.build(build.raw_run(3, 32)))})
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<L", 2**31 - 2)
    path.write_bytes(data)
    found = read(path)
    assert len(found.series) + len(found.skipped) == 1


def test_too_little_temporary_space_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(read_zip, "MAX_UNPACKED_BYTES", 10_000)
    path = zipped(tmp_path / "case.zip", {"a.dcm": build.to_bytes(build.build(build.raw_run(3, 64)))})
    assert "temporary space" in read(path).skipped[0].reason


def test_a_zip_inside_a_zip_and_a_cut_zip_are_not_opened(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"a.dcm": b"x" * 500}).read_bytes()
    found = read(zipped(tmp_path / "outer.zip", {"inner.zip": inner}))
    assert "inside a zip" in found.skipped[0].reason
    (tmp_path / "cut.zip").write_bytes(inner[: len(inner) // 2])
    assert reasons(read(tmp_path / "cut.zip")) == {"cut.zip": "the zip file is damaged"}


def test_reading_a_zip_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = zipped(tmp_path / "case.zip", {"a.dcm": build.to_bytes(build.build(build.raw_run(3, 32)))})
    series = read(path).series[0]
    assert series.frame(0).any()
    assert not any((tmp_path / "temporary").iterdir())


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    from ClaireDSALib.dsa import dicom_inflate

    monkeypatch.setattr(dicom_inflate, "_MAX_INFLATED_BYTES", 4 * 2**20)
    (tmp_path / "bomb.dcm").write_bytes(build.deflate_bomb(64))
    assert "unpacks to more than" in read(tmp_path).skipped[0].reason


# ------------------------------------------------------------------------------------------ DICOMDIR


def directory(folder, file_ids):
    ds = build.build(build.raw_run(1, 16))
    for element in list(ds):
        del ds[element.tag]
    ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    ds.FileSetID = "CASE"
    records = [build.item(DirectoryRecordType="PATIENT", PatientName=build.PATIENT_NAME)]
    records += [build.item(DirectoryRecordType="IMAGE", ReferencedFileID=file_id) for file_id in file_ids]
    ds.DirectoryRecordSequence = records
    return build.save(ds, folder / "DICOMDIR")


def test_a_dicomdir_is_followed_to_the_files_it_names_and_no_others(tmp_path):
    (tmp_path / "IMAGES").mkdir()
    named = build.write_run(tmp_path / "IMAGES" / "IM1")
    build.write_run(tmp_path / "IMAGES" / "im2.dcm")
    build.write_run(tmp_path / "IMAGES" / "IM9")
    path = directory(tmp_path, [["IMAGES", "IM1"], ["IMAGES", "IM2"], ["IMAGES", "IM3"]])
    found = read(path)
    assert len(found.series) == 2
    assert found.series[0].run_id == read(named).series[0].run_id
    assert reasons(found) == {"IMAGES/IM3": "the DICOMDIR names a file that is not there"}


@pytest.mark.parametrize("file_id", [["..", "SECRET"], ["/etc/passwd"], ["C:", "X"], [], ["A"] * 9])
def test_a_dicomdir_cannot_lead_out_of_its_folder(tmp_path, file_id):
    folder = tmp_path / "media"
    folder.mkdir()
    build.write_run(tmp_path / "SECRET")
    found = read(directory(folder, [file_id]))
    assert not found.series
    assert "outside its own folder" in found.skipped[0].reason


def test_in_a_folder_a_dicomdir_is_an_index(tmp_path):
    build.write_run(tmp_path / "IM1")
    directory(tmp_path, [["IM1"]])
    found = read(tmp_path)
    assert len(found.series) == 1
    assert reasons(found) == {"DICOMDIR": "a DICOMDIR is an index of files, not an image"}


def test_examination_decodes_nothing_but_frames_can_still_be_read(tmp_path, monkeypatch):
    from ClaireDSALib.dsa import read_run

    frames = build.raw_run(6, 48)
    path = build.write_run(tmp_path / "a.dcm", frames, transfer_syntax=build.JPEG_LS)
    monkeypatch.setattr(read_run, "take_sample", None)
    (series,) = examine(path).series
    np.testing.assert_array_equal(series.to_array(), frames)
