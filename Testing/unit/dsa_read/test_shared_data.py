"""Real files: every angiogram reads, lossless encodings agree, every oddity gives one line."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.decode_stream import iter_frames
from ClaireDSALib.dsa.read import examine, read

LOSSLESS_NEMA = ("JLSL", "J2KR", "JPLL", "RLE")
TRANSCODES = ("ile", "ele", "ebe", "deflated", "rle", "jpegls", "j2k")


@pytest.fixture(scope="module")
def coronary(shared_data):
    return read(shared_data / "xa_rubo" / "0002.DCM").series[0]


@pytest.mark.parametrize("name", LOSSLESS_NEMA)
def test_lossless_encodings_of_the_cerebral_picture_are_identical(shared_data, name):
    folder = shared_data / "xa_nema"
    plain, coded = (read(folder / f"XA1_{one}.dcm").series[0].frame(0) for one in ("UNC", name))
    assert plain.shape == (1024, 1024)
    np.testing.assert_array_equal(coded, plain)


@pytest.mark.parametrize(("name", "tolerance"), [("JLSN", 4), ("J2KI", 30)])
def test_lossy_encodings_of_the_cerebral_picture_are_close(shared_data, name, tolerance):
    folder = shared_data / "xa_nema"
    plain, coded = (read(folder / f"XA1_{one}.dcm").series[0].frame(0).astype(int) for one in ("UNC", name))
    assert np.abs(plain - coded).max() <= tolerance


def test_the_folder_of_encodings_holds_seven_pictures_and_no_run(shared_data):
    found = read(shared_data / "xa_nema")
    assert [one.n_frames for one in found.series] == [1] * 7
    assert [one.source for one in found.skipped] == ["LICENSE.dicom-test-files"]


def test_the_round_picture_of_the_cerebral_run_is_found(shared_data):
    region = read(shared_data / "xa_nema" / "XA1_UNC.dcm").series[0].valid_region
    assert region.mean() == pytest.approx(np.pi / 4, abs=0.01)


def test_the_coronary_run_is_described_as_its_header_says(coronary):
    assert coronary.frames.shape == (96, 512, 512)
    assert coronary.times_source == "FrameTime"
    np.testing.assert_allclose(np.diff(coronary.times_s), 0.033)
    assert (coronary.geometry.primary_angle_deg, coronary.geometry.secondary_angle_deg) == (-32, 2)
    assert coronary.geometry.view == "oblique"
    assert coronary.geometry.pixel_spacing_mm is None
    assert coronary.intensity.relation == "LIN"
    assert not coronary.intensity.inverted
    assert coronary.subtraction_state == "unsubtracted"
    assert [one.operation for one in coronary.mask_operations] == ["NONE"]
    assert coronary.identity.patient_key
    assert "rubo" not in repr(coronary).casefold()


def test_contrast_darkens_the_coronary_artery(coronary):
    """The artery runs down the left of the picture: columns 95 to 165, rows 170 to 370, around frame 40."""
    early, filled = coronary.frame(0)[170:370, 95:165], coronary.frame(40)[170:370, 95:165]
    assert np.percentile(filled, 10) < np.percentile(early, 10) - 15


@pytest.mark.parametrize("name", TRANSCODES)
def test_transcodes_hold_frames_20_to_43_of_the_coronary_run(shared_data, coronary, name):
    series = read(shared_data / "xa_transcodes" / f"0002_24f_{name}.dcm").series[0]
    for frame, original in zip(iter_frames(series), iter_frames(coronary, indices=range(20, 44)), strict=True):
        np.testing.assert_array_equal(frame, original)


def test_24_single_files_make_one_run(shared_data, coronary):
    found = read(shared_data / "xa_transcodes" / "0002_single_frames")
    (series,) = found.series
    assert series.n_frames == 24
    np.testing.assert_allclose(np.diff(series.times_s), 0.033)
    np.testing.assert_array_equal(series.to_array(), np.stack(list(iter_frames(coronary, indices=range(20, 44)))))


def test_the_folder_of_transcodes_holds_eight_runs(shared_data):
    assert [one.n_frames for one in examine(shared_data / "xa_transcodes").series] == [24] * 8


def test_every_oddity_gives_one_line_and_no_traceback(shared_data):
    folder = shared_data / "dicom_oddities"
    found = read(folder)
    files = [one for one in folder.iterdir() if one.is_file()]
    assert not found.series
    assert {one.source for one in found.skipped} == {one.name for one in files}
    assert all(one.reason and "\n" not in one.reason and len(one.reason) < 200 for one in found.skipped)
