"""Devices marked pixel by pixel in the brightest picture, and what that says about the label."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

pytest.importorskip("torch")

from ClaireDSALib.cli.main import app
from ClaireDSALib.models.bundle import open_bundle
from ClaireDSALib.models.classifier import load_classifier
from ClaireDSALib.models.device_finder import DeviceFinder
from ClaireDSALib.models.device_input import counted, device_channels
from ClaireDSALib.models.errors import BundleError, ImageRefusedError
from ClaireDSALib.models.labels import NINE_LABELS, LabelSet
from ClaireDSALib.models.two_pictures import NINE_LABEL_CHOICE
from ClaireDSALib.training.additions import carry_additions
from ClaireDSALib.training.device_fit import (
    DeviceFitSettings,
    area_score,
    fit_devices,
    load_brightest_pictures,
    load_device_examples,
)
from ClaireDSALib.training.device_set import DeviceSetPlan, make_device_set
from ClaireDSALib.training.device_train import teach_devices
from ClaireDSALib.training.faithfulness import measure_device_maps
from Testing.unit.models.tiny_bundle import write_tiny_bundle
from Testing.unit.models.tiny_pictures import a_minip

QUICK = {"steps": 60, "batch": 4, "crop_px": 128, "validate_every": 60, "learning_rate": 4e-3, "average": 0.9}


def with_wire(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture with a dark line across it, and where the line lies."""
    rows = np.arange(20, picture.shape[0] - 20)
    columns = (picture.shape[1] / 2 + 30 * np.sin(rows / 25 + rng.uniform(0, 6))).astype(int)
    mask = np.zeros(picture.shape, bool)
    for offset in (0, 1, 2):
        mask[rows, columns + offset] = True
    return np.where(mask, picture // 3, picture), mask


@pytest.fixture(scope="module")
def a_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clouds, every other one with a wire."""
    folder = tmp_path_factory.mktemp("devices")
    (folder / "runs").mkdir()
    rng, lines = np.random.default_rng(0), []
    for number in range(24):
        picture, device = a_minip((192, 192), seed=number), np.zeros((192, 192), bool)
        if number % 2:
            picture, device = with_wire(picture, rng)
        path = f"runs/r{number}.npz"
        np.savez(folder / path, brightest=picture, device=device, region=np.ones_like(device))
        line = {"npz": path, "patient": f"p{number}", "split": "train" if number < 14 else "validation"}
        lines.append(line | {"labels": {"device": "present" if number % 2 else "absent"}})
    (folder / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def taught(a_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label bundle that marks devices."""
    folder = tmp_path_factory.mktemp("taught")
    write_tiny_bundle(folder / "tiny", pictures=NINE_LABEL_CHOICE)
    return teach_devices(folder / "tiny", a_set, folder / "taught", QUICK)


def test_the_simulated_set_says_where_devices_stand_out(tmp_path: Path) -> None:
    made = make_device_set(DeviceSetPlan(tmp_path, patients=1, runs=4, sizes_px=(96,), seed=9_000_002))
    lines = [json.loads(line) for line in (made / "index.jsonl").read_text().splitlines()]
    assert [line["labels"]["subtraction"] for line in lines] == ["unsubtracted"] * 4
    for line in lines:
        with np.load(made / line["npz"]) as arrays:
            assert arrays["brightest"].shape == (96, 96)
            assert not arrays["device"][~arrays["region"]].any()
            area_mm2 = arrays["device"].sum() * line["spacing_mm"] ** 2
        told = "present" if area_mm2 >= 16 else "absent" if area_mm2 <= 4 else None
        assert line["labels"]["device"] == told
    assert {line["size_px"] for line in lines} == {96}


def test_channels_are_of_one_range_whatever_the_bit_depth() -> None:
    picture = a_minip((200, 240))
    channels = device_channels(picture, 128)
    assert channels.shape == (2, 128, 128)
    assert np.abs(channels[0]).max() <= 1
    assert np.abs(channels[1]).max() <= 3
    np.testing.assert_allclose(channels, device_channels(picture.astype(np.float64) * 16 + 100, 128), atol=2e-3)
    with pytest.raises(ImageRefusedError, match="constant"):
        device_channels(np.full((64, 64), 7), 128)


def test_more_of_a_device_counts_more() -> None:
    empty = np.full((64, 64), -12.0)
    some, more = empty.copy(), empty.copy()
    some[10, 10:30], more[10:14, 10:50] = 5.0, 5.0
    assert np.all(counted(empty) < counted(some))
    assert np.all(counted(some) <= counted(more))


def test_wires_are_learnt_and_an_interrupted_training_goes_on(a_set: Path, tmp_path: Path) -> None:
    train, validation = (load_device_examples(a_set, split) for split in ("train", "validation"))
    lines: list[str] = []
    half = DeviceFitSettings(**QUICK | {"steps": 30, "validate_every": 30})
    fit_devices(train, validation, half, tmp_path / "net.pt", report=lines.append)
    network = fit_devices(train, validation, DeviceFitSettings(**QUICK), tmp_path / "net.pt", report=lines.append)
    assert "resumed after step 30" in lines
    assert area_score(network, validation) > 0.9


def test_the_analysis_weighs_what_is_marked_and_shows_it(taught: Path) -> None:
    bundle = open_bundle(taught)
    assert bundle.finder is not None
    classifier, rng = load_classifier(taught, confirmed=True), np.random.default_rng(7)
    presence, truth = [], []
    for seed in range(100, 110):
        empty = a_minip((192, 192), seed=seed)
        wired, mask = with_wire(empty, rng)
        for picture, there in ((empty, False), (wired, True)):
            found = classifier.classify(empty, brightest=picture, subtraction_state="unsubtracted")
            assert found.label("device").picture == "brightest"
            presence.append(found.label("device").probabilities[1])
            truth.append(there)
        marked = found.cams["device"]["present"]
        assert marked.shape == (256, 256)
        np.testing.assert_array_equal(found.cams["device"]["absent"], np.minimum(-marked, 0))
        place = np.kron(mask[::3, ::3], np.ones((4, 4), bool))[:256, :256]
        assert marked[place].mean() > marked[~place].mean() + 1, "the map is strongest on the wire"
    assert roc_auc_score(truth, presence) > 0.9
    dark = classifier.classify(empty, brightest=wired, subtraction_state="unsubtracted")
    bright = classifier.classify(
        4095 - empty, brightest=4095 - wired, subtraction_state="unsubtracted", contrast="bright"
    )
    chances = [one.label("device").probabilities[1] for one in (dark, bright)]
    assert chances[0] == pytest.approx(chances[1], abs=0.02), "polarity does not matter"


def test_evaluation_judges_devices_as_the_analysis_does(taught: Path) -> None:
    from ClaireDSALib.training.evaluate import predict
    from ClaireDSALib.training.samples import LabelledPictures, RunEvidence, to_cache

    classifier = load_classifier(taught, confirmed=True)
    labels, size = classifier.bundle.labels, 2 * classifier.bundle.input_spec.size_px
    wired, _ = with_wire(a_minip((192, 192)), np.random.default_rng(1))
    kept = to_cache(wired, size)
    pictures = LabelledPictures(
        images=kept[None],
        targets=np.zeros((1, len(labels.names)), np.int64),
        patients=np.array(["p"]),
        labels=labels,
        names=("r",),
        groups=np.array([""]),
        runs=(RunEvidence(kept, None, False),),
    )
    found = predict(classifier, pictures)[0][0, labels.slice_of("device")]
    read = classifier.classify(kept, brightest=kept, subtraction_state="unsubtracted").label("device")
    np.testing.assert_allclose(found, read.probabilities, atol=0.02)


def test_maps_are_held_against_where_the_devices_are(taught: Path, a_set: Path) -> None:
    found = measure_device_maps(load_classifier(taught, confirmed=True), a_set)
    assert found["pictures"] == 5
    assert found["mass_on_devices"] > 2 * found["area_of_devices"]
    assert found["strongest_on_device"] == 1.0
    with pytest.raises(ValueError, match="no runs that show a device in split 'test'"):
        measure_device_maps(load_classifier(taught, confirmed=True), a_set, split="test")


def test_the_maps_of_a_label_that_a_bundle_lacks_are_refused(a_set: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "two", labels=LabelSet(NINE_LABELS.labels[:2]))
    given = ["evaluate", "maps", "--data", str(a_set), "--bundle", str(tmp_path / "two"), "--label", "device", "--yes"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 1
    assert "has no label 'device'; it has ['contrast_fluid'" in result.output.replace("\n", " ")


def test_a_bundle_made_of_another_marks_devices_too(taught: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "child", pictures=NINE_LABEL_CHOICE)
    carry_additions(taught, tmp_path / "child", "classifier")
    parent, child = (open_bundle(folder) for folder in (taught, tmp_path / "child"))
    picture = a_minip((192, 192))
    first, second = (DeviceFinder(one.folder, one.finder).find(picture) for one in (parent, child))
    np.testing.assert_array_equal(first.logits, second.logits)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": ["weather"]}, "does not compute alike"),
        ({"scale": [0.0] * 6}, "above zero"),
        ({"weights": [1.0]}, "needs 6 means"),
        ({"onnx": "../device.onnx"}, "lies outside"),
        ({"label": "side"}, "does not read off the brightest"),
    ],
)
def test_a_wrong_entry_is_refused(taught: Path, change: dict, words: str) -> None:
    path = taught / "configs" / "metadata.json"
    kept = path.read_text()
    metadata = json.loads(kept)
    metadata["classifier"]["finder"] |= change
    try:
        path.write_text(json.dumps(metadata))
        with pytest.raises(BundleError, match=words):
            open_bundle(taught)
    finally:
        path.write_text(kept)


