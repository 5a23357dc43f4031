"""A whole run as a few pictures: what filled when, how much, and what came late or never.

A missing territory and late, backward filling are what a clot leaves in a run. Both are plain in maps of time, which
cost a network one picture instead of one per frame. All times count from the first contrast of the run, so that
injection delay and frame rate cancel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.order_statistics import median

WINDOWS_S = ((-1.5, -0.3), (0.0, 0.7), (0.7, 1.4), (1.4, 2.2), (2.2, 3.2), (3.2, 4.6), (4.6, 6.5), (6.5, 9.5))
"""Windows after first contrast over which opacity is averaged; a run that ends early holds its last frame."""

CHANNELS = (*(f"opacity {low:g} to {high:g} s" for low, high in WINDOWS_S), "peak", "arrival", "time to peak",
            "centre of mass in time", "covered")  # fmt: skip
"""Meaning of the channels of :func:`temporal_channels`."""

_SAMPLES = 8
"""Points at which a window samples the linear interpolation between frames."""

_ARRIVED = 0.4
"""Contrast has arrived in a pixel when it crosses this share of the pixel's own peak."""

_FIRST_PERCENTILE, _FIRST_LEVEL = 99.5, 0.2
"""First contrast: the 0.5 % most opaque pixels of a frame reach this share of the run's peak."""

_NOISE_SIGMAS = 5.0
_FAINTEST = 0.06
"""Relative peak opacity below which a pixel holds no contrast whose time could be known."""

_CONTRAST = 5.0
"""Slope of the compression that brings blush (3 to 20 % of the peak) and vessels onto one scale."""

_TIME_SCALE_S = 5.0
_NEVER = 1.6
"""Time channels where nothing arrives: as if after 8 s."""


