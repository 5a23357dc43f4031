"""Intervals and tests for shares of runs of which several come from one patient, and of which one set is part of the
other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.filtering import RunOutcome
from ClaireDSALib.training.metrics import Estimate

OTHER_THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85)

_Z = 1.959963984540054
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FilteringFigures:
    """Everything measured on one mixed set.

    Attributes
    ----------
    n_runs, n_patients, n_kept : int
    unfiltered, filtered, excluded : Estimate
        Success rate of all runs, of those kept and of those excluded, with Wilson's interval.
    unfiltered_by_patient, filtered_by_patient, gain : Estimate
        The same rates and their difference (filtered minus unfiltered), with bootstrap intervals over patients.
    p_permutation : float
        The test that counts: see :func:`permutation_p`.
    p_fisher : float
        Fisher's exact test of kept against excluded runs, as if all runs were independent.
    good_lost, good_lost_share : int, Estimate
        Runs that were excluded although their segmentation succeeded; as a share of all that succeeded.
    bad_removed_share : Estimate
        Failed runs that were excluded, as a share of all failed runs.
    aurc, aurc_random, aurc_best : float
        Area under the risk-coverage curve: of the predicted probability, of a random order, of a perfect one.
    """

    n_runs: int
    n_patients: int
    n_kept: int
    unfiltered: Estimate
    filtered: Estimate
    excluded: Estimate
    unfiltered_by_patient: Estimate
    filtered_by_patient: Estimate
    gain: Estimate
    p_permutation: float
    p_fisher: float
    good_lost: int
    good_lost_share: Estimate
    bad_removed_share: Estimate
    aurc: float
    aurc_random: float
    aurc_best: float


def measure_filtering(
    outcomes: Sequence[RunOutcome], *, n_boot: int = 4000, n_permutations: int = 20000, seed: int = 0
) -> FilteringFigures:
    """All figures of one set.

    Raises
    ------
    ValueError
        When there are no runs, or none was kept.
    """
    if not outcomes or not any(o.kept for o in outcomes):
        msg = f"filtering needs runs, and at least one that is kept; got {len(outcomes)} runs, none of them suitable"
        raise ValueError(msg)
    success = np.array([o.success for o in outcomes])
    kept = np.array([o.kept for o in outcomes])
    patients = np.array([o.patient for o in outcomes])
    unfiltered, filtered, gain = _bootstrap(success, kept, patients, n_boot, seed)
    _, risk = risk_coverage(success, np.array([o.score for o in outcomes]))
    return FilteringFigures(
        n_runs=len(outcomes),
        n_patients=len(np.unique(patients)),
        n_kept=int(kept.sum()),
        unfiltered=wilson(int(success.sum()), len(success)),
        filtered=wilson(int((success & kept).sum()), int(kept.sum())),
        excluded=wilson(int((success & ~kept).sum()), int((~kept).sum())),
        unfiltered_by_patient=unfiltered,
        filtered_by_patient=filtered,
        gain=gain,
        p_permutation=permutation_p(success, kept, patients, n_permutations=n_permutations, seed=seed),
        p_fisher=fisher_p(success, kept),
        good_lost=int((success & ~kept).sum()),
        good_lost_share=wilson(int((success & ~kept).sum()), int(success.sum())),
        bad_removed_share=wilson(int((~success & ~kept).sum()), int((~success).sum())),
        aurc=float(risk.mean()),
        aurc_random=float((~success).mean()),
        aurc_best=float(risk_coverage(success, success.astype(float))[1].mean()),
    )


@dataclass(frozen=True)
class ThresholdRow:
    """Success before and after when a segmentation needs this Dice and clDice."""

    threshold: float
    unfiltered: Estimate
    filtered: Estimate
    p_permutation: float


def by_threshold(outcomes: Sequence[RunOutcome], *, n_permutations: int = 5000, seed: int = 0) -> list[ThresholdRow]:
    """How the answer depends on what counts as success; empty where a reader judged.

    The criterion itself is one and was fixed beforehand; this shows whether the answer hangs on it.
    """
    if all(o.dice is None for o in outcomes):
        return []
    scores = np.array([min(o.dice or 0.0, o.cldice or 0.0) for o in outcomes])
    kept = np.array([o.kept for o in outcomes])
    patients = np.array([o.patient for o in outcomes])
    rows = []
    for threshold in OTHER_THRESHOLDS:
        success = scores >= threshold
        rows.append(
            ThresholdRow(
                threshold,
                wilson(int(success.sum()), len(success)),
                wilson(int((success & kept).sum()), int(kept.sum())),
                permutation_p(success, kept, patients, n_permutations=n_permutations, seed=seed),
            )
        )
    return rows


def wilson(hits: int, total: int) -> Estimate:
    """A share with Wilson's 95 % score interval (JASA 1927, doi 10.1080/01621459.1927.10502953)."""
    if not total:
        return Estimate(float("nan"), float("nan"), float("nan"))
    share = hits / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2)) / (1 + _Z**2 / total)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def permutation_p(
    success: BoolArray, kept: BoolArray, patients: npt.NDArray[np.str_], *, n_permutations: int = 20000, seed: int = 0
) -> float:
    """Two-sided p that keeping a run says nothing about its success, by permuting verdicts within each patient.

    The filtered runs are part of the unfiltered ones, so the two rates are no independent samples and a test of two
    proportions does not apply; but filtering raises the rate exactly when kept runs succeed more often than excluded
    ones. Runs of a patient share anatomy and look. Under the hypothesis that the verdict is worthless, verdicts may
    be exchanged among the runs of one patient, and only among those.

    Parameters
    ----------
    success, kept : (N,) bool ndarray
    patients : (N,) str ndarray
    n_permutations, seed : int

    Returns
    -------
    float
        ``(1 + as extreme) / (1 + permutations)``; never below one over the number of permutations.
    """
    hits, expected, variance_free = _kept_hits(success, kept, patients)
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(patients == name) for name in np.unique(patients)]
    drawn = np.zeros(n_permutations)
    for group in groups:
        # hits among the kept of a patient, verdicts shuffled: a hypergeometric draw
        good, keeps = int(success[group].sum()), int(kept[group].sum())
        drawn += rng.hypergeometric(good, len(group) - good, keeps, n_permutations) if keeps else 0
    if variance_free:
        return 1.0
    extreme = int((np.abs(drawn - expected) >= abs(hits - expected) - 1e-9).sum())
    return (1 + extreme) / (1 + n_permutations)


