"""Why runs were excluded: each reason with what it costs, and how reasons come together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ClaireDSALib.training.filtering import RunOutcome


@dataclass(frozen=True)
class ReasonRow:
    """One reason.

    Attributes
    ----------
    reason : str
        Name of the label, or ``out_of_distribution``.
    n : int
        Runs it excludes.
    alone : int
        Runs that no other reason excludes.
    good : int
        Excluded runs whose segmentation succeeded all the same.
    good_alone : int
        Of those that no other reason excludes: what dropping the rule would give back.
    """

    reason: str
    n: int
    alone: int
    good: int
    good_alone: int


@dataclass(frozen=True)
class Combination:
    """Runs excluded by exactly these reasons (none: the runs that were kept)."""

    reasons: tuple[str, ...]
    n: int
    n_success: int


def reason_table(outcomes: Sequence[RunOutcome]) -> list[ReasonRow]:
    """Reasons, the most frequent first."""
    names = Counter(reason for o in outcomes for reason in o.reasons)
    rows = []
    for reason in sorted(names, key=lambda name: (-names[name], name)):
        mine = [o for o in outcomes if reason in o.reasons]
        alone = [o for o in mine if len(o.reasons) == 1]
        good = sum(o.success for o in mine)
        rows.append(ReasonRow(reason, len(mine), len(alone), good, sum(o.success for o in alone)))
    return rows


def combinations(outcomes: Sequence[RunOutcome]) -> list[Combination]:
    """Kept runs and every set of reasons that occurs, the most frequent first."""
    counts = Counter(tuple(sorted(o.reasons)) for o in outcomes)
    good = Counter(tuple(sorted(o.reasons)) for o in outcomes if o.success)
    order = sorted(counts, key=lambda reasons: (-counts[reasons], reasons))
    return [Combination(reasons, counts[reasons], good[reasons]) for reasons in order]
