"""What both ways of computing temporal maps share: weights, noise, and the vertex of a peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.order_statistics import median

NOISE_PAIRS = 12
"""Pairs of neighbouring frames from which the noise is measured."""

SAMPLE_STEP = 3
"""Of the rows and columns the noise is measured on."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Courses:
    """What the course of every pixel says, each ``(H, W)``; only meaningful where ``contrast`` is true.

    ``peak_time`` and ``arrival`` are in seconds, NaN where not seen; ``area`` and ``moment`` are the integrals of the
    opacity and of time times opacity; ``noise`` is that of one pixel in one frame.
    """

    peak: Floats
    contrast: npt.NDArray[np.bool_]
    noise: float
    peak_time: Floats
    arrival: Floats
    area: Floats
    moment: Floats


def noise_of(differences: Sequence[Floats]) -> float:
    """Noise of a frame from differences between neighbouring ones, on every third row and column; 0 without any."""
    return float(np.median([_spread(one) for one in differences])) / np.sqrt(2) if len(differences) else 0.0


def trapezoid_weights(times_s: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Weight of every frame in the area, and in the first moment, of the polygon through the samples.

    Of a straight line from ``a`` at t0 to ``b`` at t1: area ``(a + b) dt / 2`` and first moment
    ``dt (a (2 t0 + t1) + b (t0 + 2 t1)) / 6``.
    """
    area, moment = np.zeros(len(times_s)), np.zeros(len(times_s))
    dt, t0, t1 = np.diff(times_s), times_s[:-1], times_s[1:]
    area[:-1] += dt / 2
    area[1:] += dt / 2
    moment[:-1] += dt * (2 * t0 + t1) / 6
    moment[1:] += dt * (t0 + 2 * t1) / 6
    return area.astype(np.float32), moment.astype(np.float32)


def vertex_s(
    times_s: npt.NDArray[np.float64], peak_index: npt.NDArray[np.integer], before: Floats, peak: Floats, after: Floats
) -> Floats:
    """Time of the vertex of the parabola through the peak and its two neighbours, which need not be equally far."""
    steps = np.diff(times_s)
    left = np.concatenate([[np.nan], steps]).astype(np.float32)[peak_index]
    right = np.concatenate([steps, [np.nan]]).astype(np.float32)[peak_index]
    with np.errstate(invalid="ignore", divide="ignore"):
        fall_left, fall_right = peak - before, peak - after
        step = 0.5 * (right**2 * fall_left - left**2 * fall_right) / (right * fall_left + left * fall_right)
        inside = np.isfinite(step) & (step > -left) & (step < right)
    return (times_s.astype(np.float32)[peak_index] + np.where(inside, step, 0.0)).astype(np.float32)


def _spread(sample: Floats) -> float:
    """Robust standard deviation of a sampled picture; what is exactly zero lies outside the field."""
    sample = sample[sample != 0] if np.any(sample) else sample.ravel()
    return float(1.4826 * median(np.abs(sample - median(sample))))
