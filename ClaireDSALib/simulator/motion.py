"""Patient and table motion: when, how far, how it differs between near and far bone, and how bad it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .geometry import ViewGeometry

MotionGrade = Literal["none", "mild", "severe"]
MotionKind = Literal["drift", "jerk", "breathing", "swallow", "jaw", "table"]
MOTION_KINDS: tuple[MotionKind, ...] = ("drift", "jerk", "breathing", "swallow", "jaw", "table")

GRADE_LIMITS = (0.035, 0.18)
"""Artefact level (log attenuation) below which motion is none, and from which it is severe."""

_GRADE_TARGET = {"none": (0.004, 0.02), "mild": (0.06, 0.13), "severe": (0.25, 0.65)}
_LARGEST_SHIFT_MM = 14.0
_PERCENTILE = 97.0

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Motion:
    """Motion of one run.

    Attributes
    ----------
    kind : str
    shift_mm : (T, 2) float64 ndarray
        Down and right, at the isocentre; 0 in the mask frame.
    rotation_deg : (T,) float64 ndarray
        In the plane of the picture about its centre, counter-clockwise.
    local : (H, W) float32 ndarray or None
        Share of the motion each pixel takes part in (swallowing, jaw); None when everything moves.
    parallax : float
        Extra motion of the half of the head near the detector, missing in the far half.
    """

    kind: MotionKind
    shift_mm: npt.NDArray[np.float64]
    rotation_deg: npt.NDArray[np.float64]
    local: Image | None = None
    parallax: float = 0.15

    def scaled(self, factor: float) -> Motion:
        """The same motion, ``factor`` times as large."""
        return Motion(self.kind, self.shift_mm * factor, self.rotation_deg * factor, self.local, self.parallax)

    def field_px(self, frame: int, shape: tuple[int, int], spacing_mm: float) -> npt.NDArray[np.float32]:
        """``(2, H, W)`` displacement (down, right) in pixels of the middle of the head in one frame."""
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        rows -= (shape[0] - 1) / 2
        columns -= (shape[1] - 1) / 2
        angle = np.deg2rad(self.rotation_deg[frame])
        down, right = self.shift_mm[frame] / spacing_mm
        field = np.stack([down - angle * columns, right + angle * rows]).astype(np.float32)
        return field if self.local is None else field * self.local


def draw_motion(
    rng: np.random.Generator, kind: MotionKind, times_s: npt.NDArray[np.float64], view: ViewGeometry, start_s: float
) -> Motion:
    """Draw the course of one motion of about 1 mm.

    Parameters
    ----------
    times_s : (T,) ndarray
    start_s : float
        Time before which nothing moves (when the mask is taken).
    """
    t = np.maximum(times_s - start_s, 0.0)
    span = max(float(t[-1]), 1e-3)
    course = _course(rng, kind, t, span)
    direction = rng.normal(size=2)
    if kind in ("breathing", "swallow", "jaw"):
        direction = direction * (0.25, 0.0) + (0.0, 0.0) + np.array([rng.choice([-1.0, 1.0]), rng.normal(0, 0.3)])
    direction /= np.linalg.norm(direction)
    tremor = np.cumsum(rng.normal(0, 0.05, (len(t), 2)), axis=0) * (t > 0)[:, None]
    turn = rng.normal(0, 0.4) if kind in ("jerk", "drift") and rng.random() < 0.5 else 0.0
    local = _local_weight(view, kind, rng) if kind in ("swallow", "jaw") else None
    return Motion(
        kind,
        course[:, None] * direction + tremor,
        course * turn,
        local,
        0.0 if kind == "table" else rng.uniform(0.08, 0.25),
    )


def fit_motion(
    motion: Motion,
    grade: MotionGrade,
    attenuation: Image,
    region: npt.NDArray[np.bool_],
    spacing_mm: float,
    rng: np.random.Generator,
) -> tuple[Motion, float]:
    """Scale a motion until its artefact has the asked grade.

    Parameters
    ----------
    attenuation : (H, W) float32 ndarray
        Line integrals without contrast.
    region : (H, W) bool ndarray
        Pixels that count.

    Returns
    -------
    motion : Motion
    level : float
        Artefact level reached, see :func:`artefact_level`; it may fall short where there is little to move.
    """
    low, high = _GRADE_TARGET[grade]
    target = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    frame = int(np.argmax(np.abs(motion.shift_mm).sum(1) + np.abs(motion.rotation_deg)))
    reach = float(np.linalg.norm(motion.shift_mm[frame]))
    if reach < 1e-6:
        return motion, 0.0
    bottom, top = 0.0, _LARGEST_SHIFT_MM / reach
    small, keep = np.ascontiguousarray(attenuation[::2, ::2]), np.ascontiguousarray(region[::2, ::2])
    for _ in range(7):
        factor = 0.5 * (bottom + top)
        level = artefact_level(motion.scaled(factor), frame, small, keep, 2 * spacing_mm)
        bottom, top = (factor, top) if level < target else (bottom, factor)
    fitted = motion.scaled(0.5 * (bottom + top))
    return fitted, artefact_level(fitted, frame, small, keep, 2 * spacing_mm)


def artefact_level(
    motion: Motion, frame: int, attenuation: Image, region: npt.NDArray[np.bool_], spacing_mm: float
) -> float:
    """97th percentile, inside ``region``, of the change of log attenuation that motion causes in one frame."""
    if not region.any():
        return 0.0
    change = np.abs(shift_image(attenuation, motion, frame, spacing_mm) - attenuation)[region]
    return float(np.percentile(change, _PERCENTILE))


def grade_of(level: float) -> MotionGrade:
    """Grade of an artefact level."""
    if level < GRADE_LIMITS[0]:
        return "none"
    return "mild" if level < GRADE_LIMITS[1] else "severe"


def shift_image(image: Image, motion: Motion, frame: int, spacing_mm: float, *, gain: float = 1.0) -> Image:
    """Where ``image`` lands in ``frame``; ``gain`` scales the motion (parallax of near and far bone)."""
    if motion.local is None and abs(motion.rotation_deg[frame]) < 1e-3:
        down, right = motion.shift_mm[frame] * gain / spacing_mm
        return translate(image, float(down), float(right))
    local = motion.local
    if local is not None and local.shape != image.shape:
        step = local.shape[0] // image.shape[0]
        motion = Motion(motion.kind, motion.shift_mm, motion.rotation_deg, local[::step, ::step], motion.parallax)
    field = motion.field_px(frame, image.shape, spacing_mm) * np.float32(gain)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return ndimage.map_coordinates(
        image, [rows - field[0], columns - field[1]], order=1, mode="nearest", output=np.float32
    )


def translate(image: Image, down: float, right: float) -> Image:
    """Bilinear translation in pixels; edges repeat."""
    result = image
    for axis, distance in ((0, down), (1, right)):
        if abs(distance) < 1e-6:
            continue
        whole = int(np.floor(distance))
        part = np.float32(distance - whole)
        n = result.shape[axis]
        index = np.clip(np.arange(n) - whole, 0, n - 1)
        first = result.take(index, axis)
        result = first if part < 1e-6 else (1 - part) * first + part * result.take(np.maximum(index - 1, 0), axis)
    return result


def _course(
    rng: np.random.Generator, kind: MotionKind, t: npt.NDArray[np.float64], span: float
) -> npt.NDArray[np.float64]:
    if kind in ("jerk", "table"):
        centre, width = rng.uniform(0.15, 0.7) * span, rng.uniform(0.05, 0.4)
        course = 1 / (1 + np.exp(-np.clip((t - centre) / width, -40, 40)))
        return course - course[0]
    if kind == "breathing":
        rate, phase = rng.uniform(0.15, 0.4), rng.uniform(0, 2 * np.pi)
        course = np.sin(2 * np.pi * rate * t + phase) - np.sin(phase)
        return np.where(t > 0, course, 0.0)
    if kind in ("swallow", "jaw"):
        centre, width = rng.uniform(0.2, 0.8) * span, rng.uniform(0.25, 0.9)
        return np.where(t > 0, np.exp(-(((t - centre) / width) ** 2)), 0.0) + 0.15 * t / span
    return t / span


def _local_weight(view: ViewGeometry, kind: MotionKind, rng: np.random.Generator) -> Image:
    """1 below the jaw's level (swallowing) or around the mandible, falling smoothly to a small share above."""
    anchor = np.array([[0.0, -30.0, -95.0 if kind == "jaw" else -120.0], [0.0, -30.0, -60.0]])
    (low_row, low_column), (high_row, _) = view.project(anchor)[0]
    rows, columns = np.mgrid[: view.shape[0], : view.shape[1]].astype(np.float32)
    width = max(abs(low_row - high_row), 4.0)
    weight = 1 / (1 + np.exp(np.clip(-(rows - (low_row + high_row) / 2) / (0.3 * width), -30, 30)))
    if kind == "jaw":
        weight *= np.exp(-(((columns - low_column) / (3 * width)) ** 2))
    return (rng.uniform(0.03, 0.12) + weight).clip(0, 1).astype(np.float32)
