"""Rates, intervals and tests of filtering, against values that are known."""

import numpy as np
import pytest
from scipy import stats

from ClaireDSALib.training.filtering import RunOutcome
from ClaireDSALib.training.filtering_statistics import (
    by_threshold,
    measure_filtering,
    permutation_p,
    risk_coverage,
    wilson,
)


def _outcomes(counts: dict[tuple[bool, bool], int], patients: int = 10) -> list[RunOutcome]:
    """Runs by (kept, success), dealt to the patients in turn."""
    runs = [(kept, success) for (kept, success), n in counts.items() for _ in range(n)]
    return [
        RunOutcome(f"r{k}", f"p{k % patients}", success, kept, 0.9 if kept else 0.1, () if kept else ("motion",))
        for k, (kept, success) in enumerate(runs)
    ]


def test_wilson_agrees_with_scipy():
    ours = wilson(13, 40)
    theirs = stats.binomtest(13, 40).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert wilson(0, 5).low == 0


def test_a_filter_that_tells_good_from_bad_gains_what_arithmetic_says():
    found = measure_filtering(
        _outcomes({(True, True): 70, (True, False): 10, (False, True): 10, (False, False): 110}, 7), n_permutations=4000
    )
    assert found.unfiltered.value == pytest.approx(80 / 200)
    assert found.filtered.value == pytest.approx(70 / 80)
    assert found.gain.value == pytest.approx(70 / 80 - 80 / 200)
    assert found.gain.low < found.gain.value < found.gain.high
    assert found.p_permutation == pytest.approx(1 / 4001)
    assert (found.good_lost, found.good_lost_share.value) == (10, pytest.approx(1 / 8))
    assert found.bad_removed_share.value == pytest.approx(110 / 120)
    assert found.aurc_best < found.aurc < found.aurc_random == pytest.approx(0.6)


def test_a_filter_that_knows_nothing_is_not_significant_and_p_is_uniform():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        success, kept = rng.random(80) < 0.5, rng.random(80) < 0.5
        patients = np.repeat([f"p{k}" for k in range(10)], 8)
        found.append(permutation_p(success, kept, patients, n_permutations=300, seed=int(rng.integers(1 << 30))))
    assert np.mean(np.array(found) < 0.05) < 0.1
    assert 0.4 < np.mean(found) < 0.65


def test_what_differs_only_between_patients_proves_nothing():
    """Good patients are kept and bad ones excluded: within a patient the verdict says nothing."""
    patients = np.repeat([f"p{k}" for k in range(10)], 8)
    good = np.repeat(np.arange(10) < 5, 8)
    assert permutation_p(good, good, patients, n_permutations=200) == 1.0


def test_the_permutation_test_of_one_patient_is_fishers():
    success = np.array([True] * 9 + [False] * 3 + [True] * 4 + [False] * 10)
    kept = np.array([True] * 12 + [False] * 14)
    ours = permutation_p(success, kept, np.full(26, "p"), n_permutations=40000)
    theirs = stats.fisher_exact([[9, 3], [4, 10]]).pvalue
    assert ours == pytest.approx(theirs, rel=0.15)


def test_risk_rises_from_the_surest_runs_to_all_of_them_and_ties_do_not_depend_on_order():
    success, score = np.array([True, True, False, True, False]), np.array([0.9, 0.8, 0.5, 0.5, 0.1])
    coverage, risk = risk_coverage(success, score)
    assert coverage.tolist() == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert risk == pytest.approx([0, 0, 0.5 / 3, 0.25, 0.4])
    order = [0, 1, 3, 2, 4]
    assert risk_coverage(success[order], score[order])[1] == pytest.approx(risk)


def test_the_answer_at_other_thresholds_follows_from_the_scores_and_needs_scores():
    outcomes = [
        RunOutcome(str(k), f"p{k % 4}", False, k % 2 == 0, 0.5, (), 0.65 if k % 2 == 0 else 0.45, 0.9)
        for k in range(40)
    ]
    rows = {row.threshold: row for row in by_threshold(outcomes, n_permutations=200)}
    assert (rows[0.4].unfiltered.value, rows[0.4].filtered.value) == (1, 1)
    assert (rows[0.6].unfiltered.value, rows[0.6].filtered.value) == (0.5, 1)
    assert rows[0.7].filtered.value == 0
    assert by_threshold(_outcomes({(True, True): 2})) == []


def test_a_set_without_a_kept_run_is_refused():
    with pytest.raises(ValueError, match="at least one that is kept"):
        measure_filtering(_outcomes({(False, True): 3}))
