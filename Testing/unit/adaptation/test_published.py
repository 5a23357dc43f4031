"""The published recipe learns, keeps its best epoch, and continues; its objectives follow their rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.models.networks.loizillon import read_checkpoint  # noqa: E402
from ClaireDSALib.training.adaptation.objectives import OBJECTIVES, objective_labels, tier  # noqa: E402
from ClaireDSALib.training.adaptation.prepared import prepare_pictures  # noqa: E402
from ClaireDSALib.training.adaptation.published import BEST, CHECKPOINT, PublishedData, train_published  # noqa: E402
from ClaireDSALib.training.adaptation.settings import PRESETS  # noqa: E402
from Testing.unit.adaptation.two_sites import SPEC, site  # noqa: E402


def some_data() -> PublishedData:
    parts = [prepare_pictures(p, SPEC) for p in (site(48, 0), site(8, 1, second=True), site(32, 2, second=True))]
    return PublishedData(*parts, prepare_pictures(site(40, 3, second=True), SPEC))


def test_the_recipe_runs_saves_its_best_epoch_and_continues(tmp_path: Path) -> None:
    data, settings = some_data(), replace(PRESETS["published"], epochs=3, learning_rate=1e-3)
    lines: list[str] = []
    _, short = train_published(data, tmp_path / "part", settings=replace(settings, epochs=2))
    network, history = train_published(data, tmp_path / "part", settings=settings, report=lines.append)
    assert lines[0].startswith("epoch 3 of 3")
    assert history[:2] == short
    _, best = read_checkpoint(tmp_path / "part" / BEST, (1, 32, 32))
    figures = [row["balanced_accuracy"] for row in history]
    assert figures[best] == max(figures)
    _, last = read_checkpoint(tmp_path / "part" / CHECKPOINT, (1, 32, 32))
    assert last == 2
    assert history[-1]["loss"] < history[0]["loss"]
    assert not network.training


def test_an_objective_is_trained_from_the_command_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path\tlabel\tclass\trater\tpatient"]
    for name, n in (("a", 24), ("b", 16)):
        (tmp_path / name / "runs").mkdir(parents=True)
        lines = []
        for k in range(n):
            given = {"region": ("intracranial", "extracranial")[k % 2], "contrast_fluid": "present"}
            picture = rng.normal(500, 40, (48, 48)) + 400 * (k % 2) * (np.arange(48) > 24)
            np.savez(tmp_path / name / f"runs/{k}.npz", minip=picture.astype(np.uint16))
            lines.append(json.dumps({"npz": f"runs/{k}.npz", "patient": f"{name}{k // 2}", "labels": given}))
            rows += [f"runs/{k}.npz\tproper_image\t{('proper', 'reject')[k % 2]}\tr\tb{k // 2}"] * (name == "b")
        (tmp_path / name / "index.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "settings.json").write_text('{"epochs": 1}')
    given = ["adapt", "--source", str(tmp_path / "a"), "--target", str(tmp_path / "b"), "--out", str(tmp_path / "out"),
             "--objective", "proper_image", "--config", str(tmp_path / "settings.json")]  # fmt: skip
    refused = CliRunner().invoke(app, given)
    assert refused.exit_code == 2
    assert "--target-labels" in refused.stderr
    done = CliRunner().invoke(app, [*given, "--target-labels", str(tmp_path / "labels.tsv")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["runs"]["target"] == 16
    assert set(found["target_validation"]["recall"]) == {"proper", "reject"}
    assert read_checkpoint(tmp_path / "out" / BEST, (1, 96, 96))[1] == 0


def test_pictures_without_their_label_are_refused() -> None:
    data = some_data()
    with pytest.raises(ValueError, match="needs its label"):
        replace(data, labelled=data.labelled.subset([]))


def test_the_tier_is_that_of_the_worst_grade() -> None:
    assert [tier(0, 0, 0), tier(0, 1, 0), tier(1, 1, 2)] == ["good", "medium", "bad"]
    with pytest.raises(ValueError, match="0, 1 or 2"):
        tier(3, 0, 0)


def test_objectives_are_read_off_a_simulated_run() -> None:
    record = {
        "labels": {"region": "intracranial", "contrast_fluid": "present"},
        "motion": "mild",
        "quality": {"noise": 0.01, "contrast_to_noise": 30.0},
    }
    assert objective_labels(record) == {"proper_image": "proper", "quality_tier": "medium", "bad_quality": "no"}
    assert objective_labels({**record, "motion": "severe"})["bad_quality"] == "yes"
    assert objective_labels({**record, "quality": {"noise": 0.01, "contrast_to_noise": 5.0}})["quality_tier"] == "bad"
    elsewhere = {"labels": {"region": "extracranial", "contrast_fluid": "present"}}
    assert objective_labels(elsewhere) == {"proper_image": "reject", "quality_tier": None, "bad_quality": None}
    for labels in OBJECTIVES.values():
        for label in labels.labels:
            assert objective_labels(record)[label.name] in label.classes