def fisher_p(success: BoolArray, kept: BoolArray) -> float:
    """Fisher's exact test, two-sided, of kept against excluded runs."""
    from scipy.stats import fisher_exact

    table = [
        [int((success & kept).sum()), int((~success & kept).sum())],
        [int((success & ~kept).sum()), int((~success & ~kept).sum())],
    ]
    return float(fisher_exact(table).pvalue)


def risk_coverage(
    success: BoolArray, score: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Share of failures among the k best-scored runs, for k from 1 to N (El-Yaniv and Wiener, JMLR 2010).

    Runs of equal score count with their mean success, so that their order does not matter.

    Returns
    -------
    coverage, risk : (N,) float64 ndarray
    """
    order = np.argsort(-score, kind="stable")
    failed = (~success[order]).astype(float)
    _, group = np.unique(-score[order], return_inverse=True)
    failed = (np.bincount(group, failed) / np.bincount(group))[group]
    count = np.arange(1, len(success) + 1)
    return count / len(success), np.cumsum(failed) / count


def _kept_hits(success: BoolArray, kept: BoolArray, patients: npt.NDArray[np.str_]) -> tuple[int, float, bool]:
    """Hits among the kept, their expectation when verdicts are shuffled, and whether nothing can vary."""
    expected, fixed = 0.0, True
    for name in np.unique(patients):
        mine = patients == name
        expected += success[mine].sum() * kept[mine].sum() / mine.sum()
        fixed &= len(np.unique(success[mine])) < 2 or len(np.unique(kept[mine])) < 2
    return int((success & kept).sum()), float(expected), fixed


def _bootstrap(
    success: BoolArray, kept: BoolArray, patients: npt.NDArray[np.str_], n_boot: int, seed: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Unfiltered rate, filtered rate and their difference, whole patients drawn with replacement."""
    _, who = np.unique(patients, return_inverse=True)
    counts = np.stack([np.bincount(who, part) for part in (np.ones(len(who)), success, kept, success & kept)])
    drawn = np.random.default_rng(seed).integers(counts.shape[1], size=(n_boot, counts.shape[1]))
    runs, hits, keeps, kept_hits = (part[drawn].sum(1) for part in counts)
    before, after = hits / runs, kept_hits / np.where(keeps > 0, keeps, np.nan)
    total = counts.sum(1)
    points = (total[1] / total[0], total[3] / total[2])
    return (
        _interval(points[0], before),
        _interval(points[1], after),
        _interval(points[1] - points[0], after - before),
    )


def _interval(value: float, draws: npt.NDArray[np.floating]) -> Estimate:
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high))
