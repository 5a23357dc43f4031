"""Publishing: a bundle on the shelf is the bundle that was trained, and the catalogue has its true hashes."""

import json

import pytest

pytest.importorskip("torch", reason="evaluating a bundle needs torch")

from ClaireDSALib.models.catalogue import read_catalogue
from ClaireDSALib.models.hashing import bundle_files, bundle_sha256
from ClaireDSALib.models.store import entry_of_folder
from ClaireDSALib.training.metrics import Estimate
from ClaireDSALib.training.quality_evaluate import QualityFigures
from ClaireDSALib.training.quality_publish import publish_quality
from ClaireDSALib.training.sequence_evaluate import SequenceFigures, SetFigures
from ClaireDSALib.training.sequence_publish import publish_sequence
from ClaireDSALib.training.shelf import put_on_shelf, rounded_figure, write_card_and_entry
from ClaireDSALib.training.vessel_evaluate import FIGURES, VesselFigures
from ClaireDSALib.training.vessel_publish import publish_vessels

_E = Estimate(0.91234, 0.81234, 0.95678)
_COMMANDS = {"command": "the measuring command", "training_command": "the training command", "notes": "Its limits."}
_SECTIONS = {
    "vessels": {"thresholds": [0.5, 0.4, 0.3], "cleaning": {"smallest_fraction": 1e-4, "seed": 0.5},
                "work_px": [256, 512]},
    "sequence": {
        "size_px": 64,
        "threshold": 0.5,
        "phases": ["non_contrast", "arterial"],
        "network": {"arguments": {}},
    },
    "quality": {"temperature": 1.0, "threshold": 0.5, "network": {"arguments": {}}},
}  # fmt: skip


@pytest.fixture
def a_licence(tmp_path):
    path = tmp_path / "LICENCE"
    path.write_text("Apache")
    return path


