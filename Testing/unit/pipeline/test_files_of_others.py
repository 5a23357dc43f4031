"""Files from elsewhere are refused with a sentence, not with a crash, a full disk or a wrong answer."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ClaireDSALib.cli.main import app
from ClaireDSALib.cohort.run import run_cohort
from ClaireDSALib.dsa.strict_json import parse_json, read_json, read_object
from ClaireDSALib.models import store
from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.labels import NINE_LABELS
from ClaireDSALib.pipeline.report import CaseReport
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.training.annotations import load_annotated
from ClaireDSALib.web.logic.review_book import ReviewBook

POISON = {
    "a number beyond all": ('{"schema_version": 1e999}', "too large"),
    "a number of thousands of digits": ('{"schema_version": ' + "9" * 5000 + "}", "too large"),
    "not a number": ('{"schema_version": NaN}', "no number in JSON"),
    "infinity": ('{"schema_version": -Infinity}', "no number in JSON"),
    "nested without end": ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "half a file": ('{"schema_version": ', "Expecting value"),
}


def _metadata(path: Path) -> object:
    place = path.parent / "bundle" / "configs" / "metadata.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(path.read_bytes())
    return read_metadata(place.parents[1])


READERS: dict[str, Callable[[Path], object]] = {
    "settings": read_json,
    "report": lambda path: CaseReport.from_json(path.read_text()),
    "corrections": ReviewBook.open,
    "bundle": _metadata,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", POISON)
def test_json_that_is_none_is_refused_by_every_importer(reader, kind, tmp_path):
    text, reason = POISON[kind]
    path = tmp_path / "given.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        READERS[reader](path)


def test_a_json_file_that_would_fill_the_memory_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate(300 * 2**20)
    with pytest.raises(ValueError, match="at most 268435456 are read"):
        read_json(path)


def test_json_within_the_standard_comes_as_it_is():
    value = {"a": [1, -2.5e-3, 10**300, "ü", None, True]}
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"maps": "no"}, "maps must be true or false; got 'no'"),
        ({"perfusion": 2}, "perfusion must be true or false; got 2"),
        ({"label_bundle": 7}, "label_bundle must be text; got 7"),
        ({"input_regions": {"a": [0, 0, float("inf"), 4]}}, "input region"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(data, reason):
    with pytest.raises(ValueError, match=reason):
        Settings.from_dict(data)


def test_a_zip_that_grows_as_no_weights_do_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAIRE_DSA_HOME", str(tmp_path / "home"))
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("b/models/model.onnx", bytes(64 * 2**20))
        zipped.writestr("b/configs/metadata.json", "{}")
    assert archive.stat().st_size < 2**20
    with pytest.raises(BundleError, match="as no weights do; it was not added"):
        store.add(str(archive), confirm=lambda _: True)
    assert not list((tmp_path / "home").rglob("*.onnx"))


def test_a_zip_with_a_link_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAIRE_DSA_HOME", str(tmp_path / "home"))
    archive, link = tmp_path / "link.zip", zipfile.ZipInfo("b/configs")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(link, "/etc")
        zipped.writestr("b/metadata.json", "{}")
    with pytest.raises(BundleError, match=r"link\.zip holds a link .'b/configs'., which no bundle needs"):
        store.add(str(archive), confirm=lambda _: True)


@pytest.mark.parametrize("text", ["[]", '"a"', "3", "null"])
def test_settings_that_are_no_object_are_refused(text, tmp_path):
    (tmp_path / "given.json").write_text(text)
    with pytest.raises(ValueError, match=r"given\.json must hold one JSON object"):
        read_object(tmp_path / "given.json")


def test_an_unknown_preset_is_bad_usage_and_nothing_is_analysed(tmp_path):
    told = CliRunner().invoke(app, ["review", str(tmp_path), "--out", str(tmp_path / "out"), "--preset", "../rules"])
    assert told.exit_code == 2
    assert "no suitability preset '../rules'; there are ['perfusion'" in told.stderr
    assert not (tmp_path / "out").exists()


HEAD = "path\tlabel\tclass\trater\tpatient\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEAD.encode(), "no annotation below its head"),
        (HEAD.encode() + b"=cmd|1\tregion\tintracranial\tr\tp\n", "names 1 files that are not there.*'=cmd.1'"),
        (bytes(range(256)), "no table in UTF-8 text"),
        (HEAD.encode() + b"a" * 200_000 + b"\tregion\tintracranial\tr\tp\n", "no table in UTF-8 text"),
    ],
)
def test_a_table_of_annotations_that_is_none_is_refused(content, reason, tmp_path):
    (tmp_path / "table.tsv").write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        load_annotated(tmp_path / "table.tsv", NINE_LABELS)


@pytest.mark.parametrize("content", [b"picture\tcentre\na\tb\n", b"path\n" + b"a" * 200_000, bytes(range(256))])
def test_a_list_of_a_cohort_that_is_none_is_refused_before_anything_is_made(content, tmp_path):
    (tmp_path / "list.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=r"list.tsv (needs a column 'path'|is no tab-separated UTF-8 text)"):
        run_cohort(tmp_path / "list.tsv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
