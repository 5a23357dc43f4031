"""Frames of opacity, subtracted and perhaps motion-corrected, computed when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_stream import iter_frames
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


def iter_opacity(frames: OpacityFrames, indices: Sequence[int] | None = None) -> Iterator[Opacity]:
    """Opacity frames in order, a few being computed ahead on threads; memory stays at a few frames."""
    return cast("Iterator[Opacity]", iter_frames(cast("FrameSource", frames), indices=indices))
