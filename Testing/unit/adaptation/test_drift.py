"""Drift: tests hold their level, see what has moved, and name runs worth labelling."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.models.labels import LabelSet, LabelSpec
from ClaireDSALib.training.annotations import COLUMNS
from ClaireDSALib.training.drift_suggest import suggest, uncertainty, write_template
from ClaireDSALib.training.drift_tests import feature_shift, holm, prediction_shift

ONE_LABEL = LabelSet((LabelSpec("side", ("left", "right")),))


def clustered(rng: np.random.Generator, share: float, n_patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight runs per patient, all of the patient's own class."""
    classes = (rng.random(n_patients) < share).astype(int)
    return np.repeat(classes, 8), np.repeat([f"p{k}" for k in range(n_patients)], 8)


def test_patients_with_many_runs_do_not_feign_a_drift() -> None:
    rng = np.random.default_rng(0)
    small = 0
    for seed in range(40):
        (first, a), (second, b) = clustered(rng, 0.5, 20), clustered(rng, 0.5, 20)
        small += prediction_shift(first, second, a, b, 2, rounds=99, seed=seed) <= 0.05
    assert small <= 6  # 2 expected; runs taken as independent would give about 25


def test_another_mix_of_predictions_is_seen() -> None:
    rng = np.random.default_rng(1)
    (first, a), (second, b) = clustered(rng, 0.2, 40), clustered(rng, 0.8, 40)
    assert prediction_shift(first, second, a, b, 2) <= 0.002


def test_moved_features_are_seen_and_equal_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat([f"p{k}" for k in range(30)], 4)
    x, y = rng.standard_normal((120, 5)), rng.standard_normal((120, 5))
    assert feature_shift(x, y, patients, patients) > 0.02
    assert feature_shift(x, y + 0.6, patients, patients) <= 0.002


def test_holm_matches_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_suggestions_are_unsure_far_apart_and_of_different_patients() -> None:
    rng = np.random.default_rng(3)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    features = np.repeat(centres, 10, axis=0) + 0.1 * rng.standard_normal((40, 2))
    p = np.full(40, 0.99)
    p[::10] = 0.5
    probabilities = np.stack([p, 1 - p], axis=1)
    patients = np.array([f"p{k // 2}" for k in range(40)])
    names = [f"run{k}" for k in range(40)]
    chosen = suggest(features, probabilities, names, patients, ONE_LABEL, 4)
    assert {int(c.name[3:]) // 10 for c in chosen} == {0, 1, 2, 3}
    assert sum(c.name in {"run0", "run10", "run20", "run30"} for c in chosen) >= 3
    everything = suggest(features, probabilities, names, patients, ONE_LABEL, 99)
    assert len(everything) == 40
    assert len({c.patient for c in everything[:20]}) == 20


def test_uncertainty_runs_from_sure_to_guessing() -> None:
    np.testing.assert_allclose(uncertainty(np.array([[1.0, 0.0], [0.5, 0.5]]), ONE_LABEL), [0, 1], atol=1e-9)


def test_the_template_has_the_columns_that_training_reads(tmp_path) -> None:
    chosen = suggest(np.eye(3), np.full((3, 2), 0.5), ["a", "b", "c"], np.array(["p", "q", "r"]), ONE_LABEL, 2)
    write_template(chosen, ONE_LABEL, tmp_path / "labels.tsv")
    lines = (tmp_path / "labels.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(COLUMNS)
    assert len(lines) == 3
