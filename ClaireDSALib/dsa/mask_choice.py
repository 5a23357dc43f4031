"""Which frames are the mask: from the header where it says so, else the frames before contrast arrives."""

from __future__ import annotations

from dataclasses import dataclass

from ClaireDSALib.dsa.contrast import contrast_curve
from ClaireDSALib.dsa.series import DsaSeries, MaskOperation

MOST_MASK_FRAMES = 5
"""So many frames are averaged at most: noise falls, and all lie close in time to the arrival of contrast."""

_GUARD_FRAMES = 1
"""The frame just before the arrival may hold a first trace of contrast; left out where others remain."""


@dataclass(frozen=True)
class MaskChoice:
    """The mask of a run.

    Parameters
    ----------
    frames : tuple of int
        0-based frames that serve as mask, over all operations.
    source : str
        ``MaskSubtractionSequence``, ``estimated`` or ``user``.
    operations : tuple of MaskOperation
        What is done with them; the first that covers a frame counts.
    """

    frames: tuple[int, ...]
    source: str = "user"
    operations: tuple[MaskOperation, ...] = ()

    def __post_init__(self) -> None:
        if not self.frames or min(self.frames) < 0:
            msg = f"a mask needs at least one frame number, counted from 0; got {self.frames}"
            raise ValueError(msg)
        if not self.operations:
            object.__setattr__(self, "operations", (MaskOperation("AVG_SUB", mask_frames=tuple(self.frames)),))


def choose_mask(series: DsaSeries) -> MaskChoice | None:
    """Choose the mask of a run; None when it has none (:func:`why_no_mask` says why).

    An already subtracted run has none. A Mask Subtraction Sequence with usable frames decides; else (also
    when its operation is NONE) the mask is estimated: the last frames before contrast arrives, at most
    :data:`MOST_MASK_FRAMES`, without the very last where others remain.
    """
    return _find(series)[0]


def why_no_mask(series: DsaSeries) -> str:
    """Sentence that says why :func:`choose_mask` returned None; empty when it did not."""
    return _find(series)[1]


def _find(series: DsaSeries) -> tuple[MaskChoice | None, str]:
    if series.subtraction_state == "subtracted":
        return None, "the run is already subtracted"
    if (from_tags := _from_tags(series)) is not None:
        return from_tags, ""
    curve = contrast_curve(series)
    if not curve.contrast_free:
        return None, curve.reason
    free = curve.contrast_free
    if len(free) > _GUARD_FRAMES:
        free = free[:-_GUARD_FRAMES]
    return MaskChoice(free[-MOST_MASK_FRAMES:], "estimated"), ""


def _from_tags(series: DsaSeries) -> MaskChoice | None:
    usable = tuple(op for op in series.mask_operations if mask_frames_of(op, series.n_frames))
    if not usable:
        return None
    frames = sorted({frame for op in usable for frame in mask_frames_of(op, series.n_frames)})
    return MaskChoice(tuple(frames), "MaskSubtractionSequence", usable)


def mask_frames_of(operation: MaskOperation, n_frames: int) -> tuple[int, ...]:
    """0-based mask frames that an operation uses in a run of ``n_frames``; empty when it can use none."""
    if operation.operation == "AVG_SUB":
        inside = all(0 <= frame < n_frames for frame in operation.mask_frames)
        return operation.mask_frames if operation.mask_frames and inside else ()
    pairs = mask_frame_by_frame(operation, n_frames)
    return tuple(sorted(set(pairs.values())))


def mask_frame_by_frame(operation: MaskOperation, n_frames: int) -> dict[int, int]:
    """Contrast frame -> mask frame of the time interval differences (PS3.3 C.7.6.10.1.1).

    TID: the frame ``tid_offset`` earlier. REV_TID: ``(first - tid_offset) - (frame - first)``, first being the
    first frame of the first applicable range, which must be given. Pairs outside the run are left out.
    """
    if operation.operation not in ("TID", "REV_TID"):
        return {}
    if operation.operation == "REV_TID" and not operation.applicable_frames:
        return {}
    first = operation.applicable_frames[0][0] if operation.applicable_frames else 0
    pairs = {}
    for frame in covered_frames(operation, n_frames):
        mask = frame - operation.tid_offset
        if operation.operation == "REV_TID":
            mask = (first - operation.tid_offset) - (frame - first)
        if 0 <= mask < n_frames:
            pairs[frame] = mask
    return pairs


def covered_frames(operation: MaskOperation, n_frames: int) -> tuple[int, ...]:
    """0-based frames an operation applies to; without a range every frame that can be averaged to its end."""
    last = n_frames - operation.contrast_frame_averaging
    ranges = operation.applicable_frames or ((0, max(last, 0)),)
    return tuple(sorted({f for low, high in ranges for f in range(max(low, 0), min(high, n_frames - 1) + 1)}))
