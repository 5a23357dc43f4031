"""Faithfulness of the maps is measured on label sets and on simulated cases alike."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

from ClaireDSALib.models.classifier import load_classifier
from ClaireDSALib.training.faithfulness import measure_maps


def _picture():
    rows, columns = np.mgrid[:128, :128]
    vessel = np.abs(columns - 64 - 12 * np.sin(rows / 20)) < 3
    noise = np.random.default_rng(0).normal(0, 20, vessel.shape)
    return (2500 - 1500 * vessel + noise).astype(np.uint16), vessel


def _line(name, **facts):
    return json.dumps({"npz": name, "split": "test", "labels": {"contrast_fluid": "present"}} | facts)


def test_label_sets_and_simulated_cases_give_the_same_figures(tmp_path):
    minip, vessel = _picture()
    for kind, truth in (("label_set", {"vessels": np.stack([vessel] * 3)}), ("simulated", {"visible": vessel})):
        (tmp_path / kind).mkdir()
        np.savez(tmp_path / kind / "a.npz", minip=minip, **truth)
    lines = [_line("a.npz", picture="minip"), _line("a.npz", picture="subtracted"), _line("a.npz", split="train")]
    (tmp_path / "label_set/index.jsonl").write_text("\n".join(lines))
    (tmp_path / "simulated/index.jsonl").write_text(_line("a.npz"))
    classifier = load_classifier("dsa_image_properties", device="cpu")
    found = measure_maps(classifier, tmp_path / "label_set")
    assert found["pictures"] == 1
    assert found == measure_maps(classifier, tmp_path / "simulated")
    assert 0 < found["area_of_vessels"] < 0.5
    assert 0 <= found["mass_on_vessels"] <= 1


def test_a_set_without_vessels_is_refused(tmp_path):
    minip, vessel = _picture()
    np.savez(tmp_path / "a.npz", minip=minip, visible=np.zeros_like(vessel))
    (tmp_path / "index.jsonl").write_text(_line("a.npz"))
    with pytest.raises(ValueError, match="no runs with contrast and visible vessels"):
        measure_maps(load_classifier("dsa_image_properties", device="cpu"), tmp_path)
