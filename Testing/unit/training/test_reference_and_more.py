"""The nine-network reference, cross-validation, publishing, real-picture bookkeeping and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.catalogue import read_catalogue  # noqa: E402
from ClaireDSALib.models.classifier import load_classifier  # noqa: E402
from ClaireDSALib.models.labels import NINE_LABELS  # noqa: E402
from ClaireDSALib.training import pretrained  # noqa: E402
from ClaireDSALib.training.cross_validation import cross_validate  # noqa: E402
from ClaireDSALib.training.publish import Measured, publish  # noqa: E402
from ClaireDSALib.training.real_pictures import RealPicture, check, real_pictures, summarise  # noqa: E402
from ClaireDSALib.training.samples import LabelledPictures  # noqa: E402
from ClaireDSALib.training.settings import FitSettings  # noqa: E402
from Testing.unit.models.tiny_bundle import write_tiny_bundle  # noqa: E402
from Testing.unit.models.tiny_pictures import a_minip  # noqa: E402

QUICK = FitSettings(
    trunk="tiny", size_px=48, warm_size_px=48, batch_size=8, max_epochs=1, validations=1, initial="random",
    frozen_blocks=-1,
)  # fmt: skip


def nine_label_pictures(n: int) -> LabelledPictures:
    rng = np.random.default_rng(0)
    return LabelledPictures(
        rng.integers(0, 65535, (n, 56, 56)).astype(np.uint16),
        np.stack([rng.integers(0, len(x.classes), n) for x in NINE_LABELS.labels], axis=1),
        np.array([f"p{k // 2}" for k in range(n)]),
        NINE_LABELS,
        tuple(map(str, range(n))),
        np.array([""] * n),
    )


@pytest.fixture(scope="module")
def a_bundle_without_graph(tmp_path_factory: pytest.TempPathFactory):
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny", onnx=False)


def test_the_reference_keeps_one_network_per_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("monai", reason="MONAI is not installed")
    from ClaireDSALib.training import reference

    monkeypatch.setattr(reference, "initialise_resnet", lambda *_: "random weights for this test")
    two = replace_labels(nine_label_pictures(24), 2)
    lines: list[str] = []
    bundle = reference.train_reference(two, tmp_path, QUICK, backbones=("resnet18",), report=lines.append)
    assert bundle.network_type == "NineResNets"
    assert bundle.network_arguments["backbones"] == ["resnet18", "resnet18"]
    classifier = load_classifier(bundle.folder, device="cpu", confirmed=True)
    assert len(classifier.classify(a_minip()).labels) == 2
    assert any("on validation" in line for line in lines)


def replace_labels(pictures: LabelledPictures, n: int) -> LabelledPictures:
    from ClaireDSALib.models.labels import LabelSet

    labels = LabelSet(NINE_LABELS.labels[:n])
    return replace(pictures, labels=labels, targets=pictures.targets[:, :n])


def test_without_file_and_network_the_resnet_says_that_it_starts_from_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("monai", reason="MONAI is not installed")
    from ClaireDSALib.models.networks.resnets import make_resnet

    monkeypatch.setattr(pretrained, "TORCHVISION_URLS", {"resnet18": "http://127.0.0.1:9/resnet18-0a1b2c3d.pth"})
    sentence = pretrained.initialise_resnet(make_resnet("resnet18", 2), "resnet18", tmp_path)
    assert sentence.startswith("resnet18 starts from random weights")


def test_a_local_file_with_its_hash_in_the_name_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("monai", reason="MONAI is not installed")
    from ClaireDSALib.models.hashing import file_sha256
    from ClaireDSALib.models.networks.resnets import make_resnet

    torch.manual_seed(1)
    donor = make_resnet("resnet18", 1000)
    torch.save(donor.state_dict(), tmp_path / "x.pth")
    name = f"resnet18-{file_sha256(tmp_path / 'x.pth')[:8]}.pth"
    (tmp_path / "x.pth").rename(tmp_path / name)
    monkeypatch.setattr(pretrained, "TORCHVISION_URLS", {"resnet18": f"http://127.0.0.1:9/{name}"})
    network = make_resnet("resnet18", 3)
    assert "ImageNet weights" in pretrained.initialise_resnet(network, "resnet18", tmp_path)
    assert torch.equal(network.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    assert network.fc.weight.shape == (3, 512)


def test_cross_validation_gives_a_figure_per_fold(tmp_path: Path) -> None:
    figures = cross_validate(replace_labels(nine_label_pictures(48), 2), QUICK, tmp_path, 3)
    assert set(figures) == {"contrast_fluid", "projection"}
    assert len(figures["projection"]["folds"]) == 3
    assert 0 <= figures["contrast_fluid"]["mean"] <= 1


def test_publishing_writes_card_licence_and_catalogue(a_bundle_without_graph, tmp_path: Path) -> None:
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    label = {
        "name": "side", "n": 10, "macro_auc": estimate, "balanced_accuracy": estimate, "mcc": estimate,
        "ece": estimate, "classes": [{"name": "left", "auc": estimate}],
    }  # fmt: skip
    record = {"n_pictures": 10, "n_patients": 5, "mean_macro_auc": 0.9, "labels": [label], "outlier_share": 0.01}
    (tmp_path / "evaluation.json").write_text(json.dumps(record))
    (tmp_path / "LICENSE").write_text("Apache")
    shelf = tmp_path / "shelf"
    measured = [Measured("Held-out patients", tmp_path / "evaluation.json", "claire-dsa evaluate labels")]
    publish(
        a_bundle_without_graph.folder, shelf, measured, notes="## Limits\n\nMany.", licence_file=tmp_path / "LICENSE"
    )
    (entry,) = read_catalogue(shelf / "catalogue.json", origin="shipped")
    assert entry.figures[1].low == 0.8
    card = (shelf / "tiny" / "docs" / "README.md").read_text()
    assert "0.900 (0.800 to 0.950)" in card
    assert "simulated" in card
    assert "not a medical device" in card
    assert (shelf / "tiny" / "LICENSE").read_text() == "Apache"


def test_real_pictures_are_counted_right_and_wrong(a_bundle_without_graph) -> None:
    classifier = load_classifier(a_bundle_without_graph.folder, device="cpu", confirmed=True)
    found = classifier.classify(a_minip()).label("projection").predicted
    other = next(c for c in ("ap", "lateral", "oblique") if c != found)
    pictures = [
        RealPicture("right", a_minip(), {"projection": found}),
        RealPicture("wrong", a_minip(), {"projection": other}),
    ]
    results = check(classifier, pictures)
    assert summarise(results)["projection"] == (1, 2)
    assert results[1].rows[0][2] == found


def test_a_folder_without_real_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds none of real_minips"):
        real_pictures(tmp_path)


def test_the_command_line_trains_and_evaluates_on_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from ClaireDSALib.cli.evaluate import app as evaluate_app
    from ClaireDSALib.cli.train import app as train_app

    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rows = ["path,label,class,rater,patient"]
    for k in range(16):
        Image.fromarray(a_minip((64, 64), seed=k)).save(tmp_path / f"{k}.png")
        rows += [f"{k}.png,side,{('left', 'right')[k % 2]},r{r},p{k // 2}" for r in (0, 1)]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "labels.json").write_text(json.dumps([{"name": "side", "classes": ["left", "right"]}]))
    (tmp_path / "train.json").write_text(json.dumps({"settings": QUICK.to_dict()}))
    out = tmp_path / "out"
    arguments = ["--data", tmp_path / "table.csv", "--out", out, "--config", tmp_path / "train.json"]
    arguments += ["--labels", tmp_path / "labels.json", "--name", "sides"]
    done = CliRunner().invoke(train_app, ["labels", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "cohen_kappa 1" in done.output
    measured = ["--data", tmp_path / "table.csv", "--bundle", out / "sides", "--out", tmp_path / "e", "--yes"]
    done = CliRunner().invoke(evaluate_app, ["labels", *map(str, measured), "--bootstrap", "20"])
    assert done.exit_code == 0, done.output
    assert "| side | 16 |" in done.output
    assert (tmp_path / "e" / "evaluation.html").is_file()


def test_the_command_line_refuses_a_wrong_config_with_one_sentence(tmp_path: Path) -> None:
    from ClaireDSALib.cli.train import app

    (tmp_path / "train.json").write_text('{"epochs": 3}')
    done = CliRunner().invoke(
        app, ["labels", "--data", str(tmp_path), "--out", str(tmp_path), "--config", str(tmp_path / "train.json")]
    )
    assert done.exit_code == 2
    assert "unknown training settings" in done.output
