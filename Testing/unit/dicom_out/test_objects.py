"""What is written is valid, belongs to the patient and the study, and is what was found."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK

from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.export.dicom_objects import dicom_objects, write_dicom_objects
from ClaireDSALib.export.dicom_reader import read_sr
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import Override
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.simulator.dicom_flavours import write_enhanced, write_single_frames

_SAID = (Override("side", "correct", "left", "clearly left", "Jane Doe", "2026-11-20T09:30:00+00:00"),)


@pytest.fixture(scope="module")
def written(a_result, a_read_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    said = {a_result.report.runs[0].run_id: _SAID}
    return write_dicom_objects(a_result, a_read_study.series, folder, corrections=said)


@pytest.fixture(scope="module")
def objects(written):
    return [pydicom.dcmread(path) for path in written]


def _of_class(objects, name):
    return [one for one in objects if one.SOPClassUID.name == name]


def _items(item):
    """Every content item below one."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from _items(child)


def test_everything_there_is_to_say_is_written(objects):
    kinds = [one.SOPClassUID.name for one in objects]
    assert kinds.count("Secondary Capture Image Storage") == 6
    assert kinds.count("Multi-frame True Color Secondary Capture Image Storage") == 6
    assert kinds.count("Segmentation Storage") == 6
    assert kinds.count("Comprehensive 3D SR Storage") == 2


def test_dciodvfy_accepts_every_object_without_error_or_warning(written, verify):
    for path in written:
        assert verify(path) == ([], []), path.name


