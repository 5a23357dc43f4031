"""Digital subtraction: opacity is what the contrast alone attenuates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.attenuation import DISPLAY_SPAN, AttenuationCurve, attenuation_curve
from ClaireDSALib.dsa.mask_choice import (
    MaskChoice,
    choose_mask,
    covered_frames,
    mask_frame_by_frame,
    why_no_mask,
)
from ClaireDSALib.dsa.opacity_frames import Opacity, iter_opacity
from ClaireDSALib.dsa.projection import minip, project
from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, MaskOperation

__all__ = [
    "DISPLAY_BACKGROUND",
    "DISPLAY_SPAN",
    "MaskChoice",
    "SubtractedFrames",
    "choose_mask",
    "from_display",
    "subtract",
    "subtracted_minip",
    "to_display",
    "why_no_mask",
]

DISPLAY_BACKGROUND = 0.8
"""Grey (share of white) of zero opacity in a subtracted picture, as consoles show it."""

PENUMBRA_FRACTION = 0.006
"""Width of the soft edge of a shutter, as a share of the longer side: 3 pixels of 512."""

_BACKGROUND_SAMPLES = 9
"""Frames whose values find the background level of an already subtracted run."""


@dataclass(frozen=True)
class SubtractedFrames:
    """Opacity of every frame, computed when asked for; safe to call from several threads.

    Use :func:`subtract` to make one.
    """

    series: DsaSeries
    mask: MaskChoice | None
    curve: AttenuationCurve
    references: tuple[npt.NDArray[np.float32] | float | None, ...]
    """Attenuation of the mask, one per operation of the mask (None: it changes from frame to frame)."""
    covering: tuple[int, ...]
    """(T,) number of the operation that covers a frame; -1 when none does."""
    region: npt.NDArray[np.bool_] | None = None
    """(H, W) where there is opacity: the valid region without the soft edges of its shutters; None: everywhere."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)``."""
        return self.series.frames.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    @property
    def n_frames(self) -> int:
        return self.shape[0]

    def read(self, index: int) -> Opacity:
        """Opacity of frame ``index`` (0-based); all zero where no mask operation covers the frame."""
        if self.covering[index] < 0:
            return np.zeros(self.series.shape, np.float32)
        attenuation = self.attenuation(index)
        np.subtract(attenuation, self.reference(index), out=attenuation)
        return self.inside(attenuation)

    def attenuation(self, index: int) -> npt.NDArray[np.float32]:
        """Attenuation of frame ``index`` before the mask is taken off."""
        averaging = self._operation(max(self.covering[index], 0)).contrast_frame_averaging
        return _attenuation(self.series, self.curve, index, averaging)

    def reference(self, index: int) -> npt.NDArray[np.float32]:
        """Attenuation of the mask that belongs to frame ``index``: (H, W) float32."""
        number = self.covering[index]
        fixed = self.references[number]
        if fixed is None:
            operation = self._operation(number)
            mask_frame = mask_frame_by_frame(operation, self.n_frames)[index]
            fixed = _shifted(_attenuation(self.series, self.curve, mask_frame, 1), operation.sub_pixel_shift)
        return np.broadcast_to(np.asarray(fixed, np.float32), self.shape[1:])

    def inside(self, opacity: Opacity) -> Opacity:
        """Set everything outside the region to zero, in place."""
        if self.region is not None:
            opacity[~self.region] = 0.0
        return opacity

    def __iter__(self) -> Iterator[Opacity]:
        return (self.read(index) for index in range(self.n_frames))

    def __len__(self) -> int:
        return self.n_frames

    def to_array(self) -> npt.NDArray[np.float32]:
        """Every frame: ``(T, H, W)`` float32. Costs the memory of the whole run; prefer iterating."""
        return np.stack(list(self))

    @property
    def in_memory(self) -> bool:
        """True when the stored frames lie in memory and one fixed mask is taken off every covered one."""
        return type(self.series.frames) is ArrayFrames and self.one_reference()

    def courses(self, pixels: npt.NDArray[np.intp], frames: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Opacity over time of some pixels, for frames that lie in memory.

        Parameters
        ----------
        pixels : (n,) intp ndarray
            Places in the flattened picture.
        frames : slice
            Of the frames; all unless given.

        Returns
        -------
        (T, n) float32 ndarray
            The values that :meth:`read` gives.
        """
        stored = cast("ArrayFrames", self.series.frames).array[frames]
        opacity = self.curve.of_pixels(stored.reshape(len(stored), -1)[:, pixels])
        opacity -= self._fixed_reference().reshape(-1)[pixels]
        opacity[np.array(self.covering)[frames] < 0] = 0.0
        if self.region is not None:
            opacity[:, ~self.region.reshape(-1)[pixels]] = 0.0
        return opacity

    def peak(self, indices: Sequence[int]) -> Opacity:
        """Largest opacity over some frames, when one fixed mask is taken off: the darkest stored value tells it."""
        covered = [index for index in indices if self.covering[index] >= 0]
        if not covered:
            return np.zeros(self.shape[1:], np.float32)
        darkest = minip(self.series, frames=covered)
        peak = self.inside(self.curve.of_pixels(darkest) - self._fixed_reference())
        return peak if len(covered) == len(indices) else np.maximum(peak, np.float32(0.0))

    def mean(self, indices: Sequence[int]) -> Opacity:
        """Opacity of the mean of some frames, when one fixed mask is taken off; pixels are averaged, not logarithms."""
        covered = [index for index in indices if self.covering[index] >= 0]
        if not covered:
            return np.zeros(self.shape[1:], np.float32)
        average = project(self.series, ("mean",), frames=covered)["mean"]
        mean = self.inside(self.curve(average).astype(np.float32) - self._fixed_reference())
        return mean * np.float32(len(covered) / len(indices))

    def _fixed_reference(self) -> npt.NDArray[np.float32]:
        return self.reference(next(index for index, number in enumerate(self.covering) if number >= 0))

    def one_reference(self) -> bool:
        """True when one fixed reference serves every covered frame, so that the minimum commutes with it."""
        used = {number for number in self.covering if number >= 0}
        if len(used) != 1:
            return False
        number = used.pop()
        return self.references[number] is not None and self._operation(number).contrast_frame_averaging == 1

    def _operation(self, number: int) -> MaskOperation:
        return self.mask.operations[number] if self.mask is not None else MaskOperation("NONE")


def subtract(series: DsaSeries, mask: MaskChoice | None = None) -> SubtractedFrames:
    """Subtract the mask from every frame, or the background from an already subtracted run.

    Parameters
    ----------
    series : DsaSeries
    mask : MaskChoice, optional
        Chosen by :func:`choose_mask` unless given; not used by an already subtracted run.

    Returns
    -------
    SubtractedFrames
        ``a(frame) - a(mask)`` with the attenuation curve of the run; for LIN pixels
        ``ln(mask) - ln(frame)``, the line integral of the contrast (Beer-Lambert).

    Raises
    ------
    ValueError
        When the run is unsubtracted and has no mask, or a mask frame lies outside the run.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.array([[[1000, 1000]], [[1000, 500]]], np.uint16)
    >>> opacity = subtract(DsaSeries.from_array(frames), MaskChoice((0,)))
    >>> opacity.read(1).round(3).tolist()
    [[0.0, 0.693]]
    """
    curve = attenuation_curve(series)
    if series.subtraction_state == "subtracted":
        background = float(curve(np.asarray(_background_level(series))))
        return SubtractedFrames(series, None, curve, (background,), (0,) * series.n_frames, _region(series))
    mask = mask or choose_mask(series)
    if mask is None:
        msg = (
            f"run {series.run_id} cannot be subtracted: {why_no_mask(series)}; use its plain MinIP or name a mask frame"
        )
        raise ValueError(msg)
    if max(mask.frames) >= series.n_frames:
        msg = f"mask frames must lie in 0..{series.n_frames - 1}; got {mask.frames}"
        raise ValueError(msg)
    references = tuple(_reference(series, curve, operation) for operation in mask.operations)
    return SubtractedFrames(series, mask, curve, references, _covering(mask, series.n_frames), _region(series))


def subtracted_minip(
    series: DsaSeries, mask: MaskChoice | None = None, *, frames: SubtractedFrames | None = None
) -> Opacity:
    """Peak opacity over time: ``(H, W)`` float32.

    With one fixed mask the minimum is taken on the stored integers and one logarithm follows. That is exact,
    to the last bit: attenuation falls monotonically with the stored value and subtracting a number keeps
    order, so ``max_t (a(v_t) - r) = a(min_t v_t) - r``. Masks that change over time (TID), contrast frame
    averaging and several operations take the maximum of the subtracted frames instead, one at a time.

    Parameters
    ----------
    series, mask
        As in :func:`subtract`.
    frames : SubtractedFrames, optional
        What :func:`subtract` returned for them, when it is there already.
    """
    subtracted = frames or subtract(series, mask)
    covered = [index for index, number in enumerate(subtracted.covering) if number >= 0]
    if not subtracted.one_reference():
        return _running_maximum(subtracted, covered)
    return subtracted.peak(covered)


def to_display(opacity: npt.NDArray[np.floating]) -> npt.NDArray[np.uint16]:
    """Opacity as a picture, contrast dark: uint16, one fixed scale for every run.

    ``65535 * (DISPLAY_BACKGROUND - opacity / DISPLAY_SPAN)``, rounded and clipped: zero opacity is light grey
    (52428), 2.0 and above is black, -0.5 and below is white. NaN is shown as background.
    """
    grey = DISPLAY_BACKGROUND - np.nan_to_num(np.asarray(opacity, np.float32), nan=0.0) / np.float32(DISPLAY_SPAN)
    return np.round(np.clip(grey, 0.0, 1.0) * 65535).astype(np.uint16)


def from_display(picture: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Inverse of :func:`to_display`, to half a grey step (2e-5) inside the range shown."""
    return ((DISPLAY_BACKGROUND - np.asarray(picture, np.float32) / 65535) * DISPLAY_SPAN).astype(np.float32)


def _region(series: DsaSeries) -> npt.NDArray[np.bool_] | None:
    """The logarithm of the few counts in the penumbra of a shutter is noise, so it is left out."""
    margin = round(PENUMBRA_FRACTION * max(series.shape))
    if series.valid_region is None or margin == 0:
        return series.valid_region
    return ndimage.binary_erosion(series.valid_region, iterations=margin, border_value=True)


def _attenuation(series: DsaSeries, curve: AttenuationCurve, index: int, averaging: int) -> npt.NDArray[np.float32]:
    """Attenuation of one frame, or of the mean of ``averaging`` frames from it on (PS3.3 (0028,6112))."""
    if averaging <= 1:
        frame = series.frame(index)
        return curve.of_pixels(frame)
    return curve(_mean(series, range(index, min(index + averaging, series.n_frames))))


def _reference(series: DsaSeries, curve: AttenuationCurve, operation: MaskOperation) -> npt.NDArray[np.float32] | None:
    """Attenuation of the mean mask: counts are averaged, not logarithms, which is the better estimate of a rate."""
    if operation.operation != "AVG_SUB":
        return None
    return _shifted(curve(_mean(series, operation.mask_frames)), operation.sub_pixel_shift)


def _mean(series: DsaSeries, frames: range | tuple[int, ...]) -> npt.NDArray[np.float64]:
    total = np.zeros(series.shape, np.float64)
    for index in frames:
        total += series.frame(index)
    return total / len(frames)


def _shifted(image: npt.NDArray[np.float32], shift_px: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Move a mask by the tag's shift: + row towards lower rows, + column towards the left (PS3.3 C.7.6.10.1.2)."""
    if shift_px == (0.0, 0.0):
        return image
    row, column = shift_px
    return ndimage.shift(image, (row, -column), order=1, mode="nearest", output=np.float32)


def _covering(mask: MaskChoice, n_frames: int) -> tuple[int, ...]:
    covering = [-1] * n_frames
    for number, operation in reversed(tuple(enumerate(mask.operations))):
        frames = covered_frames(operation, n_frames)
        if operation.operation != "AVG_SUB":
            frames = tuple(mask_frame_by_frame(operation, n_frames))
        for frame in frames:
            covering[frame] = number
    return tuple(covering)


def _background_level(series: DsaSeries) -> float:
    """Commonest stored value of an already subtracted run, inside its valid region."""
    picked = np.unique(np.linspace(0, series.n_frames - 1, _BACKGROUND_SAMPLES).round().astype(int))
    inside = slice(None) if series.valid_region is None else series.valid_region
    counts = np.zeros(np.iinfo(series.frames.dtype).max + 1, np.int64)
    for index in picked:
        counts += np.bincount(series.frame(int(index))[inside].ravel(), minlength=len(counts))
    width = max(1, series.max_value // 256)
    smooth = ndimage.uniform_filter1d(counts.astype(np.float64), 2 * width + 1, mode="constant")
    return float(np.argmax(smooth))


def _running_maximum(subtracted: SubtractedFrames, covered: list[int]) -> Opacity:
    if not covered:
        msg = f"the mask of run {subtracted.series.run_id} covers none of its frames; check Applicable Frame Range"
        raise ValueError(msg)
    frames = iter_opacity(subtracted, indices=covered)
    peak = next(frames)
    for opacity in frames:
        np.maximum(peak, opacity, out=peak)
    return peak
