"""Two views of one run, judged together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ClaireDSALib.dsa.series import Pair
from ClaireDSALib.pipeline.report import PairReport, Thrombus

if TYPE_CHECKING:
    from ClaireDSALib.models.sequence_reader import SequenceFindings


def judge_pair(pair: Pair, findings: Mapping[str, SequenceFindings]) -> PairReport:
    """Thrombus verdict of a pair: the mean of both views' logits, or the one view that could be used."""
    ids = (pair.ap.run_id, pair.lateral.run_id)
    there = [findings[run_id] for run_id in ids if run_id in findings]
    if not there:
        return PairReport(run_ids=ids, reason=pair.reason)
    if len(there) == 1:
        used = "PA/AP" if ids[0] in findings else "lateral"
        one = there[0]
        return PairReport(
            run_ids=ids,
            reason=pair.reason,
            thrombus=Thrombus(
                one.probability, one.threshold, one.present, one.uncertainty, text=f"from the {used} view alone"
            ),
        )
    from ClaireDSALib.models.sequence_reader import fuse_views

    probability, spread = fuse_views(*there)
    threshold = (there[0].threshold + there[1].threshold) / 2
    return PairReport(
        run_ids=ids,
        reason=pair.reason,
        thrombus=Thrombus(probability, threshold, probability >= threshold, spread, text="from both views"),
    )
