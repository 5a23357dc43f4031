"""The quality bundle at a second site: the grade is read better, the vessels stay, the bundle can be added."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="a quality bundle runs in onnxruntime")

from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.models.networks.quality_net import QualityNet  # noqa: E402
from ClaireDSALib.models.quality_input import GRADES  # noqa: E402
from ClaireDSALib.models.quality_reader import QualityReader  # noqa: E402
from ClaireDSALib.models.weights import read_weights  # noqa: E402
from ClaireDSALib.training.adaptation.domains import Domains  # noqa: E402
from ClaireDSALib.training.adaptation.grades import GRADE_LABELS, GradeClassifier, GradeHead, quality_net_of  # noqa: E402
from ClaireDSALib.training.adaptation.loop import Terms, train_domains  # noqa: E402
from ClaireDSALib.training.adaptation.measures import balanced_accuracies  # noqa: E402
from ClaireDSALib.training.adaptation.prepared import Prepared, Vectors  # noqa: E402
from ClaireDSALib.training.adaptation.quality_parent import QualityParent  # noqa: E402
from ClaireDSALib.training.adaptation.quality_site import load_graded, vessel_masks  # noqa: E402
from ClaireDSALib.training.adaptation.settings import AdaptSettings  # noqa: E402
from ClaireDSALib.training.adaptation.statistics import with_statistics_of  # noqa: E402
from ClaireDSALib.training.quality_bundle import set_quality_choices, write_quality_bundle  # noqa: E402

TINY = {"channels": (8, 8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": 2}
NOISE = (0.02, 0.1, 0.25)
RATIO = (30.0, 15.0, 5.0)
"""Contrast-to-noise that the grades' rule asks for."""


def graded_set(folder: Path, numbers: range, split: str, *, second: bool = False) -> Path:
    """Rings whose noise is the grade; the second site's tone curve lifts the noise."""
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:96, :96]
    lines = []
    for number in numbers:
        rng = np.random.default_rng(number)
        grade = number % 3
        vessels = np.abs(np.hypot(y - 40 - rng.integers(16), x - 40 - rng.integers(16)) - 24) < 2
        peak = vessels + NOISE[grade] * rng.standard_normal(vessels.shape)
        peak = np.sign(peak) * np.abs(peak) ** 0.5 if second else peak
        np.savez(folder / "runs" / f"{number}.npz", peak=peak.astype(np.float16), region=np.ones_like(vessels),
                 vessels=np.stack([vessels] * 3))  # fmt: skip
        quality = {"artefact": 0.0, "noise": 0.01, "contrast_to_noise": RATIO[grade]}
        lines.append({"npz": f"runs/{number}.npz", "patient": f"p{number // 3}", "split": split, "quality": quality,
                      "labels": {"contrast_fluid": "present"}})  # fmt: skip
    with (folder / "index.jsonl").open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    return folder


@pytest.fixture(scope="module")
def two_sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sites")
    here = graded_set(root / "here", range(27), "train")
    graded_set(here, range(100, 118), "validation")
    there = graded_set(root / "there", range(200, 233), "train", second=True)
    table = ["path\tlabel\tclass\trater\tpatient"]
    table += [f"runs/{k}.npz\tquality\t{GRADES[k % 3]}\tr\tp{k // 3}" for k in range(200, 230)]
    (root / "labels.tsv").write_text("\n".join(table) + "\n")
    test = graded_set(root / "test", range(300, 312), "test", second=True)
    return {"source": here, "target": there, "labels": root / "labels.tsv", "test": test}


