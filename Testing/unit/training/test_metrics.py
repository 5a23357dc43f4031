"""Metrics know the answers of small cases worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.training import metrics, roc
from ClaireDSALib.training.calibration import fit_temperature


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_area_of_perfect_reversed_and_tied_scores() -> None:
    positive = np.array([True, True, False, False])
    assert roc.auc(positive, np.array([4, 3, 2, 1.0])).value == 1
    assert roc.auc(positive, np.array([1, 2, 3, 4.0])).value == 0
    assert roc.auc(positive, np.zeros(4)).value == 0.5


def test_area_equals_scikit_learn_with_ties() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    positive = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + positive, 1)
    assert roc.auc(positive, scores).value == pytest.approx(sklearn.roc_auc_score(positive, scores), abs=1e-12)


def test_delong_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Two unit normals one apart: the true area is Phi(1 / sqrt 2) = 0.7602."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        scores = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 90)])
        area = roc.auc(np.arange(150) < 60, scores)
        covered += area.low <= 0.7602 <= area.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_perfect_area_has_an_interval_that_shrinks_with_the_number_of_pictures() -> None:
    lows = [roc.auc(np.arange(2 * n) < n, -np.arange(2.0 * n)).low for n in (5, 50, 500)]
    assert lows == sorted(lows)
    assert lows[0] == pytest.approx(0.05 ** (1 / 5))


def test_an_absent_class_gives_no_number() -> None:
    assert np.isnan(roc.auc(np.zeros(5, bool), np.arange(5.0)).value)


def test_comparing_a_classifier_with_itself_finds_no_difference_and_with_a_worse_one_does() -> None:
    rng = np.random.default_rng(2)
    positive = rng.random(400) < 0.5
    good = positive + rng.normal(0, 0.7, 400)
    bad = positive + rng.normal(0, 3, 400)
    assert roc.compare(positive, good, good)[0] == 0
    difference, low, high, p = roc.compare(positive, good, bad)
    assert low < difference < high
    assert p < 1e-4


def test_macro_area_is_the_mean_over_classes() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 3, 200)
    probabilities = softmax(rng.normal(size=(200, 3)) + np.eye(3)[targets])
    expected = sklearn.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
    assert roc.macro_auc(targets, probabilities, n_boot=50).value == pytest.approx(expected, abs=1e-12)


def test_figures_from_a_confusion_matrix_worked_out_by_hand() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 0, 1, 1, 1])
    matrix = metrics.confusion_matrix(targets, predicted, 2)
    np.testing.assert_array_equal(matrix, [[3, 1], [0, 2]])
    assert metrics.balanced_accuracy(targets, predicted) == pytest.approx((0.75 + 1) / 2)
    assert metrics.matthews(matrix) == pytest.approx((3 * 2 - 1 * 0) / np.sqrt(4 * 2 * 3 * 3))
    found = metrics.label_metrics("x", ("a", "b"), targets, np.eye(2)[predicted] * 0.8 + 0.1, n_boot=50)
    assert found.classes[1].precision.value == pytest.approx(2 / 3)
    assert found.classes[1].recall.value == 1
    assert found.classes[1].f1.value == pytest.approx(0.8)
    assert found.confusion == ((3, 1), (0, 2))


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05]] * 10 + [[0.65, 0.35]] * 10)
    targets = np.array([0] * 9 + [1] + [0] * 5 + [1] * 5)
    expected = 0.5 * abs(0.95 - 0.9) + 0.5 * abs(0.65 - 0.5)
    assert metrics.expected_calibration_error(targets, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(4)
    honest = rng.normal(0, 2, (8000, 3))
    targets = np.array([rng.choice(3, p=p) for p in softmax(honest)])
    assert fit_temperature(honest * temperature, targets) == pytest.approx(temperature, rel=0.08)
    after = softmax(honest * temperature / fit_temperature(honest * temperature, targets))
    assert metrics.expected_calibration_error(targets, after) < 0.02


def test_without_known_targets_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0
