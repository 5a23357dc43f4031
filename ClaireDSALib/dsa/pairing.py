"""The two planes of one biplane run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ClaireDSALib.dsa.dicom_header import items, text, texts
from ClaireDSALib.dsa.geometry import angle_between_deg
from ClaireDSALib.dsa.read_grouping import Run
from ClaireDSALib.dsa.series import DsaSeries, Pair
from ClaireDSALib.dsa.timing import acquired_at

LARGEST_START_DIFFERENCE_S = 1.0
"""The planes of a biplane run are triggered together; clocks are written in whole seconds by some."""
RIGHT_ANGLE_TOLERANCE_DEG = 35.0
"""Planes are rarely exactly 90 degrees apart: AP is tilted to show the petrous ridge."""

_REFERENCES = ("ReferencedOtherPlaneSequence", "ReferencedImageSequence", "ReferencedInstanceSequence")


def find_pairs(found: Sequence[tuple[Run, DsaSeries]]) -> tuple[Pair, ...]:
    """Pair runs that were acquired together about 90 degrees apart; each run at most once, best evidence first."""
    candidates = []
    for (a, b), (run_a, run_b) in zip(
        combinations(range(len(found)), 2), combinations([run for run, _ in found], 2), strict=True
    ):
        strength, reason = _evidence(run_a, run_b, found[a][1], found[b][1])
        if strength:
            candidates.append((-strength, a, b, reason))
    taken: set[int] = set()
    pairs = []
    for _, a, b, reason in sorted(candidates):
        if not taken & {a, b}:
            taken |= {a, b}
            pairs.append(_ordered(found[a], found[b], reason))
    return tuple(pairs)


def _evidence(run_a: Run, run_b: Run, a: DsaSeries, b: DsaSeries) -> tuple[float, str]:
    """Return how sure it is that two runs are one biplane run, 0 when they are not, and why."""
    if not a.identity.study_uid or a.identity.study_uid != b.identity.study_uid or min(a.n_frames, b.n_frames) < 2:
        return 0, ""
    if a.identity.patient_key != b.identity.patient_key:
        return 0, ""
    angle = angle_between_deg(a.geometry, b.geometry)
    planes = {_plane(run_a), _plane(run_b)} == {"A", "B"}
    if angle is None and not planes:
        return 0, ""
    if angle is not None and abs(angle - 90) > RIGHT_ANGLE_TOLERANCE_DEG:
        return 0, ""
    apart = f"{angle:.0f} degrees apart" if angle is not None else "planes A and B"
    strength, why = _simultaneity(run_a, run_b, a, b)
    return (strength + 0.5 * planes, f"{why}, {apart}") if strength else (0, "")


def _simultaneity(run_a: Run, run_b: Run, a: DsaSeries, b: DsaSeries) -> tuple[float, str]:
    if _refers(run_a, run_b) or _refers(run_b, run_a):
        return 4, "one refers to the other"
    times = acquired_at(run_a.instances[0]), acquired_at(run_b.instances[0])
    if None not in times:
        difference = abs((times[1] - times[0]).total_seconds())  # type: ignore[operator]
        return (3 - difference, "started together") if difference <= LARGEST_START_DIFFERENCE_S else (0, "")
    numbers = a.identity.instance_number, b.identity.instance_number
    same_series = a.identity.series_uid == b.identity.series_uid
    if None not in numbers and numbers[0] == numbers[1] and not (same_series and len(run_a.instances) > 1):
        return 1, "same instance number"
    return 0, ""


def _refers(one: Run, other: Run) -> bool:
    uids = {instance.sop_instance_uid for instance in other.instances}
    dataset = one.instances[0].dataset
    return any(
        text(item, "ReferencedSOPInstanceUID") in uids for keyword in _REFERENCES for item in items(dataset, keyword)
    )


def _plane(run: Run) -> str:
    """Return A or B for the planes of a biplane system (PS3.3 C.8.7.1.1.1), empty for others."""
    words = texts(run.instances[0].dataset, "ImageType")[2:]
    return next((word[-1] for word in words if word in ("BIPLANE A", "BIPLANE B")), "")


def _ordered(first: tuple[Run, DsaSeries], second: tuple[Run, DsaSeries], reason: str) -> Pair:
    """Put the view nearer to AP first; plane A is the frontal one where angles are unknown."""
    swap = _lateralness(*first) > _lateralness(*second)
    ap, lateral = (second[1], first[1]) if swap else (first[1], second[1])
    return Pair(ap, lateral, reason)


def _lateralness(run: Run, series: DsaSeries) -> float:
    angle = series.geometry.primary_angle_deg
    if angle is None:
        return 90.0 if _plane(run) == "B" else 0.0
    turn = abs((angle + 180) % 360 - 180)
    return min(turn, 180 - turn)