@pytest.fixture(scope="module")
def a_quality_bundle(two_sites: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("bundles") / "tiny_quality"
    pictures, network = load_graded(two_sites["source"]).pictures, QualityNet(**TINY)
    few = Prepared(np.round(pictures.images[:12] / 257).astype(np.uint8)[:, None], *[pictures.targets[:12]] * 2)
    network = quality_net_of(network, with_statistics_of(GradeClassifier(network), few))
    write_quality_bundle(network, folder, network_arguments=TINY)
    vectors = QualityParent(folder, two_sites["source"], "head").prepare(pictures)
    assert isinstance(vectors, Vectors)
    nothing = vectors.subset(np.zeros(0, int))
    settings = AdaptSettings(epochs=30, batch_size=20, learning_rate=1e-2, own_statistics=False)
    trained = train_domains(
        GradeHead(network), Domains(vectors, vectors, nothing, nothing, vectors, GRADE_LABELS), settings,
        Terms(domain=False),
    )  # fmt: skip
    found = trained.finished(0.0)
    assert balanced_accuracies(found, vectors, GRADE_LABELS)["quality"] > 0.9
    write_quality_bundle(quality_net_of(network, found), folder, network_arguments=TINY)
    set_quality_choices(folder, threshold=0.45, cleaning={"smallest_px": 30})
    return folder


def test_graded_pictures_are_what_the_network_is_shown(two_sites: dict[str, Path]) -> None:
    pictures = load_graded(two_sites["target"]).pictures
    assert pictures.images.shape == (33, 512, 512)
    assert pictures.targets[:4, 0].tolist() == [2, 0, 1, 2]
    assert pictures.names[0] == "runs/200.npz"
    masks = vessel_masks(two_sites["target"], {"runs/201.npz"})
    bright = pictures.images[1] > 65535 * 0.5  # relative opacity above a half
    overlap = 2 * (bright & masks["runs/201.npz"]).sum() / (bright.sum() + masks["runs/201.npz"].sum())
    assert overlap > 0.7


def test_the_quality_bundle_is_adapted_and_can_be_added_and_verified(
    a_quality_bundle: Path, two_sites: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke
    asked = ["adapt", "--bundle", str(a_quality_bundle), "--yes", "--source", str(two_sites["source"]),
             "--target", str(two_sites["target"]), "--target-labels", str(two_sites["labels"]),
             "--test", str(two_sites["test"]), "--out", str(tmp_path), "--json",
             "--config", str(tmp_path / "short.json")]  # fmt: skip
    (tmp_path / "short.json").write_text('{"epochs": 8}')
    found = run(app, asked)
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    test = told["measured"]["target test"]
    assert test["after"]["quality"] > test["before"]["quality"] + 0.05
    assert told["side_effects"] == ["the vessels are the parent's: backbone and vessel head were not touched"]
    folder = Path(told["bundle"])
    first, second = (read_weights(b / "models" / "model.safetensors") for b in (a_quality_bundle, folder))
    assert all(torch.equal(first[k], v) for k, v in second.items() if not k.startswith("quality_head"))
    assert any(not torch.equal(first[k], v) for k, v in second.items())
    reader = QualityReader(folder)
    assert (reader.threshold, reader.version) == (0.45, "0.1.0+adapted.1")
    with np.load(two_sites["test"] / "runs" / "300.npz") as arrays:
        picture = arrays["peak"].astype(np.float32)
    assert np.array_equal(reader.read(picture).vessels, QualityReader(a_quality_bundle).read(picture).vessels)
    lineage = json.loads((folder / "configs" / "lineage.json").read_text())
    assert lineage["parent"]["name"] == "tiny_quality"
    assert lineage["data"]["labelled_target_runs"] == 30
    assert reader.sha256 in (folder / "docs" / "README.md").read_text()
    monkeypatch.setenv("CLAIRE_DSA_HOME", str(tmp_path / "home"))
    added = run(app, ["models", "add", str(folder), "--sha256", told["sha256"]])
    assert added.exit_code == 0, added.output
    assert "ok  tiny_quality_adapted" in run(app, ["models", "verify"]).stdout
    assert "quality" in run(app, ["models", "list"]).stdout


def test_new_statistics_that_cost_vessels_are_refused(a_quality_bundle: Path, two_sites: dict[str, Path]) -> None:
    parent = QualityParent(a_quality_bundle, two_sites["source"], "batch_norm")
    pictures = load_graded(two_sites["source"]).pictures
    validation = pictures.subset(np.flatnonzero(pictures.splits == "validation")[:6])
    same, words = parent.side_effects(parent.network(), validation, validation)
    assert same, words
    blind = parent.network()
    with torch.no_grad():
        blind.network.vessel_head[0].bias.fill_(-20.0)
    parent.net.vessel_head[0].bias.data.fill_(20.0)  # everything is a vessel: some Dice to lose
    good, words = parent.side_effects(blind, validation, validation)
    assert not good
    assert "more than 0.01 lost" in words[0]
