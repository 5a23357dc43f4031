"""Frames of opacity, subtracted and perhaps motion-corrected, computed when asked for.

Frames that lie in memory can also be asked for some of their pixels; what needs only those, or only the largest
opacity over time, is then many times cheaper and the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import iter_frames
from ClaireDSALib.dsa.projection import picked
from ClaireDSALib.dsa.series import FrameSource

Opacity = npt.NDArray[np.float32]
"""(H, W) float32 log attenuation by contrast, positive where contrast is; 0 outside the valid region."""


class OpacityFrames(Protocol):
    """What :func:`~ClaireDSALib.dsa.subtraction.subtract` and the motion correction return."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, W)``."""

    @property
    def dtype(self) -> np.dtype:
        """float32."""

    def read(self, index: int) -> Opacity:
        """Opacity of frame ``index`` (0-based); safe to call from several threads."""


@dataclass(frozen=True)
class OpacityArray:
    """Opacity frames that already lie in memory: ``(T, H, W)`` of any real type."""

    array: npt.NDArray[np.floating]

    @property
    def shape(self) -> tuple[int, int, int]:
        t, h, w = self.array.shape
        return t, h, w

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def read(self, index: int) -> Opacity:
        return np.asarray(self.array[index], np.float32)

    @property
    def in_memory(self) -> bool:
        return True

    def courses(self, pixels: npt.NDArray[np.intp], frames: slice = slice(None)) -> npt.NDArray[np.float32]:
        return np.asarray(self.array[frames].reshape(-1, self.array[0].size)[:, pixels], np.float32)

    def peak(self, indices: Sequence[int]) -> Opacity:
        return np.asarray(picked(self.array, indices).max(axis=0), np.float32)

    def mean(self, indices: Sequence[int]) -> Opacity:
        return np.asarray(picked(self.array, indices).mean(axis=0, dtype=np.float32), np.float32)


@runtime_checkable
class PixelFrames(OpacityFrames, Protocol):
    """Opacity frames that may lie in memory; the last three methods only mean anything where ``in_memory`` is true."""

    @property
    def in_memory(self) -> bool:
        """True when every value can be had without decoding or moving a frame."""

    def courses(self, pixels: npt.NDArray[np.intp], frames: slice = slice(None)) -> npt.NDArray[np.float32]:
        """Opacity over time ``(T, n)`` of n pixels, given by their place in the flattened picture."""

    def peak(self, indices: Sequence[int]) -> Opacity:
        """Largest opacity ``(H, W)`` over some frames, at least one."""

    def mean(self, indices: Sequence[int]) -> Opacity:
        """Opacity ``(H, W)`` of the mean of some frames, at least one."""


def held(frames: OpacityFrames) -> PixelFrames | None:
    """The frames, when they lie in memory; None when they have to be computed one by one."""
    return frames if isinstance(frames, PixelFrames) and frames.in_memory else None


def peak_opacity(frames: OpacityFrames, indices: Sequence[int] | None = None) -> Opacity:
    """Largest opacity over time: ``(H, W)`` float32, with memory for a few frames.

    Parameters
    ----------
    frames : OpacityFrames
    indices : sequence of int, optional
        0-based frames; every frame unless given.

    Raises
    ------
    ValueError
        When no frame is asked for.
    """
    chosen = range(frames.shape[0]) if indices is None else indices
    if not len(chosen):
        msg = "a peak opacity needs at least one frame; got none"
        raise ValueError(msg)
    if (there := held(frames)) is not None:
        return there.peak(chosen)
    stream = iter_opacity(frames, indices=chosen)
    peak = next(stream)
    for opacity in stream:
        peak = np.maximum(peak, opacity)
    return peak


def iter_opacity(frames: OpacityFrames, indices: Sequence[int] | None = None) -> Iterator[Opacity]:
    """Opacity frames in order, a few being computed ahead on threads; memory stays at a few frames."""
    return cast("Iterator[Opacity]", iter_frames(cast("FrameSource", frames), indices=indices))