def test_dcmtk_reads_every_object(written, objects, tmp_path):
    render = shutil.which("dcm2img") or shutil.which("dcmj2pnm")
    if render is None or shutil.which("dsrdump") is None:
        pytest.skip("dcmtk is not installed")
    for path, dataset in zip(written, objects, strict=True):
        commands = {
            "SR": ["dsrdump", str(path)],
            "SEG": ["dcmdump", str(path)],
            "OT": [render, str(path), str(tmp_path / "picture")],
        }
        done = subprocess.run(commands[dataset.Modality], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        problems = [line for line in done.stderr.splitlines() if "does not support this Specific Character" not in line]
        assert not problems, f"{path.name}: {problems}"


def test_patient_and_study_are_those_of_the_run_and_series_are_new(objects, a_study):
    source = pydicom.dcmread(next(a_study.glob("*.dcm")), stop_before_pixels=True)
    for one in objects:
        for keyword in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime"):
            assert str(one[keyword].value) == str(source[keyword].value), keyword
        assert one.SeriesInstanceUID != source.SeriesInstanceUID
        assert one.PatientIdentityRemoved == "YES"


def test_every_object_says_once_that_it_is_for_research(objects):
    for one in objects:
        assert one.to_json().count("research use only") == 1


def test_pictures_are_derived_and_name_the_frames_they_come_from(objects, a_read_study):
    sources = {ref.sop_instance_uid for series in a_read_study.series for ref in series.frame_refs}
    for one in objects:
        if one.Modality not in ("OT", "SEG"):
            continue
        assert one.ImageType[0] == "DERIVED"
        if one.Modality == "OT":
            (cited,) = one.SourceImageSequence
            assert cited.ReferencedSOPInstanceUID in sources
            assert list(cited.ReferencedFrameNumber) == [1, 2, 3, 4, 5, 6]


def test_projections_hold_the_values_and_the_spacing_of_the_run(objects, a_result, a_read_study):
    found = iter(_of_class(objects, "Secondary Capture Image Storage"))
    for series in a_read_study.series:
        arrays = a_result.arrays[series.run_id]
        for name in ("minip", "arterial_minip", "subtracted_minip"):
            one = next(found)
            assert np.array_equal(one.pixel_array, arrays[name]), name
            assert one.PixelSpacing == pytest.approx(series.geometry.pixel_spacing_mm)
            assert one.PhotometricInterpretation == "MONOCHROME2"


def _masks_of(projection, result):
    """Arrays of the run that a projection shows."""
    return next(a for a in result.arrays.values() if np.array_equal(a["subtracted_minip"], projection.pixel_array))


def test_simpleitk_reads_projection_and_segment_on_one_grid(written, objects, a_result):
    paths = {one.SOPInstanceUID: path for one, path in zip(objects, written, strict=True)}
    for segment in _of_class(objects, "Segmentation Storage"):
        cited = paths[segment.SourceImageSequence[0].ReferencedSOPInstanceUID]
        image, mask = SimpleITK.ReadImage(cited), SimpleITK.ReadImage(paths[segment.SOPInstanceUID])
        for read_back in (image, mask):
            assert read_back.GetSize() == (64, 64, 1)
            assert read_back.GetOrigin() == (0, 0, 0)
            assert read_back.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        row_mm, column_mm = pydicom.dcmread(cited).PixelSpacing
        assert image.GetSpacing()[:2] == mask.GetSpacing()[:2] == pytest.approx((column_mm, row_mm))
        arrays = _masks_of(pydicom.dcmread(cited), a_result)
        drawn = SimpleITK.GetArrayFromImage(mask)[0] > 0
        assert np.array_equal(drawn, arrays[segment.ContentLabel.lower()])


def test_highdicom_gives_the_masks_back_on_their_projection(written, objects, a_result):
    projections = {one.SOPInstanceUID: one for one in _of_class(objects, "Secondary Capture Image Storage")}
    meanings = {"vessels": "Blood vessel", "arteries": "Artery", "veins": "Vein"}
    seen = []
    for path, one in zip(written, objects, strict=True):
        if one.Modality != "SEG":
            continue
        segment = highdicom.seg.segread(path)
        (source,) = [uid for _, _, uid in segment.get_source_image_uids()]
        assert projections[source].ImageType[2] == "SUBTRACTED_MINIP"
        mask = segment.get_pixels_by_source_instance([source])[0, ..., 0] > 0
        name = segment.ContentLabel.lower()
        assert np.array_equal(mask, _masks_of(projections[source], a_result)[name])
        assert segment.get_segment_description(1).segmented_property_type.meaning == meanings[name]
        seen.append(name)
    assert seen == ["vessels", "arteries", "veins"] * 2


def test_frames_of_coloured_pictures_have_names(objects):
    overlay, maps, evidence = _of_class(objects, "Multi-frame True Color Secondary Capture Image Storage")[:3]
    assert list(overlay.FrameLabelVector) == ["Vessels", "Arteries red", "Thrombus"]
    assert overlay.pixel_array.shape == (3, 64, 64, 3)
    assert "Time to peak" in maps.FrameLabelVector
    assert maps.NumberOfFrames >= 6
    assert "side: right 65%" in evidence.DerivationDescription


def _as_stored(label):
    """Without names of arrays; without probabilities when the label was not answered, since they mean nothing."""
    if label.answered:
        return dataclasses.replace(label, cam_arrays={})
    return dataclasses.replace(label, classes=(), probabilities=())


def test_the_structured_report_read_back_equals_the_report(written, a_result):
    found = read_sr(written[-2])
    report = a_result.report
    assert not found.is_by_person
    assert not found.is_verified
    assert [run.run_id for run in found.runs] == [run.run_id for run in report.runs]
    for got, expected in zip(found.runs, report.runs, strict=True):
        assert got.labels == tuple(_as_stored(label) for label in expected.labels)
        assert got.quality == expected.quality
        assert got.algorithms["quality"].name == "some_quality"
        assert got.out_of_distribution == expected.out_of_distribution
        assert got.suitability == expected.suitability
        assert got.vessels == dataclasses.replace(
            expected.vessels, array="", centerline_array="", artery_array="", vein_array=""
        )
        assert got.thrombus == dataclasses.replace(expected.thrombus, heat_array="")
        assert got.phases == dataclasses.replace(expected.phases, probabilities=())
        assert got.perfusion == expected.perfusion
        assert got.notes == expected.notes
        assert got.view == expected.acquisition.view
        assert got.algorithms["labels"].sha256 == "ab" * 32
        assert got.overrides == ()
    assert found.pairs == report.pairs
    assert found.reperfusion == tuple(dataclasses.replace(one, views=()) for one in report.reperfusion)


def test_the_report_cites_the_frames_it_rests_on(written, a_read_study):
    found = read_sr(written[-2])
    for series in a_read_study.series:
        uid = series.frame_refs[0].sop_instance_uid
        assert found.run(series.run_id).frames == ((uid, (1, 2, 3, 4, 5, 6)),)


def test_corrections_are_a_person_s_and_leave_the_model_s_report_alone(written, a_result, a_read_study):
    review = read_sr(written[-1])
    assert (review.is_by_person, review.is_verified, review.observer) == (True, True, "Jane Doe")
    assert review.runs[0].overrides == _SAID
    assert review.runs[0].labels == ()
    without = dicom_objects(a_result, a_read_study.series)
    assert without[-1].SOPInstanceUID == pydicom.dcmread(written[-2]).SOPInstanceUID
    dataset = pydicom.dcmread(written[-1])
    cited = [
        item.ReferencedSOPInstanceUID
        for series in dataset.CurrentRequestedProcedureEvidenceSequence
        for one in series.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    ]
    assert without[-1].SOPInstanceUID in cited
    assert dataset.VerifyingObserverSequence[0].VerificationDateTime == "20261120093000+0000"


def test_corrections_in_the_report_count_too_and_nobody_s_are_not_verified(a_result, a_read_study):
    run = dataclasses.replace(a_result.report.runs[0], overrides=(Override("side", "unsure"),))
    report = dataclasses.replace(a_result.report, runs=(run, *a_result.report.runs[1:]))
    review = dicom_objects(dataclasses.replace(a_result, report=report), a_read_study.series)[-1]
    assert review.VerificationFlag == "UNVERIFIED"
    assert any("Unnamed reviewer" in str(item.get("PersonName")) for item in _items(review))


def test_the_same_input_gives_the_same_bytes(written, a_study, a_result, tmp_path):
    said = {a_result.report.runs[0].run_id: _SAID}
    again = write_dicom_objects(a_result, read(a_study).series, tmp_path, corrections=said)
    assert [path.name for path in again] == [path.name for path in written]
    for one, other in zip(again, written, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_another_model_version_gives_other_uids(objects, a_result, a_read_study):
    models = tuple(dataclasses.replace(model, version="9") for model in a_result.report.provenance.models)
    report = dataclasses.replace(
        a_result.report, provenance=dataclasses.replace(a_result.report.provenance, models=models)
    )
    others = dicom_objects(dataclasses.replace(a_result, report=report), a_read_study.series)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert not {one[keyword].value for one in others} & {one[keyword].value for one in objects}
    assert {one.StudyInstanceUID for one in others} == {one.StudyInstanceUID for one in objects}


def test_uids_are_unique_and_another_content_gets_another(objects, a_result, a_read_study):
    uids = [one.SOPInstanceUID for one in objects]
    assert len(set(uids)) == len(uids)
    arrays = {run_id: dict(found) for run_id, found in a_result.arrays.items()}
    first = a_read_study.series[0].run_id
    arrays[first]["vessels"] = arrays[first]["vessels"].copy()
    arrays[first]["vessels"][0, 0] ^= True
    changed = dicom_objects(dataclasses.replace(a_result, arrays=arrays), a_read_study.series)
    segments = [one for one in changed if one.Modality == "SEG"]
    assert segments[0].SOPInstanceUID not in uids
    assert all(one.SOPInstanceUID in uids for one in segments[1:])


def test_our_own_objects_are_not_taken_for_runs(written):
    found = read(written[0].parent)
    assert found.series == ()
    assert len(found.skipped) == len(written)


@pytest.mark.parametrize("flavour", ["enhanced", "single frames", "monoplane"])
def test_other_forms_of_a_run_are_valid_too(flavour, a_case, a_study, analysed, tmp_path, verify):
    run = a_case.runs[0]
    if flavour == "enhanced":
        write_enhanced(a_case, run, tmp_path / "in")
    elif flavour == "single frames":
        write_single_frames(a_case, run, tmp_path / "in")
    else:
        (tmp_path / "in").mkdir()
        shutil.copy(sorted(a_study.glob("*.dcm"))[0], tmp_path / "in")
    study = read(tmp_path / "in")
    written = write_dicom_objects(analysed(study), study.series, tmp_path / "out")
    for path in written:
        assert verify(path) == ([], []), path.name
    cited = read_sr(written[-1]).runs[0].frames
    assert [numbers for _, numbers in cited] == ([()] * 6 if flavour == "single frames" else [(1, 2, 3, 4, 5, 6)])
    assert len(pydicom.dcmread(written[0]).SourceImageSequence) == len(cited)


def _without_spacing(dataset):
    for keyword in ("ImagerPixelSpacing", "DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor"):
        delattr(dataset, keyword)


def _without_name(dataset):
    dataset.PatientName = ""
    del dataset.PatientSex, dataset.StudyID, dataset.AccessionNumber


def _without_body_part(dataset):
    del dataset.BodyPartExamined


def _inverted(dataset):
    top = 2**dataset.BitsStored - 1
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PixelData = (top - dataset.pixel_array).astype("<u2").tobytes()


def _japanese(dataset):
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize("change", [_without_spacing, _without_name, _without_body_part, _inverted, _japanese])
def test_unusual_headers_give_valid_objects(change, edited, analysed, a_result, tmp_path, verify):
    study = read(edited(change))
    result = analysed(study)
    written = write_dicom_objects(result, study.series, tmp_path / "out")
    for path in written:
        errors, warnings = verify(path)
        assert not errors, f"{path.name}: {errors}"
        if change not in (_without_name, _without_body_part):  # what the run does not say is remarked on
            assert not warnings, f"{path.name}: {warnings}"
    first = pydicom.dcmread(written[0])
    vessels = read_sr(written[-1]).runs[0].vessels
    if change is _without_spacing:
        assert "PixelSpacing" not in first
        assert vessels.length_mm is None
        assert vessels.length_px > 0
    elif change is _without_body_part:
        assert first.Laterality == ""
    elif change is _without_name:
        assert first.PatientName == ""
    elif change is _inverted:
        expected = a_result.arrays[a_result.report.runs[0].run_id]["minip"]
        assert np.array_equal(first.pixel_array, expected)
    else:
        assert first.SpecificCharacterSet == "ISO_IR 192"
        assert str(first.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_a_run_that_failed_is_reported_without_pictures(a_result, a_read_study):
    run = dataclasses.replace(
        a_result.report.runs[0], error="project failed: damaged frame", vessels=None, thrombus=None, labels=()
    )
    report = dataclasses.replace(a_result.report, runs=(run,), pairs=())
    (only,) = dicom_objects(dataclasses.replace(a_result, report=report, arrays={}), a_read_study.series)
    assert only.Modality == "SR"
    assert any("damaged frame" in (item.get("TextValue") or "") for item in _items(only))


def test_a_run_from_memory_is_refused_with_the_reason(a_series):
    result = analyze([a_series], Settings(label_bundle="none", thrombus_bundle="none", vessel_bundle="none"))
    with pytest.raises(ValueError, match="not read from DICOM files"):
        dicom_objects(result, [a_series])


def test_a_run_that_was_not_handed_in_is_named(a_result, a_read_study):
    with pytest.raises(ValueError, match=a_read_study.series[1].run_id):
        dicom_objects(a_result, a_read_study.series[:1])


def test_a_file_that_has_gone_is_named_without_its_path(a_result, edited, analysed):
    folder = edited(lambda dataset: None)
    study = read(folder)
    result = analysed(study)
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match=r"cannot be read again \(No such file or directory\)") as problem:
        dicom_objects(result, study.series)
    assert "edited" not in str(problem.value)


def test_a_file_without_a_study_is_refused(edited, analysed):
    study = read(edited(lambda dataset: delattr(dataset, "StudyInstanceUID")))
    with pytest.raises(ValueError, match="no study or series instance UID"):
        dicom_objects(analysed(study), study.series)
    assert isinstance(study.series[0], DsaSeries)


@pytest.mark.parametrize("name", ["xa_nema/XA1_JPLL.dcm", "xa_transcodes/0002_24f_rle.dcm"])
def test_real_runs_give_objects_without_error(name, shared_data, tmp_path, verify):
    study = read(shared_data / name)
    settings = Settings(label_bundle="none", thrombus_bundle="none", vessel_bundle="none", perfusion=False, maps=False)
    written = write_dicom_objects(analyze(study.series, settings), study.series, tmp_path)
    assert len(written) >= 3
    for path in written:
        assert verify(path)[0] == [], path.name
    vessels = read_sr(written[-1]).runs[0].vessels
    assert vessels is not None
    assert vessels.length_px > 0
