"""From files to units: by headers, once, and only what is a run."""

import os
import re
import sys
import zipfile
from pathlib import Path

import pytest

from ClaireDSALib.cohort import discovery
from ClaireDSALib.cohort.discovery import Planner
from ClaireDSALib.cohort.index import Index
from ClaireDSALib.cohort.sources import candidates, places_of
from ClaireDSALib.cohort.units import fingerprint


def _discover(source, index, tmp_path, **options):
    Planner(tmp_path / "out", **options).discover(places_of(source), index, lambda *_: None)
    return list(index.units())


def test_every_run_is_a_unit_and_the_rest_has_a_reason(write_runs, an_index, tmp_path):
    folder = write_runs("one", "two")
    (folder / "note.txt").write_text("no picture")
    units = _discover(folder, an_index, tmp_path)
    assert sorted(Path(unit.paths[0]).name for unit in units) == ["one.dcm", "two.dcm"]
    assert an_index.n_units_and_runs() == (2, 2)
    assert [(Path(source).name, reason) for source, reason in an_index.not_used()] == [("note.txt", "not a DICOM file")]


def test_the_two_views_of_a_biplane_run_are_one_unit(write_runs, an_index, tmp_path):
    same = {"StudyInstanceUID": "1.2.3", "PatientID": "P", "AcquisitionDate": "20240101"}
    folder = write_runs("front", **same, PositionerPrimaryAngle=0.0, AcquisitionTime="100000")
    write_runs("side", **same, PositionerPrimaryAngle=90.0, AcquisitionTime="100000")
    write_runs("later", **same, PositionerPrimaryAngle=90.0, AcquisitionTime="120000")
    units = _discover(folder, an_index, tmp_path)
    assert sorted(len(unit.run_ids) for unit in units) == [1, 2]


def test_unchanged_files_are_not_opened_again(write_runs, tmp_path, monkeypatch):
    folder = write_runs("one", "two")
    index = Index(tmp_path / "index.sqlite")
    before = _discover(folder, index, tmp_path)
    index.close()
    looked = []
    monkeypatch.setattr(discovery, "_look", lambda path, size: looked.append(path) or ("", "", "changed"))
    index = Index(tmp_path / "index.sqlite")
    assert _discover(folder, index, tmp_path) == before
    assert looked == []
    index.close()


def test_pixels_changed_in_place_change_the_content(write_runs, an_index, tmp_path):
    """A de-identified copy keeps the UIDs and the size."""
    folder = write_runs("one")
    (before,) = _discover(folder, an_index, tmp_path)
    path = folder / "one.dcm"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    os.utime(path, (1, 1))
    (after,) = _discover(folder, an_index, tmp_path)
    assert after.run_ids == before.run_ids
    assert after.content != before.content


def test_the_key_follows_the_recipe(write_runs, an_index, tmp_path):
    (unit,) = _discover(write_runs("one"), an_index, tmp_path)
    assert unit.key("a") != unit.key("b")
    assert len(unit.key("a")) == 64


def test_files_that_went_are_forgotten(write_runs, an_index, tmp_path):
    folder = write_runs("one", "two")
    _discover(folder, an_index, tmp_path)
    (folder / "one.dcm").unlink()
    assert len(_discover(folder, an_index, tmp_path)) == 1


def test_a_copy_in_a_zip_is_counted_once_until_the_original_goes(write_runs, an_index, tmp_path):
    folder = write_runs("one")
    with zipfile.ZipFile(folder / "same.zip", "w") as archive:
        archive.write(folder / "one.dcm", "inside.dcm")
    (unit,) = _discover(folder, an_index, tmp_path)
    assert [reason for _, reason in an_index.not_used()] == ["the same run as elsewhere in the cohort; counted once"]
    Path(unit.paths[0]).unlink()
    (left,) = _discover(folder, an_index, tmp_path)
    assert left.run_ids == unit.run_ids


def test_a_list_names_paths_and_centres(write_runs, an_index, tmp_path):
    write_runs("one", "two")
    listed = tmp_path / "list.tsv"
    listed.write_text("path\tcentre\nin/one.dcm\tBerne\nin/two.dcm\tEssen\nin/gone.dcm\tEssen\n")
    assert sorted(unit.centre for unit in _discover(listed, an_index, tmp_path)) == ["Berne", "Essen"]
    assert [reason for _, reason in an_index.not_used()] == ["the list names a file that is not there"]


@pytest.mark.parametrize(("text", "told"), [("file\tcentre\n", "column 'path'"), (b"\xff\xfe\x00path", "UTF-8")])
def test_a_list_that_cannot_be_read_is_refused(tmp_path, text, told):
    listed = tmp_path / "list.tsv"
    listed.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=told):
        list(places_of(listed))


@pytest.mark.parametrize(
    ("mode", "shown"), [("auto", r"centre [0-9a-f]{6}"), ("institution", "General"), ("folder", "north"), ("none", "")]
)
def test_the_centre_comes_from_where_the_user_says(write_runs, an_index, tmp_path, mode, shown):
    write_runs("one", folder=tmp_path / "in" / "north", InstitutionName="General")
    (unit,) = _discover(tmp_path / "in", an_index, tmp_path, centre_from=mode)
    assert re.fullmatch(shown, unit.centre)


def test_the_cohorts_own_folder_is_never_searched(write_runs, tmp_path):
    folder = write_runs("one")
    write_runs("two", folder=folder / "out")
    (place,) = places_of(folder)
    assert [one.path.name for one in candidates(place, leave_out=folder / "out")] == ["one.dcm"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_need_not_be_text(write_runs, an_index, tmp_path):
    folder = write_runs("one")
    strange = folder / os.fsdecode(b"\xff\xfe.dcm")
    (folder / "one.dcm").rename(strange)
    (unit,) = _discover(folder, an_index, tmp_path)
    assert Path(unit.paths[0]).is_file()
    strange.write_text("no picture")
    assert _discover(folder, an_index, tmp_path) == []
    assert [reason for _, reason in an_index.not_used()] == ["not a DICOM file"]


def test_a_damaged_index_is_made_again(write_runs, tmp_path):
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    index = Index(tmp_path / "index.sqlite")
    assert len(_discover(write_runs("one"), index, tmp_path)) == 1
    index.close()


def test_a_large_file_is_sampled_from_end_to_end(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(1_000_000))
    whole = fingerprint(path, 1_000_000)
    with path.open("r+b") as stream:
        stream.seek(999_999)
        stream.write(b"x")
    assert fingerprint(path, 1_000_000) != whole


def test_many_units_come_in_the_order_of_the_table(write_runs, an_index, tmp_path, monkeypatch):
    monkeypatch.setattr("ClaireDSALib.cohort.index._PAGE", 2)
    units = _discover(write_runs(*"abcdefg"), an_index, tmp_path)
    assert len({unit.run_ids for unit in units}) == 7
    assert [unit.patient_key for unit in units] == sorted(unit.patient_key for unit in units)
