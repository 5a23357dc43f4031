"""Counting right frames counts them, and the borders are measured in seconds."""

import numpy as np
import pytest

from ClaireDSALib.training.phase_evaluate import evaluate_phases
from ClaireDSALib.training.reperfusion_data import BeforeAfter, SimulatedRun

_TRUE = ("non_contrast", "arterial", "arterial", "parenchymal", "venous", "venous")
_LATE = ("non_contrast", "arterial", "arterial", "arterial", "parenchymal", "venous")


def _run(times_s):
    empty = np.zeros((6, 4, 4), np.float32)
    return SimulatedRun(empty, times_s, empty[0], empty[0], empty[0], empty[0] > 0, _TRUE, 1.0, 1.0, "ap", "none")


@pytest.fixture
def pairs():
    runs = [_run(np.arange(6.0)), _run(2 * np.arange(6.0))]
    return [BeforeAfter("a", *runs), BeforeAfter("b", *runs)]


def test_the_truth_is_all_right(pairs):
    found = evaluate_phases(pairs, lambda run: run.phases)
    assert (found.runs, found.frames) == (4, 24)
    assert found.accuracy.value == found.accuracy.low == 1.0
    assert found.border_error_s == 0.0
    assert np.array(found.confusion).trace() == 24


def test_late_borders_cost_frames_and_seconds(pairs):
    found = evaluate_phases(pairs, lambda _: _LATE)
    assert found.accuracy.value == pytest.approx(4 / 6)
    assert found.by_phase == {"non_contrast": 1.0, "arterial": 1.0, "parenchymal": 0.0, "venous": 0.5}
    assert found.border_error_s == pytest.approx(1.0)


def test_a_wrong_number_of_phases_is_an_error(pairs):
    with pytest.raises(ValueError, match="6 frames got 2"):
        evaluate_phases(pairs, lambda _: _TRUE[:2])


def test_no_run_is_an_error():
    with pytest.raises(ValueError, match="no run"):
        evaluate_phases([], lambda run: run.phases)
