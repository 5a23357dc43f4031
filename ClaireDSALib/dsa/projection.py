"""Projections over time, streamed with the decoding: memory stays at a few frames."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries

Kind = Literal["min", "max", "mean"]

KINDS: tuple[Kind, ...] = ("min", "max", "mean")

_MAX_WORKERS = 16
"""More decoding threads than this gain nothing: memory bandwidth is the limit before."""

Accumulator = dict[str, npt.NDArray[Any]]


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
    count = worker_count(len(chosen), workers)
    shares = [chosen[start::count] for start in range(count)]
    with ThreadPoolExecutor(len(shares)) as pool:
        parts = list(pool.map(lambda share: _accumulate(series.frames.read, share, kinds), shares))
    return _finish(parts, len(chosen))


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


def worker_count(n_frames: int, workers: int | None = None) -> int:
    """Threads for ``n_frames`` frames: one per processor unless told, never more than frames."""
    return max(1, min(workers or os.cpu_count() or 1, n_frames, _MAX_WORKERS))


def read_ahead(
    read: Callable[[int], npt.NDArray[Any]], n_frames: int, *, workers: int | None = None
) -> Iterator[npt.NDArray[Any]]:
    """Frames 0 to ``n_frames`` - 1 in order, the next few being decoded meanwhile in other threads.

    At most one frame per worker waits, so memory stays bounded.
    """
    count = worker_count(n_frames, workers)
    if count == 1:
        yield from map(read, range(n_frames))
        return
    with ThreadPoolExecutor(count) as pool:
        waiting = deque(pool.submit(read, index) for index in range(count))
        for index in range(n_frames):
            frame = waiting.popleft().result()
            if index + count < n_frames:
                waiting.append(pool.submit(read, index + count))
            yield frame


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
    part = array if chosen == tuple(range(len(array))) else array[list(chosen)]
    functions: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "min": lambda: part.min(axis=0),
        "max": lambda: part.max(axis=0),
        "mean": lambda: (part.sum(axis=0, dtype=np.uint64) / len(part)).astype(np.float32),
    }
    return {kind: functions[kind]() for kind in kinds}


def _accumulate(read: Callable[[int], npt.NDArray[Any]], share: tuple[int, ...], kinds: Sequence[Kind]) -> Accumulator:
    first = read(share[0])
    totals: Accumulator = {kind: first.astype(np.uint64) if kind == "mean" else first.copy() for kind in kinds}
    operations = {"min": np.minimum, "max": np.maximum, "mean": np.add}
    for index in share[1:]:
        frame = read(index)
        for kind, total in totals.items():
            operations[kind](total, frame, out=total)
    return totals


def _finish(parts: list[Accumulator], n_frames: int) -> dict[str, npt.NDArray[Any]]:
    operations = {"min": np.minimum, "max": np.maximum, "mean": np.add}
    totals = parts[0]
    for part in parts[1:]:
        for kind, total in totals.items():
            operations[kind](total, part[kind], out=total)
    if "mean" in totals:
        totals["mean"] = (totals["mean"] / n_frames).astype(np.float32)
    return totals