def temporal_channels(stack: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Pictures of the course of contrast.

    Parameters
    ----------
    stack : (T, S, S) float32 ndarray
        Opacity relative to the run's peak, contrast positive.
    times_s : (T,) float64 ndarray
        Strictly increasing seconds.

    Returns
    -------
    (C, S, S) float32 ndarray
        See ``CHANNELS``; opacities compressed to about 0..1, times in units of 5 s.
    """
    times = np.asarray(times_s, np.float64) - first_contrast_s(stack, times_s)
    flat = stack.reshape(len(stack), -1)
    windows = (_window_weights(times) @ flat).reshape(-1, *stack.shape[1:])
    peak = stack.max(0)
    clear = peak > max(_FAINTEST, _NOISE_SIGMAS * noise_of(stack))
    clock = [_arrival(stack, times, peak), times[stack.argmax(0)], _centre(stack, times)]
    clock = [np.where(clear, np.clip(c / _TIME_SCALE_S, -0.4, 2.0), _NEVER) for c in clock]
    covered = np.full_like(peak, np.clip(times[-1] / 10.0, 0, 2))
    return np.concatenate([compress(windows), compress(peak)[None], *(c[None] for c in clock), covered[None]]).astype(
        np.float32
    )


def first_contrast_s(stack: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64]) -> float:
    """When contrast first shows, interpolated; the first frame when it never does or is there already."""
    strength = _strongest(stack)
    there = np.flatnonzero(strength >= _FIRST_LEVEL)
    first = int(there[0]) if len(there) else 0
    if first == 0:
        return float(times_s[0])
    low, high = strength[first - 1], strength[first]
    share = (_FIRST_LEVEL - low) / max(float(high - low), 1e-6)
    return float(times_s[first - 1] + share * (times_s[first] - times_s[first - 1]))


def course_features(stack: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(T, 9) features of the whole picture for every frame.

    Seconds since first contrast / 10, seconds to the frame before, mean opacity, share of opaque pixels past their
    peak, and five curves over their own peaks: everything, early and late opaque pixels, faint blush, and the
    strongest pixels of each frame.
    """
    times = np.asarray(times_s, np.float64)
    flat = stack.reshape(len(stack), -1)
    peak, when = flat.max(0), flat.argmax(0)
    opaque = peak > 0.3
    past = (when[None] < np.arange(len(flat))[:, None]) & opaque
    share = past.sum(1) / max(int(opaque.sum()), 1)
    late = times[when]
    early_cut, late_cut = np.percentile(late[opaque], (35, 80)) if opaque.any() else (0.0, 0.0)
    cells = _blocks(stack)
    faint = _blocks(peak.reshape(1, *stack.shape[1:]))[0]
    blush = (cells.max(0) > 0.03) & (faint < 0.25)
    curves = [
        flat.mean(1),
        _mean(flat, opaque & (late <= early_cut)),
        _mean(flat, opaque & (late >= late_cut)),
        _mean(cells, blush),
        _strongest(stack),
    ]
    relative = [c / max(float(c.max()), 1e-6) for c in curves]
    since = times - first_contrast_s(stack, times)
    step = np.diff(times, prepend=times[0])
    return np.stack([since / 10.0, step, flat.mean(1), share, *relative], 1).astype(np.float32)


N_COURSE_FEATURES = 9
"""Columns of :func:`course_features`."""


def noise_of(stack: npt.NDArray[np.float32]) -> float:
    """Standard deviation of a pixel's noise, from neighbouring frames; 0 for a single frame."""
    if len(stack) < 2:
        return 0.0
    steps = np.abs(np.diff(stack[:, ::3, ::3], axis=0))
    return float(median(steps.ravel()) / (0.6745 * np.sqrt(2)))


def compress(opacity: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Odd logarithmic compression, 0 to 0 and 1 to 1."""
    return np.arcsinh(opacity * _CONTRAST) / np.arcsinh(_CONTRAST)


def _strongest(stack: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(T,) high percentile of every frame, from every other row and column."""
    some = stack[:, ::2, ::2].reshape(len(stack), -1)
    place = min(int(some.shape[1] * _FIRST_PERCENTILE / 100), some.shape[1] - 1)
    return np.partition(some, place, axis=1)[:, place]


def _window_weights(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(W, T) weights of frames whose sum is the mean of the linear interpolation over each window."""
    basis = np.eye(len(times))
    points = np.concatenate([np.linspace(low, high, _SAMPLES) for low, high in WINDOWS_S])
    sampled = np.stack([np.interp(points, times, row) for row in basis], 1)
    return sampled.reshape(len(WINDOWS_S), _SAMPLES, -1).mean(1).astype(np.float32)


def _arrival(
    stack: npt.NDArray[np.float32], times: npt.NDArray[np.float64], peak: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """First crossing of a share of the pixel's peak, interpolated between frames."""
    level = _ARRIVED * peak
    first = (stack >= level).argmax(0)
    before = np.maximum(first - 1, 0)
    high = np.take_along_axis(stack, first[None], 0)[0]
    low = np.take_along_axis(stack, before[None], 0)[0]
    share = np.clip((level - low) / np.maximum(high - low, 1e-6), 0, 1)
    return times[before] + share * (times[first] - times[before])


def _centre(stack: npt.NDArray[np.float32], times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """First moment of the positive opacity over time."""
    span = _spans(times)
    moments = np.stack([span, span * times]).astype(np.float32) @ np.maximum(stack, 0).reshape(len(stack), -1)
    return (moments[1] / np.maximum(moments[0], 1e-6)).reshape(stack.shape[1:])


def _blocks(stack: npt.NDArray[np.float32], side: int = 5) -> npt.NDArray[np.float32]:
    """(T, cells) means over blocks of side x side pixels; what is left at the far edges is dropped."""
    frames, rows, columns = len(stack), stack.shape[1] // side, stack.shape[2] // side
    if rows == 0 or columns == 0:
        return stack.reshape(frames, -1)
    return (
        stack[:, : rows * side, : columns * side]
        .reshape(frames, rows, side, columns, side)
        .mean((2, 4))
        .reshape(frames, -1)
    )


def _spans(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Seconds each frame stands for."""
    return np.gradient(times) if len(times) > 1 else np.ones(1)


def _mean(flat: npt.NDArray[np.float32], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return flat[:, chosen].mean(1) if chosen.any() else np.zeros(len(flat), np.float32)
