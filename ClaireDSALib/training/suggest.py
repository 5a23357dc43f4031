"""Which runs to annotate next: those from whose labels most is to be learnt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ClaireDSALib.pipeline.report import CaseReport, RunReport


@dataclass(frozen=True)
class Suggestion:
    """One run worth a look.

    Parameters
    ----------
    source : str
        The review it is in.
    run_id, patient : str
    gain_bits : float
        Expected information from annotating all open labels of the run.
    labels : tuple of (str, float)
        Open labels with the information each would give, largest first.
    is_outlier : bool
        Unlike the training pictures: its probabilities are less sure than they look.
    """

    source: str
    run_id: str
    patient: str
    gain_bits: float
    labels: tuple[tuple[str, float], ...]
    is_outlier: bool


def suggest(
    reports: Iterable[tuple[str, CaseReport]], *, labels: Sequence[str] = (), most: int | None = None
) -> list[Suggestion]:
    """Rank runs by expected gain.

    The information a rater's answer is expected to give is the entropy of the calibrated probabilities, here summed
    over the labels that are open: answered by the model and not yet by a person. Runs of one patient resemble each
    other, so each further run of a patient counts half of the one before; this halving is a rule of thumb.

    Parameters
    ----------
    reports : iterable of (str, CaseReport)
        Name of the review and its report.
    labels : sequence of str
        Only these; all unless given.
    most : int, optional
        Length of the list.

    Returns
    -------
    list of Suggestion
        Largest gain first; runs without open labels are left out.
    """
    left = [found for source, report in reports for run in report.runs if (found := _of_run(source, run, labels))]
    left.sort(key=lambda one: (-one.gain_bits, one.source, one.run_id))
    taken: Counter[str] = Counter()
    ranked: list[Suggestion] = []
    while left and (most is None or len(ranked) < most):
        best = max(left, key=lambda one: one.gain_bits / 2 ** taken[one.patient])
        left.remove(best)
        ranked.append(best)
        taken[best.patient] += 1
    return ranked


def entropy_bits(probabilities: Sequence[float]) -> float:
    """Expected information of an answer.

    Examples
    --------
    >>> entropy_bits((0.5, 0.5)), entropy_bits((1.0, 0.0))
    (1.0, 0.0)
    """
    return -sum(p * math.log2(p) for p in probabilities if p > 0) + 0.0


def _of_run(source: str, run: RunReport, labels: Sequence[str]) -> Suggestion | None:
    settled = {override.label for override in run.overrides if override.verdict in ("accept", "correct")}
    open_labels = [
        (label.name, entropy_bits(label.probabilities))
        for label in run.labels
        if label.answered and label.name not in settled and (not labels or label.name in labels)
    ]
    if not open_labels:
        return None
    open_labels.sort(key=lambda one: (-one[1], one[0]))
    patient = str(run.identity.get("patient_key") or run.identity.get("study_uid") or f"{source}/{run.run_id}")
    outlier = run.out_of_distribution is not None and run.out_of_distribution.is_outlier
    return Suggestion(source, run.run_id, patient, sum(gain for _, gain in open_labels), tuple(open_labels), outlier)
