"""What is written is valid and comes back as it was."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from ClaireDSALib.dsa.read import read
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.demo import DEMO_RUNS, write_demo_case
from ClaireDSALib.simulator.dicom import write_run
from ClaireDSALib.simulator.dicom_flavours import write_enhanced, write_single_frames


@pytest.fixture(scope="module")
def written(small_case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    return folder, small_case.write_dicom(folder, truth=False)


def test_the_reader_gives_every_run_back_bit_by_bit(small_case, written):
    folder, _ = written
    found = {series.identity.description.split()[-1]: series for series in read(folder).series}
    assert set(found) == {run.run_id for run in small_case.runs}
    for run in small_case.runs:
        got, expected = found[run.run_id], series_of(run)
        assert np.array_equal(got.to_array(), expected.to_array()), run.run_id
        assert np.allclose(got.times_s, expected.times_s, atol=1e-6)
        assert got.geometry.pixel_spacing_mm == pytest.approx(expected.geometry.pixel_spacing_mm, rel=1e-6)
        assert got.geometry.view == expected.geometry.view
        assert got.geometry.primary_angle_deg == pytest.approx(expected.geometry.primary_angle_deg, abs=1e-6)
        assert got.intensity.relation == expected.intensity.relation
        if run.run_id != "single":
            assert got.subtraction_state == expected.subtraction_state
            assert [m.mask_frames for m in got.mask_operations] == [m.mask_frames for m in expected.mask_operations]


def test_the_planes_of_a_biplane_run_are_paired(written):
    pairs = read(written[0]).pairs
    assert len(pairs) == 1
    assert (pairs[0].ap.geometry.view, pairs[0].lateral.geometry.view) == ("ap", "lateral")


def test_dciodvfy_finds_no_error(written):
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    for path in written[1]:
        errors = _errors(tool, path)
        assert not errors, f"{path.name}: {errors}"


def test_enhanced_xa_is_valid_and_read_back(small_case, tmp_path):
    for run in small_case.runs:
        path = write_enhanced(small_case, run, tmp_path)
        (series,) = read(path).series
        assert np.array_equal(series.to_array(), run.frames), run.run_id
        assert np.allclose(series.times_s, run.plan.times_s, atol=1e-6)
        assert series.geometry.pixel_spacing_mm == pytest.approx([run.plan.view.isocentre_spacing_mm] * 2, rel=1e-5)
        tool = shutil.which("dciodvfy")
        if tool is None:
            pytest.skip("dciodvfy of dicom3tools is not installed")
        assert not _errors(tool, path)


def test_single_frame_files_are_gathered_into_their_run(small_case, tmp_path):
    run = small_case.runs[0]
    paths = write_single_frames(small_case, run, tmp_path)
    assert len(paths) == len(run.frames)
    (series,) = read(tmp_path).series
    assert np.array_equal(series.to_array(), run.frames)
    assert np.allclose(series.times_s, run.plan.times_s, atol=1e-5)
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    assert not _errors(tool, paths[0])


def _errors(tool: str, path) -> list[str]:
    result = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
    return [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("Error")]


def test_everything_says_simulated_and_nothing_names_a_person(written):
    for path in written[1]:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert "SIMULATED" in str(header.PatientName)
        assert "SIMULATED" in header.StudyDescription
        assert "SIMULATED" in header.Manufacturer
        assert header.PatientIdentityRemoved == "YES"


def test_jpeg_lossless_holds_the_same_pixels(small_case, tmp_path):
    small_case.write_dicom(tmp_path, compression="jpeg_lossless", truth=False)
    for path in tmp_path.glob("*.dcm"):
        assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    found = {series.identity.description.split()[-1]: series for series in read(tmp_path).series}
    for run in small_case.runs:
        assert np.array_equal(found[run.run_id].to_array(), series_of(run).to_array()), run.run_id


def test_monochrome1_files_are_read_with_contrast_dark(small_case, tmp_path):
    run = next(run for run in small_case.runs if run.plan.look.photometric == "MONOCHROME1")
    path = write_run(small_case, run, tmp_path, strict=False)
    assert pydicom.dcmread(path, stop_before_pixels=True).PhotometricInterpretation == "MONOCHROME1"
    (series,) = read(path).series
    assert np.array_equal(series.to_array(), series_of(run).to_array())


def test_the_demo_case_has_its_six_runs_and_two_pairs(tmp_path):
    paths = write_demo_case(tmp_path, size=96, frames=8, truth=False)
    assert [path.stem for path in paths] == list(DEMO_RUNS)
    result = read(tmp_path)
    assert len(result.series) == 6
    assert len(result.pairs) == 2
    assert not result.skipped
