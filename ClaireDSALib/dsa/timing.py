"""When each frame was acquired, in seconds from the first; duplicates left out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.dicom_groups import find_text
from ClaireDSALib.dsa.dicom_header import number, numbers, text
from ClaireDSALib.dsa.dicom_instance import Instance

ASSUMED_FRAME_TIME_S = 1.0
"""Used when a file tells no time at all: times then count frames."""

_SHORTEST_INTERVAL_S = 1e-6
"""Two frames closer than this are the same point in time; no detector reads out this fast."""
_LONGEST_INTERVAL_S = 600.0
"""A run whose frames lie farther apart is none."""
_CUMULATIVE_TOLERANCE = 0.01
"""Relative spread up to which growing 'increments' are taken for elapsed times."""
_FEWEST_FOR_CUMULATIVE = 4
_DATE_TIME = re.compile(r"(\d{8})(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?([+-]\d{4})?")


@dataclass(frozen=True)
class Timeline:
    """Times of the frames that are kept.

    Parameters
    ----------
    times_s : (K,) float64 ndarray
        Strictly increasing, first 0.
    kept : tuple of int
        K of the T frames, 0-based: those whose interval to the frame before is not zero.
    source : str
        Keyword that gave the times, or ``assumed``.
    warnings : tuple of str
    """

    times_s: npt.NDArray[np.float64]
    kept: tuple[int, ...]
    source: str
    warnings: tuple[str, ...] = ()


_Way = Callable[[Instance], "Timeline | tuple[float, str] | str"]
"""Tries one attribute: times, or (seconds per frame, keyword), or why it is not used (empty when absent)."""


def timeline_of(instance: Instance) -> Timeline:
    """Find the times of a multi-frame instance.

    Asked in this order: FrameTimeVector, FrameTime (PS3.3 C.7.6.5), the acquisition times of the
    frames (Enhanced, PS3.3 C.7.6.16.2.2), and the display rates CineRate and
    RecommendedDisplayFrameRate, which only stand in for a rate of acquisition.
    """
    n = instance.n_frames
    if n == 1:
        return Timeline(np.zeros(1), (0,), "single frame")
    ways: tuple[_Way, ...] = (_by_vector, _by_frame_time, _by_frame_content, _by_rate)
    return _first_that_works(instance, n, ways)


def timeline_of_group(instances: Sequence[Instance]) -> Timeline:
    """Find the times of single-frame instances that stand in order of acquisition.

    Their own acquisition times when these increase, else FrameTime, the rates, and last ContentTime.
    """
    n = len(instances)
    if n == 1:
        return Timeline(np.zeros(1), (0,), "single frame")
    moments = [acquired_at(one) for one in instances]
    if (found := _by_moments(moments, "AcquisitionTime")) is not None:
        return found
    uniform = _first_that_works(instances[0], n, (_by_frame_time, _by_rate))
    if uniform.source != "assumed":
        return uniform
    moments = [_moment(one, "ContentDate", "ContentTime") for one in instances]
    return _by_moments(moments, "ContentTime") or uniform


def acquired_at(instance: Instance) -> dt.datetime | None:
    """Return when the instance (its first frame) was acquired, None when it does not say."""
    whole = find_text(instance, "FrameContentSequence", "FrameAcquisitionDateTime")
    for value in (whole, text(instance.dataset, "AcquisitionDateTime")):
        if (found := parse_date_time(value)) is not None:
            return found
    return _moment(instance, "AcquisitionDate", "AcquisitionTime")


def parse_date_time(value: str) -> dt.datetime | None:
    """Parse a DICOM DT; the offset from UTC is dropped, since only differences matter."""
    match = _DATE_TIME.fullmatch(value.strip())
    if match is None:
        return None
    date, hour, minute, second, fraction, _ = match.groups()
    try:
        moment = dt.datetime.strptime(f"{date}{hour}{minute or '00'}{second or '00'}", "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment + dt.timedelta(seconds=float(fraction or 0))


def _moment(instance: Instance, date_keyword: str, time_keyword: str) -> dt.datetime | None:
    time = text(instance.dataset, time_keyword).replace(":", "")
    date = text(instance.dataset, date_keyword) or text(instance.dataset, "StudyDate") or "19000101"
    return parse_date_time(date.replace(".", "") + time) if time else None


def _first_that_works(instance: Instance, n: int, ways: Sequence[_Way]) -> Timeline:
    remarks: list[str] = []
    for way in ways:
        found = _spread(way(instance), n)
        if isinstance(found, Timeline):
            return Timeline(found.times_s, found.kept, found.source, (*remarks, *found.warnings))
        if found:
            remarks.append(found)
    remarks.append(f"the file gives no frame times; {ASSUMED_FRAME_TIME_S:g} s per frame is assumed")
    return Timeline(np.arange(n, dtype=np.float64) * ASSUMED_FRAME_TIME_S, tuple(range(n)), "assumed", tuple(remarks))


def _by_vector(instance: Instance) -> Timeline | str:
    if "FrameTimeVector" not in instance.dataset:
        return ""
    vector = np.array(numbers(instance.dataset, "FrameTimeVector"), np.float64) / 1000
    n = instance.n_frames
    if len(vector) == n - 1:
        vector = np.concatenate([[0.0], vector])
    if len(vector) < n:
        return f"FrameTimeVector has {len(vector)} values for {n} frames and is not used"
    increments = np.concatenate([[0.0], vector[1:n]])
    if np.any(increments < 0) or not np.any(increments > _SHORTEST_INTERVAL_S):
        return "FrameTimeVector does not increase and is not used"
    warnings = (f"FrameTimeVector has {len(vector)} values for {n} frames; the first {n} are used",)[: len(vector) > n]
    if _is_cumulative(increments):
        return _keep_increasing(increments, "FrameTimeVector", (*warnings, "FrameTimeVector holds elapsed times"))
    return _keep_increasing(np.cumsum(increments), "FrameTimeVector", warnings)


def _is_cumulative(increments: npt.NDArray[np.float64]) -> bool:
    """Some writers store elapsed times: 0, 250, 500, 750 ... grows too evenly to be a list of intervals."""
    steps = np.diff(increments)
    if len(steps) < _FEWEST_FOR_CUMULATIVE or steps[0] <= 0:
        return False
    return bool(np.all(np.abs(steps - steps[0]) <= _CUMULATIVE_TOLERANCE * steps[0]))


def _by_frame_time(instance: Instance) -> tuple[float, str] | str:
    milliseconds = number(instance.dataset, "FrameTime")
    if milliseconds is None:
        return ""
    if milliseconds <= 0:
        return f"FrameTime is {milliseconds:g} ms and is not used"
    return milliseconds / 1000, "FrameTime"


def _by_rate(instance: Instance) -> tuple[float, str] | str:
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = number(instance.dataset, keyword)
        if rate is not None and rate > 0:
            return 1 / rate, keyword
    return ""


def _by_frame_content(instance: Instance) -> Timeline | str:
    if not instance.per_frame:
        return ""
    for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        values = [find_text(instance, "FrameContentSequence", keyword, k) for k in range(instance.n_frames)]
        moments = [parse_date_time(value) for value in values]
        if any(moment is None for moment in moments):
            continue
        seconds = np.array([(moment - moments[0]).total_seconds() for moment in moments])  # type: ignore[operator]
        if np.all(np.diff(seconds) >= 0) and seconds[-1] > 0:
            return _keep_increasing(seconds, keyword, ())
    return ""


def _by_moments(moments: Sequence[dt.datetime | None], source: str) -> Timeline | None:
    if any(moment is None for moment in moments):
        return None
    seconds = np.array([(moment - moments[0]).total_seconds() for moment in moments])  # type: ignore[operator]
    if np.any(np.diff(seconds) <= _SHORTEST_INTERVAL_S):
        return None
    return Timeline(seconds, tuple(range(len(seconds))), source)


def _spread(found: Timeline | tuple[float, str] | str, n: int) -> Timeline | str:
    if not isinstance(found, tuple):
        return found
    step, source = found
    if not _SHORTEST_INTERVAL_S < step < _LONGEST_INTERVAL_S:
        return f"{source} gives {step:g} s per frame and is not used"
    return Timeline(np.arange(n, dtype=np.float64) * step, tuple(range(n)), source)


def _keep_increasing(seconds: npt.NDArray[np.float64], source: str, warnings: tuple[str, ...]) -> Timeline:
    kept = tuple(k for k in range(len(seconds)) if k == 0 or seconds[k] - seconds[k - 1] > _SHORTEST_INTERVAL_S)
    dropped = len(seconds) - len(kept)
    if dropped:
        warnings = (*warnings, f"{dropped} frame(s) have the same time as the frame before and are left out")
    return Timeline(seconds[list(kept)], kept, source, warnings)
