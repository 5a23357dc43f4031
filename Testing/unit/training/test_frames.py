"""What frames add to a picture: fitted, written, read back, refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.bundle import open_bundle
from ClaireDSALib.models.classifier import load_classifier
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.frame_reader import FRAMES_FILE, INPUTS, FrameReader, tempered, weighed
from ClaireDSALib.models.two_pictures import NINE_LABEL_CHOICE
from ClaireDSALib.training.additions import carry_additions
from ClaireDSALib.training.frame_fit import FrameExamples, FrameFitSettings, fit_frames, write_frames
from ClaireDSALib.training.frame_train import teach_frames
from Testing.unit.models.tiny_bundle import write_tiny_bundle
from Testing.unit.models.tiny_pictures import a_minip

QUICK = FrameFitSettings(members=2, hidden=8, steps=200)
CLASSES = ("none", "mild", "severe")


def some_runs(n: int, seed: int) -> FrameExamples:
    """The third number tells the class; the picture knows nothing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(0, 1, (n, len(INPUTS))).astype(np.float32)
    targets = np.digitize(numbers[:, 2], (-0.5, 0.5))
    return FrameExamples(numbers, np.full((n, 3), 1 / 3), targets)


def test_what_the_frames_tell_is_learnt_written_and_read_back(tmp_path: Path) -> None:
    said: list[str] = []
    networks, choices = fit_frames(some_runs(600, 0), some_runs(200, 1), QUICK, report=said.append)
    entry = write_frames(networks, tmp_path, choices, classes=list(CLASSES))
    reader = FrameReader(tmp_path, entry)
    unseen = some_runs(300, 2)
    found = np.array([reader.combined((1 / 3, 1 / 3, 1 / 3), row[:-1], bool(row[-1])) for row in unseen.numbers])
    right = found.argmax(1) == np.digitize(unseen.numbers[:, 2], (-0.5, 0.5))
    assert right.mean() > 0.85
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert "by the picture alone" in said[-1]


def test_a_picture_that_knows_better_is_given_weight(tmp_path: Path) -> None:
    def knowing(runs: FrameExamples) -> FrameExamples:
        sure = np.full((len(runs), 3), 0.02)
        sure[np.arange(len(runs)), runs.targets] = 0.96
        blind = np.random.default_rng(5).normal(0, 1, runs.numbers.shape).astype(np.float32)
        return FrameExamples(blind, sure, runs.targets)

    _, choices = fit_frames(knowing(some_runs(200, 0)), knowing(some_runs(100, 1)), QUICK)
    assert choices["picture_weight"] == 1.0


def test_numbers_far_from_all_that_was_seen_do_not_run_away(tmp_path: Path) -> None:
    networks, _ = fit_frames(some_runs(300, 0), some_runs(100, 1), QUICK)
    far, farther = (networks.probabilities(np.full((1, len(INPUTS)), v, np.float32)) for v in (1e3, 1e6))
    np.testing.assert_allclose(far, farther)
    assert np.isfinite(far).all()


def test_weights_and_temperatures_keep_the_order_of_classes() -> None:
    chances = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(weighed(chances, np.array([[0.9, 0.05, 0.05]]), 0.0), chances)
    for temperature in (0.5, 2.0):
        assert tempered(chances, temperature).argmax() == 1
    assert tempered(chances, 0.5).max() > 0.5 > tempered(chances, 2.0).max()


def test_without_runs_nothing_is_fitted() -> None:
    with pytest.raises(ValueError, match="got 0 and 5"):
        fit_frames(some_runs(0, 0), some_runs(5, 0), QUICK)


def damaged(entry: dict, folder: Path, harm: str) -> dict:
    from safetensors.numpy import load_file, save_file

    path = folder / FRAMES_FILE
    tensors = load_file(path)
    if harm == "nan":
        tensors["mean"] = np.full_like(tensors["mean"], np.nan)
    elif harm == "shape":
        tensors["out_weight"] = tensors["out_weight"][:, :2]
    elif harm == "gone":
        path.unlink()
        return entry
    elif harm == "inputs":
        return entry | {"inputs": ["weather"]}
    elif harm == "entry":
        return {k: v for k, v in entry.items() if k != "temperature"}
    elif harm == "outside":
        return entry | {"file": "../frames.safetensors"}
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path)
    return entry


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("nan", "all finite"),
        ("shape", "does not fit"),
        ("gone", "missing"),
        ("inputs", "does not compute alike"),
        ("entry", "temperature"),
        ("outside", "lies outside"),
    ],
)
def test_damaged_networks_are_refused(tmp_path: Path, harm: str, words: str) -> None:
    networks, choices = fit_frames(some_runs(60, 0), some_runs(30, 1), QUICK)
    entry = write_frames(networks, tmp_path, choices, classes=list(CLASSES))
    with pytest.raises(BundleError, match=words):
        FrameReader(tmp_path, damaged(entry, tmp_path, harm))


