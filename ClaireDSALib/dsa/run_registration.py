"""Two runs of one view laid over each other: same patient, table moved, C-arm back at nearly the same angles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.exposure_drift import in_field
from ClaireDSALib.dsa.phase_correlation import align_to, prepared, taper
from ClaireDSALib.dsa.small_run import SmallRun

LARGEST_ROTATION_DEG = 8.0
_COARSE_STEP_DEG = 2.0
_FINE_STEPS_DEG = (1.0, 0.5)

LARGEST_SHIFT_SHARE = 0.2
"""Of the longer side."""

LEAST_SIMILARITY = 0.3
"""Correlation of the fine detail; pictures of different heads or views stay below."""


@dataclass(frozen=True)
class Registration:
    """Where the content of the earlier run lies in the later one.

    Attributes
    ----------
    scale : float
        Cells of the later grid per cell of the earlier one, from the pixel sizes.
    rotation_deg : float
        Positive from the row axis towards the column axis.
    shift_px : (row, column)
        In cells of the earlier grid.
    similarity : float
        Correlation of the fine detail after registration, -1 to 1.
    grid : (h, w)
        Of the earlier run.
    source : {"bone", "vessels"}
        What was laid over each other.
    """

    scale: float
    rotation_deg: float
    shift_px: tuple[float, float]
    similarity: float
    grid: tuple[int, int]
    source: str

    def pull(self, pictures: npt.NDArray[np.floating], outside: float = 0.0) -> npt.NDArray[np.float32]:
        """Pictures ``(..., h', w')`` of the later run on the grid of the earlier one, linearly interpolated."""
        flat = np.asarray(pictures, np.float32).reshape(-1, *pictures.shape[-2:])
        moved = [_pulled(one, self.scale, self.rotation_deg, self.shift_px, self.grid, outside) for one in flat]
        return np.stack(moved).reshape(*pictures.shape[:-2], *self.grid)

    def jittered(self, rows: float, columns: float) -> Registration:
        """The same, shifted by so many cells more: what an error of the registration would do."""
        moved = (self.shift_px[0] + rows, self.shift_px[1] + columns)
        return Registration(self.scale, self.rotation_deg, moved, self.similarity, self.grid, self.source)


def register(before: SmallRun, after: SmallRun, *, scale: float = 1.0) -> Registration:
    """Lay the later run over the earlier one: scale from the pixel sizes, rotation and shift from the pictures.

    Bone is tried when both runs have a mask frame, vessels always; the better match counts.

    Parameters
    ----------
    before, after : SmallRun
    scale : float
        Size of a cell of ``before`` over that of ``after``, both in mm at the isocentre; 1 when unknown.

    Raises
    ------
    ValueError
        When the pictures do not match: their fine detail correlates by less than ``LEAST_SIMILARITY``.
    """
    bone = before.background is not None and after.background is not None
    found = [_registered(before, after, scale, source) for source in (("bone", "vessels") if bone else ("vessels",))]
    best = max(found, key=lambda one: one.similarity)
    if best.similarity < LEAST_SIMILARITY:
        msg = (
            f"the two runs cannot be laid over each other: their {best.source} correlate by {best.similarity:.2f} "
            f"(at least {LEAST_SIMILARITY} is needed); compare runs of the same view"
        )
        raise ValueError(msg)
    return best


def _registered(before: SmallRun, after: SmallRun, scale: float, source: str) -> Registration:
    fixed, moving = _picture(before, source), _picture(after, source)
    aligner = align_to(fixed, largest_px=LARGEST_SHIFT_SHARE * max(fixed.shape))

    def at(angle_deg: float) -> Registration:
        turned = _pulled(moving, scale, angle_deg, (0.0, 0.0), before.grid, float(np.median(moving)))
        row, column = (float(v) for v in aligner.shift_of(turned)[0])
        likeness = _likeness(fixed, _pulled(moving, scale, angle_deg, (row, column), before.grid, np.nan))
        return Registration(scale, angle_deg, (row, column), likeness, before.grid, source)

    steps = np.arange(-LARGEST_ROTATION_DEG, LARGEST_ROTATION_DEG + 0.1, _COARSE_STEP_DEG)
    best = max((at(float(angle)) for angle in steps), key=lambda one: one.similarity)
    for step in _FINE_STEPS_DEG:
        nearby = (at(best.rotation_deg - step), at(best.rotation_deg + step))
        best = max((best, *nearby), key=lambda one: one.similarity)
    return best


def _picture(run: SmallRun, source: str) -> npt.NDArray[np.float32]:
    """What is laid over each other, shutters filled with the median."""
    bone = run.background if source == "bone" else None
    picture = np.sqrt(np.maximum(run.opacity.max(0), 0)) if bone is None else bone
    field = in_field(run.opacity)
    middle = float(np.median(picture[field])) if field.any() else 0.0
    return np.where(field, picture, middle).astype(np.float32)


def _pulled(
    picture: npt.NDArray[np.float32],
    scale: float,
    angle_deg: float,
    shift_px: tuple[float, float],
    grid: tuple[int, int],
    outside: float,
) -> npt.NDArray[np.float32]:
    """``out(x) = picture(c' + scale R (x + shift - c))`` with the centres ``c`` of the grids."""
    angle = math.radians(angle_deg)
    matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre, other = (np.array(grid) - 1) / 2, (np.array(picture.shape) - 1) / 2
    offset = other + matrix @ (np.array(shift_px) - centre)
    return ndimage.affine_transform(
        picture, matrix, offset, output_shape=grid, order=1, mode="constant", cval=outside, output=np.float32
    )


def _likeness(fixed: npt.NDArray[np.float32], moved: npt.NDArray[np.float32]) -> float:
    """Correlation of the fine detail where both pictures are."""
    both = np.isfinite(moved)
    if both.mean() < 0.3:
        return -1.0
    window = taper(fixed.shape) * both  # type: ignore[arg-type]
    filled = np.where(both, moved, np.median(moved[both])).astype(np.float32)
    a, b = prepared(fixed, window), prepared(filled, window)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
