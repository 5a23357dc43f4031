"""Runs before and after treatment: which belong together, and what changed between them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.geometry import angle_between_deg
from ClaireDSALib.pipeline.report import Reperfusion, ViewComparison

if TYPE_CHECKING:
    from ClaireDSALib.dsa.reperfusion import Evidence
    from ClaireDSALib.pipeline.steps import RunState

LARGEST_ANGLE_DEG = 15.0
"""Between the C-arm positions of one view before and after treatment."""

LEAST_PAUSE_S = 60.0
"""Runs closer in time are two planes or a repetition, not before and after."""

_SAME_LABELS = ("circulation", "side")
"""Labels that must agree, where both are clear, for two runs to show the same circulation."""

_CLEAR = 0.8
_TERRITORY_SEEN = 0.005
"""Mean of a network's map of missing territory below which it has seen none."""

_ARRAYS = {
    "reperfusion_gain": "(h, w) float32 share of the flow after treatment that is new, 0 to 1; spans the run before",
    "reperfusion_late": "(h, w) bool tissue still fed late after treatment; spans the run before",
}
"""Arrays of a comparison, kept with the run before treatment."""

ESTIMATE = "An estimate by software from two runs, not a reading of the eTICI scale."


@dataclass(frozen=True)
class Candidate:
    """Two runs of one view, the earlier one first, and why they belong together."""

    before: str
    after: str
    reason: str
    treatment: str
    """Equal for the views of one comparison."""


def compare_before_after(
    states: Mapping[str, RunState], named: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[Reperfusion, ...], dict[str, dict[str, npt.NDArray[Any]]]]:
    """Compare what can be compared in a case.

    Parameters
    ----------
    states : mapping of str to RunState
        The analysed runs of the case.
    named : sequence of (before, after)
        Runs that the user named; found from times and angles when empty.

    Returns
    -------
    reperfusion : tuple of Reperfusion
        One per treatment; its views are combined. A named pair that cannot be compared is there with its ``error``.
    arrays : dict
        Run before treatment -> arrays to add to it: ``reperfusion_gain`` and ``reperfusion_late``.
    """
    candidates = _named(states, named) if named else find_before_after(list(states.values()))
    found, arrays = [], {}
    for treatment in dict.fromkeys(one.treatment for one in candidates):
        views: list[ViewComparison] = []
        evidence: list[Evidence] = []
        for one in candidates:
            if one.treatment == treatment:
                view, said, pictures = _compare(states, one)
                views.append(view)
                evidence += said
                if pictures:
                    arrays[one.before] = pictures
        found.append(_combined(tuple(views), evidence))
    return tuple(found), arrays


def find_before_after(states: Sequence[RunState]) -> tuple[Candidate, ...]:
    """Earliest and latest run of every view of a patient that show the same circulation and can be compared."""
    usable = [state for state in states if state.passage is not None and _moment(state) is not None and _good(state)]
    usable.sort(key=lambda state: (_moment(state), state.series.run_id))
    found: list[Candidate] = []
    taken: set[str] = set()
    for first, last in _widest_first(usable):
        ids = {first.series.run_id, last.series.run_id}
        if taken & ids or (reason := _same_view(first, last)) is None:
            continue
        taken |= ids
        key = first.series.identity.study_uid or first.series.identity.patient_key
        found.append(Candidate(first.series.run_id, last.series.run_id, reason, key))
    return tuple(found)


def _widest_first(states: Sequence[RunState]) -> list[tuple[RunState, RunState]]:
    """Pairs in time order, those furthest apart first: first look and last look."""
    pairs = list(combinations(states, 2))
    return sorted(pairs, key=lambda pair: -_pause_s(*pair))


def _same_view(first: RunState, last: RunState) -> str | None:
    """Why two runs show one view before and after, or None when they do not."""
    a, b = first.series, last.series
    same_patient = a.identity.study_uid == b.identity.study_uid and a.identity.patient_key == b.identity.patient_key
    if not same_patient or not a.identity.study_uid or a.geometry.view != b.geometry.view:
        return None
    angle = angle_between_deg(a.geometry, b.geometry)
    pause = _pause_s(first, last)
    if angle is None or angle > LARGEST_ANGLE_DEG or pause < LEAST_PAUSE_S:
        return None
    if any(_contradict(first, last, name) for name in _SAME_LABELS):
        return None
    return f"same view {angle:.0f} degrees apart, {pause / 60:.0f} minutes later"


def _good(state: RunState) -> bool:
    """Not a run whose labels forbid grading: severe motion, for instance, moves the time course of every edge."""
    if state.settings.segment_unsuitable:
        return True
    motion = next((label for label in state.labels if label.name == "motion_artefact"), None)
    severe = motion is not None and motion.predicted == "severe"
    return not severe and not (state.out_of_distribution is not None and state.out_of_distribution.is_outlier)


def _contradict(first: RunState, last: RunState, name: str) -> bool:
    """Whether both runs are clear about a label and say different things."""
    clear = []
    for state in (first, last):
        label = next((one for one in state.labels if one.name == name), None)
        if label is not None and max(label.probabilities, default=0.0) >= _CLEAR:
            clear.append(label.predicted)
    return len(clear) == 2 and clear[0] != clear[1] and "undetermined" not in clear