def _bundle(folder, section="vessels", version="1.2.0"):
    for name, text in (("configs/train.json", "{}"), ("models/model.onnx", "graph"), ("__pycache__/a.pyc", "x")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    metadata = {"version": version, "name": "A title", "description": "Words.", section: _SECTIONS[section]}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return folder


def _entry(shelf, name, a_licence, tmp_path, **more):
    folder = put_on_shelf(_bundle(tmp_path / name, **more), shelf, a_licence)
    return entry_of_folder(folder, task="vessels", input_kind="minip", licence="Apache-2.0")


def _names(shelf):
    return [e.name for e in read_catalogue(shelf / "catalogue.json", origin="shipped")]


def test_a_bundle_arrives_whole_with_its_licence_and_without_compiled_files(tmp_path, a_licence):
    source = _bundle(tmp_path / "one")
    folder = put_on_shelf(source, tmp_path / "shelf", a_licence)
    assert bundle_files(folder) == bundle_files(source)
    assert (folder / "LICENSE").read_text() == "Apache"
    assert not (folder / "__pycache__").exists()


def test_files_of_the_bundle_it_replaces_are_gone(tmp_path, a_licence):
    (tmp_path / "shelf" / "one" / "models").mkdir(parents=True)
    (tmp_path / "shelf" / "one" / "models" / "old.onnx").write_text("old")
    folder = put_on_shelf(_bundle(tmp_path / "one"), tmp_path / "shelf", a_licence)
    assert sorted(bundle_files(folder)) == ["configs/metadata.json", "configs/train.json", "models/model.onnx"]


def test_a_bundle_that_lies_on_the_shelf_stays_there(tmp_path, a_licence):
    source = _bundle(tmp_path / "shelf" / "one")
    before = bundle_files(source)
    assert put_on_shelf(source, tmp_path / "shelf", a_licence) == source
    assert bundle_files(source) == before


def test_publishing_again_replaces_the_entry_and_leaves_the_others(tmp_path, a_licence):
    shelf = tmp_path / "shelf"
    for name in ("one", "two", "three"):
        write_card_and_entry(_entry(shelf, name, a_licence, tmp_path), "card")
    write_card_and_entry(_entry(shelf, "one", a_licence, tmp_path, version="2.0.0"), "new card")
    assert _names(shelf) == ["two", "three", "one"]
    assert read_catalogue(shelf / "catalogue.json", origin="shipped")[-1].version == "2.0.0"
    assert (shelf / "one" / "docs" / "README.md").read_text() == "new card"


def test_an_entry_may_be_put_before_all_others(tmp_path, a_licence):
    shelf = tmp_path / "shelf"
    write_card_and_entry(_entry(shelf, "one", a_licence, tmp_path), "card")
    write_card_and_entry(_entry(shelf, "two", a_licence, tmp_path), "card", first=True)
    assert _names(shelf) == ["two", "one"]


def test_figures_are_rounded_to_four_digits_with_or_without_an_interval():
    bare, bounded = rounded_figure("a", 0.123456, "d", "c"), rounded_figure("a", 0.5, "d", "c", 0.411119, 0.6)
    assert (bare.value, bare.low, bare.high) == (0.1235, None, None)
    assert (bounded.low, bounded.high) == (0.4111, 0.6)


def _vessels(source, shelf, licence):
    groups = dict.fromkeys(("suitable", "north"), dict.fromkeys(FIGURES, _E))
    found = VesselFigures(5, 3, groups, {"suitable": 4, "north": 2}, (), 0.01)
    return publish_vessels(source, shelf, {"bundle": found}, {"p1": 0.8}, licence_file=licence, **_COMMANDS)


def _sequence(source, shelf, licence):
    area = (_E.value, _E.low, _E.high)
    one = SetFigures(10, 5, area, 0.7, area, 0.6, {"frontal": (0.8, 0.7)}, (1, 2, 3, 4), 0.8, 0.7, 0.6)
    found = SequenceFigures(
        n_runs=20,
        assessable=one,
        without_pca=one,
        all=one,
        sensitivity_by_site={"M1": (0.9, 5, 0.8, 10)},
        auc_by_site={"M1": 0.97},
        sensitivity_by_area={"1 to 2": (0.5, 4)},
        site_hits=(0.6, 7),
        site_median_mm=8.0,
        phase_accuracy=0.93,
    )
    return publish_sequence(source, shelf, found, licence_file=licence, **_COMMANDS)


def _quality(source, shelf, licence):
    rows = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    found = QualityFigures(5, 3, _E, _E, 0.7, 0.1, rows, 0.4, 3, 2, _E, _E, _E, _E, "large 1")
    return publish_quality(source, shelf, found, licence_file=licence, **_COMMANDS)


@pytest.mark.parametrize(
    ("section", "task", "publish"),
    [("vessels", "vessels", _vessels), ("sequence", "thrombus", _sequence), ("quality", "quality", _quality)],
)
def test_what_is_published_has_true_hashes_its_figures_and_a_card(section, task, publish, tmp_path, a_licence):
    shelf = tmp_path / "shelf"
    publish(_bundle(tmp_path / f"a_{section}", section), shelf, a_licence)
    (entry,) = read_catalogue(shelf / "catalogue.json", origin="shipped")
    assert (entry.name, entry.task, entry.version, entry.title) == (f"a_{section}", task, "1.2.0", "A title")
    assert entry.files == bundle_files(shelf / entry.name)
    assert entry.sha256 == bundle_sha256(entry.files)
    assert (0.9123, 0.8123, 0.9568) in {(f.value, f.low, f.high) for f in entry.figures}
    card = (shelf / entry.name / "docs" / "README.md").read_text()
    for words in ("the measuring command", "the training command", "Its limits.", "simulated", "not a medical device"):
        assert words in card


def test_the_card_says_at_which_sizes_and_how_often_the_network_is_shown_a_picture(tmp_path, a_licence):
    _vessels(_bundle(tmp_path / "once"), tmp_path / "shelf", a_licence)
    card = (tmp_path / "shelf" / "once" / "docs" / "README.md").read_text()
    assert "shown the picture with its longer side brought into the range 256 to 512 px." in card

    twice = _bundle(tmp_path / "twice")
    path = twice / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["vessels"]["looks"] = [{}, {"least_px": 640, "mirrored": True}]
    path.write_text(json.dumps(metadata))
    _vessels(twice, tmp_path / "shelf", a_licence)
    card = (tmp_path / "shelf" / "twice" / "docs" / "README.md").read_text()
    for words in ("shown the picture 2 times", "512 to 768 px", "640 to 768 px, mirrored", "mean of its logits"):
        assert words in card