def test_pictures_of_a_label_set_weigh_in(a_set: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    lines = []
    for number, label in enumerate(("present", "absent", None)):
        arrays = {"minip": a_minip((64, 64), seed=number)} | ({"brightest": a_minip((64, 64))} if number < 2 else {})
        np.savez(tmp_path / "runs" / f"r{number}.npz", **arrays)
        common = {"npz": f"runs/r{number}.npz", "patient": "p", "split": "validation"}
        lines += [common | {"picture": kind, "labels": {"device": label}} for kind in ("minip", "subtracted")]
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = load_brightest_pictures(tmp_path, "validation")
    assert [one.label for one in found] == ["present", "absent"]
    assert load_brightest_pictures(tmp_path, "train") == []
    write_tiny_bundle(tmp_path / "tiny", pictures=NINE_LABEL_CHOICE)
    told: list[str] = []
    quick = QUICK | {"steps": 1}
    teach_devices(tmp_path / "tiny", a_set, tmp_path / "out", quick, weigh_on=tmp_path, report=told.append)
    assert any("weighed on 12 validation pictures" in line for line in told)


def test_bundles_and_sets_that_cannot_learn_devices_are_refused(a_set: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "plain")
    with pytest.raises(BundleError, match="teach it its frames first"):
        teach_devices(tmp_path / "plain", a_set, tmp_path / "out", QUICK)
    write_tiny_bundle(tmp_path / "tiny", pictures=NINE_LABEL_CHOICE)
    lines = [json.loads(line) for line in (a_set / "index.jsonl").read_text().splitlines()]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "runs").symlink_to(a_set / "runs")
    only = "".join(json.dumps(line) + "\n" for line in lines if line["split"] == "train")
    (tmp_path / "set" / "index.jsonl").write_text(only)
    with pytest.raises(ValueError, match="validation pictures with and without devices"):
        teach_devices(tmp_path / "tiny", tmp_path / "set", tmp_path / "out", QUICK)
