"""Motion between mask and frames, corrected where that measurably helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.area_mean import area_mean
from ClaireDSALib.dsa.displacement import Displacement, Rigid, resample
from ClaireDSALib.dsa.frame_memory import LIMIT_BYTES
from ClaireDSALib.dsa.opacity_frames import Opacity, OpacityArray, iter_opacity
from ClaireDSALib.dsa.phase_correlation import Aligner, align_to, prepared, wide_blur
from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.dsa.subtraction import MaskChoice, SubtractedFrames, subtract

Method = Literal["auto", "translation", "rigid", "bspline"]

METHODS: tuple[Method, ...] = ("auto", "translation", "rigid", "bspline")

WORK_PX = 400
"""Motion is estimated on frames averaged down below this size, to a few hundredths of a pixel there."""

LARGEST_SHIFT_FRACTION = 0.06
"""Of the longer side; a patient who moved more has left the mask behind for good."""

SMALLEST_GAIN = 0.05
"""A frame is corrected when that takes away at least this share of its motion residual."""

CLEAR_GAIN = 0.15
SMALLEST_MEAN_GAIN = 0.02
"""A run is corrected when one frame gains clearly (one bad frame spoils a MinIP), or the frames do on average."""

SMALLEST_SHIFT_PX = 0.05
"""Work pixels; less is noise of the estimate."""

_RIGID_ADVANTAGE = 0.03
"""Rotation is taken along only when it gains this much more than translation alone."""

SHUTTER_MARGIN = 0.01
"""Of the longer side: how far the soft edge of a shutter reaches into the picture."""

_STEADY = 0.99

_BLOCKS = 3
"""Blocks per side from whose shifts a rotation is fitted."""

_LOOKS = 3
"""The motion is estimated, the frame moved back, what is left estimated, and so once more."""

_ROBUST_SCALES_PX = (16.0, 8.0, 4.0, 2.0, 1.0, 1.0, 1.0)
"""A block that disagrees by this much counts a quarter; strict at the end only, or it would never begin to turn."""

_NOISE_BLUR_PX = 1.5
"""Blur before the residual is measured, so that the smoothing of an interpolation is not taken for success."""

_BACKGROUND_BLUR_PX = 10.0
"""What is wider than this is blush, exposure and scatter, not a displaced edge."""


@dataclass(frozen=True)
class CorrectedFrames:
    """Opacity of every frame after motion correction, computed when asked for."""

    subtracted: SubtractedFrames
    displacements: tuple[Displacement | None, ...]
    steady: npt.NDArray[np.float32]
    """(H, W) 1 inside the picture, 0 near its border and its shutters, whose soft edges do not move along."""
    array: npt.NDArray[np.float32] | None = None
    """(T, H, W) the moved frames, once :meth:`held` has computed them."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)``."""
        return self.subtracted.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    @property
    def n_frames(self) -> int:
        return self.shape[0]

    def read(self, index: int) -> Opacity:
        """Opacity of frame ``index`` (0-based), moved back onto the mask."""
        if self.array is not None:
            return self.array[index]
        displacement = self.displacements[index]
        if displacement is None or self.subtracted.covering[index] < 0:
            return self.subtracted.read(index)
        reference = self.subtracted.reference(index)
        frame = _without_shutters(self.subtracted, self.subtracted.attenuation(index), reference)
        opacity = resample(frame, displacement) - reference
        opacity[resample(self.steady, displacement) < _STEADY] = 0.0
        return self.subtracted.inside(opacity)

    def held(self, limit_bytes: int = LIMIT_BYTES) -> CorrectedFrames:
        """The same with its frames computed once and kept, read-only, when they fit into ``limit_bytes``."""
        if self.array is not None or int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize > limit_bytes:
            return self
        array = np.empty(self.shape, np.float32)
        for index, opacity in enumerate(iter_opacity(self)):
            array[index] = opacity
        array.flags.writeable = False
        return replace(self, array=array)

    @property
    def in_memory(self) -> bool:
        """True once the moved frames are kept."""
        return self.array is not None

    def courses(self, pixels: npt.NDArray[np.intp], frames: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Opacity over time ``(T, n)`` of n pixels, given by their place in the flattened picture."""
        return self._kept().courses(pixels, frames)

    def peak(self, indices: Sequence[int]) -> Opacity:
        """Largest opacity ``(H, W)`` over some frames."""
        return self._kept().peak(indices)

    def _kept(self) -> OpacityArray:
        if self.array is None:
            msg = "single pixels of moved frames can be had once they are held; call held() first"
            raise ValueError(msg)
        return OpacityArray(self.array)

    def __iter__(self) -> Iterator[Opacity]:
        return (self.read(index) for index in range(self.n_frames))

    def __len__(self) -> int:
        return self.n_frames

    def to_array(self) -> npt.NDArray[np.float32]:
        """Every frame: ``(T, H, W)`` float32. Costs the memory of the whole run; prefer iterating."""
        return np.stack(list(self))


@dataclass(frozen=True)
class MotionCorrection:
    """Outcome of a motion correction.

    Parameters
    ----------
    frames : SubtractedFrames or CorrectedFrames
        Opacity, corrected where ``applied``.
    shifts : (T, 2) float32 ndarray
        (row, column) displacement of each frame's content against the mask, in pixels; zero where left alone.
        Of a rotation or deformation: the displacement of the centre, or the mean.
    angles_deg : (T,) float32 ndarray
        Rotation of each frame, positive from the row axis towards the column axis.
    gain : (T,) float32 ndarray
        Share of the motion residual that the correction takes away, 0 where the frame was left alone.
    applied : bool
        False when no frame gained enough; the frames are then the uncorrected ones.
    method : str
        ``translation``, ``rigid``, ``bspline``, or ``none`` when not applied.
    reason : str
        Why it was not applied, in words.
    """

    frames: SubtractedFrames | CorrectedFrames
    shifts: npt.NDArray[np.float32]
    gain: npt.NDArray[np.float32]
    applied: bool
    method: str
    angles_deg: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    reason: str = ""


def correct_motion(
    series: DsaSeries | SubtractedFrames, mask: MaskChoice | None = None, *, method: Method = "auto"
) -> MotionCorrection:
    """Move every frame back onto the mask, where that helps.

    Parameters
    ----------
    series : DsaSeries, or what :func:`~ClaireDSALib.dsa.subtraction.subtract` made of it
    mask : MaskChoice, optional
        As in :func:`~ClaireDSALib.dsa.subtraction.subtract`.
    method : {"auto", "translation", "rigid", "bspline"}
        ``auto``: translation, and rotation where it gains more. ``bspline``: a smooth deformation on top of the
        rigid motion (SimpleITK), about a second per frame.

    Returns
    -------
    MotionCorrection

    Raises
    ------
    ValueError
        For an unknown method, or when the run cannot be subtracted.

    Notes
    -----
    Shifts come from phase correlation with the mask. The criterion is the motion residual: the root mean
    square of the negative part of the blurred, background-free difference. Contrast only darkens, so it hardly
    enters; a displaced edge leaves a bright and a dark line, and the bright one counts.
    """
    if method not in METHODS:
        msg = f"method must be one of {METHODS}; got {method!r}"
        raise ValueError(msg)
    subtracted = series if isinstance(series, SubtractedFrames) else subtract(series, mask)
    if subtracted.series.subtraction_state == "subtracted":
        return _left_out(subtracted, "the run is already subtracted, so its mask cannot be moved")
    if not subtracted.one_reference():
        return _left_out(subtracted, "the mask changes from frame to frame")
    work = _WorkScale(subtracted)
    estimates = _ESTIMATES[method](work)
    moved = {name: work.judged(found) for name, found in estimates.items()}
    name, displacements, gain = _best(moved)
    if gain.max(initial=0) < CLEAR_GAIN and gain.mean() < SMALLEST_MEAN_GAIN:
        return _left_out(subtracted, "no frame gained enough")
    scaled = tuple(d.scaled(work.factor, subtracted.shape[1:]) if d else None for d in displacements)
    shifts = np.array([d.mean_px() if d else (0.0, 0.0) for d in scaled], np.float32)
    angles = np.array([d.angle_deg() if d else 0.0 for d in scaled], np.float32)
    return MotionCorrection(CorrectedFrames(subtracted, scaled, _steady(subtracted)), shifts, gain, True, name, angles)


Estimate = list[Displacement | None]


class _WorkScale:
    """Mask and frames averaged down to the size at which motion is estimated, shutters filled in smoothly."""

    def __init__(self, subtracted: SubtractedFrames) -> None:
        self.subtracted = subtracted
        self.factor = max(1, -(-max(subtracted.shape[1:]) // WORK_PX))
        reference = area_mean(_reference(subtracted), self.factor)
        self.inside = _work_region(subtracted.series.valid_region, self.factor, reference.shape)
        self._fill = _extrapolated(reference, self.inside)
        self.reference = np.where(self.inside, reference, self._fill)
        self.largest_px = LARGEST_SHIFT_FRACTION * max(self.reference.shape)

    def frame(self, index: int) -> npt.NDArray[np.float32] | None:
        """Work-scale attenuation of a frame; None when the mask does not cover it."""
        if self.subtracted.covering[index] < 0:
            return None
        return np.where(self.inside, area_mean(self.subtracted.attenuation(index), self.factor), self._fill)

    def estimate(self, estimator: Callable[[npt.NDArray[np.float32], int], Rigid]) -> Estimate:
        frames = enumerate(map(self.frame, range(self.subtracted.n_frames)))
        return [None if frame is None else estimator(frame, index) for index, frame in frames]

    def judged(self, found: Estimate) -> tuple[Estimate, npt.NDArray[np.float32]]:
        """Keep the displacements that help; the gain of each frame."""
        gain = np.zeros(len(found), np.float32)
        for index, displacement in enumerate(found):
            if displacement is not None and displacement.largest_px() >= SMALLEST_SHIFT_PX:
                gain[index] = self._gain(index, displacement)
        gain[gain < SMALLEST_GAIN] = 0.0
        return [displacement if share else None for displacement, share in zip(found, gain, strict=True)], gain

    def _gain(self, index: int, displacement: Displacement) -> float:
        """Share of the motion residual that moving the frame back takes away."""
        frame = self.frame(index)
        if frame is None:
            return 0.0
        seen = resample(_framed(self.inside), displacement) > _STEADY
        before = self._residual(frame, seen)
        return 1.0 - self._residual(resample(frame, displacement), seen) / before if before > 0 else 0.0

    def _residual(self, frame: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> float:
        """Root mean square of the bright lines that displaced edges leave in the difference."""
        difference = frame - self.reference
        detail = ndimage.gaussian_filter(difference, _NOISE_BLUR_PX) - wide_blur(difference, _BACKGROUND_BLUR_PX)
        bright = np.minimum(detail[self.inside & seen], 0.0)
        return float(np.sqrt(np.mean(np.square(bright, dtype=np.float64)))) if bright.size else 0.0


def _work_region(region: npt.NDArray[np.bool_] | None, factor: int, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    if region is None:
        return np.ones(shape, bool)
    margin = max(1, round(SHUTTER_MARGIN * max(shape)))
    return ndimage.binary_erosion(area_mean(region, factor) >= 1.0, iterations=margin, border_value=True)


def _extrapolated(picture: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """What lies inside, continued smoothly to the outside, so that a shutter's edge is no structure."""
    if inside.all() or not inside.any():
        return picture
    middle = np.float32(np.median(picture[inside]))
    share = wide_blur(inside.astype(np.float32), _BACKGROUND_BLUR_PX)
    blurred = wide_blur(np.where(inside, picture - middle, 0).astype(np.float32), _BACKGROUND_BLUR_PX)
    return middle + np.where(share > 1e-3, blurred / np.maximum(share, 1e-3), 0).astype(np.float32)


def _framed(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """1 inside, 0 outside and in the outermost row and column, which stand for everything beyond."""
    framed = inside.astype(np.float32)
    framed[[0, -1]] = framed[:, [0, -1]] = 0
    return framed


def _translations(work: _WorkScale) -> dict[str, Estimate]:
    aligner = align_to(work.reference, work.inside, largest_px=work.largest_px)
    return {"translation": work.estimate(lambda frame, _: _fit_shift(frame, aligner))}


def _rigid(work: _WorkScale, start: Estimate | None = None) -> dict[str, Estimate]:
    begin = start or _translations(work)["translation"]
    blocks = align_to(_blocks(work.reference), _blocks(work.inside), largest_px=work.largest_px)
    detail = np.sqrt(np.mean(np.square(prepared(_blocks(work.reference), blocks.window)), axis=(1, 2)))
    return {"rigid": work.estimate(lambda frame, index: _fit_rigid(frame, begin[index], blocks, detail))}


def _auto(work: _WorkScale) -> dict[str, Estimate]:
    translations = _translations(work)
    return translations | _rigid(work, translations["translation"])


def _bspline(work: _WorkScale) -> dict[str, Estimate]:
    from ClaireDSALib.dsa.motion_bspline import BsplineRegistration

    rigid, _ = work.judged(_rigid(work)["rigid"])
    registration = BsplineRegistration(work.reference, work.inside)
    found: Estimate = []
    for index, start in enumerate(rigid):
        frame = work.frame(index)
        found.append(None if frame is None else registration.register(frame, start))
    return {"rigid": rigid, "bspline": found}


_ESTIMATES: dict[str, Callable[[_WorkScale], dict[str, Estimate]]] = {
    "auto": _auto,
    "translation": _translations,
    "rigid": _rigid,
    "bspline": _bspline,
}


def _best(
    moved: dict[str, tuple[Estimate, npt.NDArray[np.float32]]],
) -> tuple[str, Estimate, npt.NDArray[np.float32]]:
    """The simplest kind of motion, unless a richer one gains clearly more where the frames moved."""
    names = list(moved)
    best = names[0]
    for name in names[1:]:
        moving = (moved[best][1] > 0) | (moved[name][1] > 0)
        if moving.any() and np.mean(moved[name][1][moving] - moved[best][1][moving]) > _RIGID_ADVANTAGE:
            best = name
    return best, *moved[best]


def _fit_shift(frame: npt.NDArray[np.float32], aligner: Aligner) -> Rigid:
    """Shift of a frame; each further look, at the frame moved back, corrects the ones before."""
    shift = np.zeros(2)
    for _ in range(_LOOKS):
        shift = (
            shift + aligner.shift_of(resample(frame, Rigid((float(shift[0]), float(shift[1])), 0.0, frame.shape)))[0]
        )
    return Rigid((float(shift[0]), float(shift[1])), 0.0, frame.shape)


def _fit_rigid(
    frame: npt.NDArray[np.float32], start: Displacement | None, blocks: Aligner, detail: npt.NDArray[np.float64]
) -> Rigid:
    """Rotation and shift of a frame from the shifts of its blocks, looking again at the frame moved back."""
    motion = Rigid(start.mean_px() if start else (0.0, 0.0), 0.0, frame.shape)
    for _ in range(_LOOKS):
        shifts, quality = blocks.shift_of(_blocks(resample(frame, motion)))
        (row, column), angle_deg = _rigid_of_blocks(shifts, quality**2 * detail, frame.shape)
        turn = math.radians(angle_deg)
        start_row, start_column = motion.shift_px
        motion = Rigid(
            (start_row + row - turn * start_column, start_column + column + turn * start_row),
            motion.rotation_deg + angle_deg,
            frame.shape,
        )
    return motion


def _rigid_of_blocks(
    shifts: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[float, float], float]:
    """Shift and small rotation that explain the blocks, robust against those where contrast moves."""
    centres = _block_centres(shape)
    design = np.zeros((2 * len(centres), 3))
    design[0::2, 0] = design[1::2, 1] = 1.0
    design[0::2, 2], design[1::2, 2] = -centres[:, 1], centres[:, 0]  # displacement per radian
    target = shifts.ravel()
    solution: npt.NDArray[np.floating] = np.zeros(3)
    for scale_px in _ROBUST_SCALES_PX:
        residual = np.asarray(target - design @ solution)
        size = np.hypot(residual[0::2], residual[1::2])
        robust = weight / (1.0 + (size / scale_px) ** 2) ** 2  # Geman and McClure
        root = np.sqrt(np.repeat(robust, 2))[:, None]
        solution = np.linalg.lstsq(design * root, target * root[:, 0], rcond=None)[0]
    return (float(solution[0]), float(solution[1])), float(np.rad2deg(solution[2]))


def _blocks(image: npt.NDArray) -> npt.NDArray:
    """(h, w) -> (blocks, h / 3, w / 3), cut to whole blocks."""
    h, w = image.shape[0] // _BLOCKS, image.shape[1] // _BLOCKS
    cut = image[: h * _BLOCKS, : w * _BLOCKS].reshape(_BLOCKS, h, _BLOCKS, w)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1, h, w)


def _block_centres(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """(blocks, 2) row and column of each block's centre from the centre of the picture."""
    h, w = shape[0] // _BLOCKS, shape[1] // _BLOCKS
    rows = (np.arange(_BLOCKS) + 0.5) * h - 0.5 - (shape[0] - 1) / 2
    columns = (np.arange(_BLOCKS) + 0.5) * w - 0.5 - (shape[1] - 1) / 2
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _reference(subtracted: SubtractedFrames) -> npt.NDArray[np.float32]:
    """The one mask; see :meth:`SubtractedFrames.one_reference`."""
    return subtracted.reference(next(i for i, number in enumerate(subtracted.covering) if number >= 0))


def _steady(subtracted: SubtractedFrames) -> npt.NDArray[np.float32]:
    shape = subtracted.shape[1:]
    return _framed(_work_region(subtracted.series.valid_region, 1, shape))


def _without_shutters(
    subtracted: SubtractedFrames, frame: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Put the mask where there is no picture, so that moving a frame drags no shutter into it."""
    region = subtracted.series.valid_region
    return frame if region is None else np.where(region, frame, reference)


def _left_out(subtracted: SubtractedFrames, reason: str) -> MotionCorrection:
    n = subtracted.n_frames
    zero = np.zeros(n, np.float32)
    return MotionCorrection(subtracted, np.zeros((n, 2), np.float32), zero, False, "none", zero, reason)