def _moment(state: RunState) -> dt.datetime | None:
    text = state.series.identity.acquired_at
    for form in ("%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"):
        try:
            return dt.datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _pause_s(first: RunState, last: RunState) -> float:
    moments = _moment(first), _moment(last)
    return abs((moments[1] - moments[0]).total_seconds()) if None not in moments else 0.0  # type: ignore[operator]


def _named(states: Mapping[str, RunState], named: Sequence[tuple[str, str]]) -> tuple[Candidate, ...]:
    found = []
    for before, after in named:
        key = states[before].series.identity.study_uid if before in states else before
        found.append(Candidate(before, after, "named by the user", key or before))
    return tuple(found)


def _compare(
    states: Mapping[str, RunState], one: Candidate
) -> tuple[ViewComparison, list[Evidence], dict[str, npt.NDArray[Any]]]:
    from ClaireDSALib.dsa.reperfusion import Evidence, flow_change
    from ClaireDSALib.dsa.run_registration import register

    if error := _cannot(states, one):
        return ViewComparison(one.before, one.after, one.reason, error=error), [], {}
    first, last = states[one.before], states[one.after]
    before, after = first.passage, last.passage
    if before is None or after is None:  # _cannot has refused these
        return ViewComparison(one.before, one.after, one.reason), [], {}
    try:
        registration = register(before.small, after.small, scale=_scale(first, last))
        change = flow_change(before.small, after.small, registration, inputs=(before.aif, after.aif))
    except ValueError as problem:
        return ViewComparison(one.before, one.after, one.reason, error=f"{problem}"), [], {}
    factor = before.small.factor
    view = ViewComparison(
        before=one.before,
        after=one.after,
        reason=one.reason,
        flow_ratio=round(change.ratio, 4),
        flow_ratio_low=round(change.ratio_interval[0], 4),
        flow_ratio_high=round(change.ratio_interval[1], 4),
        late_share=round(change.late_share, 4),
        similarity=round(registration.similarity, 4),
        shift_px=(round(registration.shift_px[0] * factor, 2), round(registration.shift_px[1] * factor, 2)),
        rotation_deg=round(registration.rotation_deg, 2),
        scale=round(registration.scale * before.small.factor / after.small.factor, 4),
        arrays=dict(_ARRAYS),
    )
    pictures: dict[str, npt.NDArray[Any]] = {"reperfusion_gain": change.gained, "reperfusion_late": change.late}
    return view, [Evidence(change, _remaining(first, last))], pictures


def _cannot(states: Mapping[str, RunState], one: Candidate) -> str:
    for run_id in (one.before, one.after):
        if run_id not in states:
            return f"there is no run {run_id!r}; there are {sorted(states)}"
        if states[run_id].passage is None:
            return f"run {run_id!r} has no perfusion maps; its notes say why"
    first, last = states[one.before].series.geometry, states[one.after].series.geometry
    angle = angle_between_deg(first, last)
    if angle is not None and angle > LARGEST_ANGLE_DEG:
        return (
            f"the two views are {angle:.0f} degrees apart; at most {LARGEST_ANGLE_DEG:.0f} can be laid over each other"
        )
    return ""


def _scale(first: RunState, last: RunState) -> float:
    """Size of a cell before over that after; 1 when either pixel size is unknown."""
    sizes = [state.series.geometry.pixel_spacing_mm for state in (first, last)]
    factors = [state.passage.small.factor if state.passage else 1 for state in (first, last)]
    if sizes[0] is None or sizes[1] is None:
        return factors[0] / factors[1]
    return sizes[0][0] * factors[0] / (sizes[1][0] * factors[1])


def _remaining(first: RunState, last: RunState) -> float | None:
    """Missing territory after over before, as the sequence network sees it; None when it did not read both runs."""
    if first.findings is None or last.findings is None:
        return None
    return remaining_territory(first.findings.territory, last.findings.territory)


def remaining_territory(before: npt.NDArray[np.floating], after: npt.NDArray[np.floating]) -> float | None:
    """Missing territory after over before, from a network's maps 0 to 1; None when it saw none before."""
    lost = float(np.mean(before))
    return float(np.mean(after)) / lost if lost >= _TERRITORY_SEEN else None


def _combined(views: tuple[ViewComparison, ...], evidence: list[Evidence]) -> Reperfusion:
    from ClaireDSALib.dsa.reperfusion import estimate_reperfusion

    if not evidence:
        return Reperfusion(views=views, text="No estimate: none of the views could be compared.")
    found = estimate_reperfusion(evidence)
    by_network = any(one.remaining is not None for one in evidence)
    seen = " and the sequence network's map of the missing territory" if by_network else " alone"
    words = "both views" if len(evidence) == 2 else "one view" if len(evidence) == 1 else f"{len(evidence)} views"
    return Reperfusion(
        views=views,
        fraction=round(found.fraction, 4),
        low=round(found.low, 4),
        high=round(found.high, 4),
        etici_estimate=found.grade,
        etici_low=found.grade_low,
        etici_high=found.grade_high,
        lost_share=round(found.lost, 4),
        text=f"{ESTIMATE} From the flow in {words}{seen}.",
    )
