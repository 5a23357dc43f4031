"""Projections over time, streamed with the decoding: memory stays at a few frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import reduce_frames
from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries

Kind = Literal["min", "max", "mean"]

KINDS: tuple[Kind, ...] = ("min", "max", "mean")

_OPERATIONS = {"min": np.minimum, "max": np.maximum, "mean": np.add}


def minip(
    series: DsaSeries, *, frames: Iterable[int] | None = None, workers: int | None = None
) -> npt.NDArray[np.unsignedinteger]:
    """Minimum intensity projection over time.

    Parameters
    ----------
    series : DsaSeries
    frames : iterable of int, optional
        0-based frames to project; every frame unless told.
    workers : int, optional
        Decoding threads; one per processor unless told.

    Returns
    -------
    (H, W) ndarray of the stored dtype
        Stored values, contrast dark.

    Raises
    ------
    ValueError
        When no frame is asked for, or a frame number lies outside the run.

    Examples
    --------
    >>> import numpy as np
    >>> series = DsaSeries.from_array(np.array([[[5, 9]], [[7, 2]]], np.uint8))
    >>> minip(series).tolist()
    [[5, 2]]
    """
    return project(series, ("min",), frames=frames, workers=workers)["min"]


def project(
    series: DsaSeries,
    kinds: Sequence[Kind] = KINDS,
    *,
    frames: Iterable[int] | None = None,
    workers: int | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Project over time; every frame is decoded once, whatever the number of kinds.

    Parameters
    ----------
    series : DsaSeries
    kinds : sequence of {"min", "max", "mean"}
    frames, workers
        As in :func:`minip`.

    Returns
    -------
    dict of (H, W) ndarray
        ``min`` and ``max`` in the stored dtype, ``mean`` in float32.

    Raises
    ------
    ValueError
        For an unknown kind, an empty choice of frames, or a frame number outside the run.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        msg = f"unknown projections {unknown}; known are {list(KINDS)}"
        raise ValueError(msg)
    chosen = _checked_frames(series, frames)
    if isinstance(series.frames, ArrayFrames):
        return _project_array(series.frames.array, chosen, kinds)
    totals = reduce_frames(
        series, lambda: _Totals.empty(series, kinds), _Totals.with_frame, _Totals.merged, workers, chosen
    )
    return totals.finished(len(chosen))


def brightest(series: DsaSeries, *, workers: int | None = None) -> npt.NDArray[np.unsignedinteger]:
    """Largest stored value over time, in which no passing contrast is left.

    The first frame, as a rule the mask, is left out, since devices may have moved after it; of a run of one frame it is
    that frame.

    Parameters
    ----------
    series : DsaSeries
    workers : int, optional
        As in :func:`minip`.

    Returns
    -------
    (H, W) ndarray of the stored dtype
        Contrast dark.
    """
    later = range(1, series.n_frames) if series.n_frames > 1 else None
    return project(series, ("max",), frames=later, workers=workers)["max"]


def minip_of_array(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Minimum over the first axis of frames in memory: ``(T, H, W)`` -> ``(H, W)``, same dtype.

    Raises
    ------
    ValueError
        When the array is not ``(T, H, W)`` with at least one frame.
    """
    if frames.ndim != 3 or not len(frames):
        msg = f"frames must be (T, H, W) with at least one frame; got shape {frames.shape}"
        raise ValueError(msg)
    return frames.min(axis=0)


def picked(array: npt.NDArray, indices: Sequence[int]) -> npt.NDArray:
    """Some frames of ``(T, ...)``, as a view where they are evenly spaced."""
    steps = set(np.diff(indices).tolist())
    if len(steps) <= 1 and (step := steps.pop() if steps else 1) > 0:
        return array[indices[0] : indices[-1] + 1 : step]
    return array[list(indices)]


def _checked_frames(series: DsaSeries, frames: Iterable[int] | None) -> tuple[int, ...]:
    chosen = tuple(range(series.n_frames)) if frames is None else tuple(frames)
    if not chosen:
        msg = "a projection needs at least one frame; got none"
        raise ValueError(msg)
    if min(chosen) < 0 or max(chosen) >= series.n_frames:
        msg = f"frame numbers must lie in 0..{series.n_frames - 1}; got {min(chosen)}..{max(chosen)}"
        raise ValueError(msg)
    return chosen


def _project_array(
    array: npt.NDArray[Any], chosen: tuple[int, ...], kinds: Sequence[Kind]
) -> dict[str, npt.NDArray[Any]]:
    part = picked(array, chosen)
    functions: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "min": lambda: part.min(axis=0),
        "max": lambda: part.max(axis=0),
        "mean": lambda: (part.sum(axis=0, dtype=_sum_type(part)) / np.float32(len(part))).astype(np.float32),
    }
    return {kind: functions[kind]() for kind in kinds}


def _sum_type(frames: npt.NDArray[Any]) -> type[np.unsignedinteger]:
    """The narrowest type that holds the sum of all frames, which is added up in half the time where 32 bits do."""
    return np.uint32 if len(frames) * np.iinfo(frames.dtype).max <= np.iinfo(np.uint32).max else np.uint64


@dataclass(frozen=True)
class _Totals:
    """Running projections of one worker."""

    arrays: dict[str, npt.NDArray[Any]]

    @classmethod
    def empty(cls, series: DsaSeries, kinds: Sequence[Kind]) -> _Totals:
        dtype = series.frames.dtype
        starts = {"min": (np.iinfo(dtype).max, dtype), "max": (0, dtype), "mean": (0, np.dtype(np.uint64))}
        return cls({kind: np.full(series.shape, *starts[kind]) for kind in kinds})

    def with_frame(self, _: int, frame: npt.NDArray[np.unsignedinteger]) -> _Totals:
        for kind, total in self.arrays.items():
            _OPERATIONS[kind](total, frame, out=total)
        return self

    def merged(self, other: _Totals) -> _Totals:
        for kind, total in self.arrays.items():
            _OPERATIONS[kind](total, other.arrays[kind], out=total)
        return self

    def finished(self, n_frames: int) -> dict[str, npt.NDArray[Any]]:
        return {
            kind: (total / n_frames).astype(np.float32) if kind == "mean" else total
            for kind, total in self.arrays.items()
        }