@pytest.fixture(scope="module")
def a_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs whose frames tell motion, and whose brightest picture is known."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "runs").mkdir()
    rng, lines = np.random.default_rng(0), []
    for number in range(40):
        evidence = rng.normal(-4, 1, len(INPUTS) - 1).astype(np.float32)
        motion = CLASSES[int(np.digitize(evidence[0], (-4.5, -3.5)))]
        picture = a_minip((64, 64))
        path = f"runs/r{number}.npz"
        peak = rng.random((64, 64)).astype(np.float16)
        region = np.ones((64, 64), bool)
        np.savez(folder / path, minip=picture, peak=peak, brightest=picture, evidence=evidence, region=region)
        split = "train" if number < 28 else "validation"
        labels = {
            "subtraction": "unsubtracted",
            "contrast_fluid": "present",
            "device": ("absent", "present")[number % 2],
        }
        quality = {"artefact": 0.01, "contrast_to_noise": float(np.exp(evidence[3] + 7)), "noise": 0.01}
        common = {"npz": path, "patient": f"p{number}", "split": split, "quality": quality}
        lines.append({**common, "picture": "minip", "labels": labels})
        seen = {"subtraction": "subtracted", "motion_artefact": motion, "contrast_fluid": "present"}
        lines.append({**common, "picture": "subtracted", "labels": seen})
    (folder / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_label_bundle_learns_motion_from_frames_and_devices_from_the_brightest_picture(
    a_set: Path, tmp_path: Path
) -> None:
    write_tiny_bundle(tmp_path / "tiny", pictures=NINE_LABEL_CHOICE)
    before = (tmp_path / "tiny" / "models" / "model.safetensors").read_bytes()
    made = teach_frames(tmp_path / "tiny", a_set, tmp_path / "taught", {"members": 1, "steps": 50})
    bundle = open_bundle(made)
    assert bundle.frames is not None
    assert bundle.frames.label == "motion_artefact"
    assert bundle.pictures.brightest["device"].temperature > 0
    assert (made / "models" / "model.safetensors").read_bytes() == before, "the network itself is not touched"
    classifier, picture = load_classifier(made, confirmed=True), a_minip((96, 96))
    evidence = np.full(len(INPUTS) - 1, -4.0, np.float32)
    alone = classifier.classify(picture, subtracted=picture, subtraction_state="unsubtracted")
    both = classifier.classify(picture, subtracted=picture, evidence=evidence, subtraction_state="unsubtracted")
    assert both.label("motion_artefact").over_frames
    assert both.label("motion_artefact").probabilities != alone.label("motion_artefact").probabilities
    assert both.label("side").probabilities == alone.label("side").probabilities
    silent = classifier.classify(picture, evidence=evidence, subtraction_state="unsubtracted")
    assert not silent.label("motion_artefact").answered
    assert not silent.label("motion_artefact").over_frames


def test_frames_of_a_label_the_bundle_lacks_are_refused(a_set: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", pictures=NINE_LABEL_CHOICE)
    made = teach_frames(tmp_path / "tiny", a_set, tmp_path / "taught", {"members": 1, "steps": 5})
    path = made / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["classifier"]["frames"]["label"] = "weather"
    path.write_text(json.dumps(metadata))
    with pytest.raises(BundleError, match="weather"):
        open_bundle(made)


def test_a_quality_bundle_learns_its_grade_from_frames(a_set: Path, tmp_path: Path) -> None:
    from ClaireDSALib.models.networks.quality_net import QualityNet
    from ClaireDSALib.models.quality_reader import QualityReader
    from ClaireDSALib.training.quality_bundle import write_quality_bundle

    tiny = {"channels": (4, 8, 8, 8, 16), "depths": (1, 1, 1, 1), "heads": 2, "in_channels": 5}
    write_quality_bundle(QualityNet(**tiny).eval(), tmp_path / "light", network_arguments=tiny)
    made = teach_frames(tmp_path / "light", a_set, tmp_path / "taught", {"members": 1, "steps": 300})
    reader = QualityReader(made)
    assert reader.uses_times
    evidence = np.full(len(INPUTS) - 1, -4.0, np.float32)
    grades = []
    for clear in (-7.0, -1.0):  # contrast to noise of 1 and of 400
        evidence[3] = clear
        grades.append(reader.read(a_minip((64, 64)).astype(np.float32), evidence=evidence).probabilities)
    assert grades[0][2] > grades[1][2], "the noisier run is more probably poor"


def test_a_bundle_of_another_kind_has_nothing_to_learn(a_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vessels" / "configs"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"vessels": {}}')
    with pytest.raises(BundleError, match="neither labels nor grades"):
        teach_frames(tmp_path / "vessels", a_set, tmp_path / "out")


def test_a_bundle_made_of_another_keeps_what_that_learnt_from_frames(a_set: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", pictures=NINE_LABEL_CHOICE)
    made = teach_frames(tmp_path / "tiny", a_set, tmp_path / "taught", {"members": 1, "steps": 5})
    child = tmp_path / "child"
    write_tiny_bundle(child, pictures=NINE_LABEL_CHOICE)
    carry_additions(tmp_path / "tiny", child, "classifier")
    assert open_bundle(child).frames is None, "the untaught one has nothing to give"
    carry_additions(made, child, "classifier")
    evidence, picture = np.full(len(INPUTS) - 1, -4.0, np.float32), (0.2, 0.3, 0.5)
    first, second = open_bundle(made).frames, open_bundle(child).frames
    assert first.combined(picture, evidence, False) == second.combined(picture, evidence, False)
