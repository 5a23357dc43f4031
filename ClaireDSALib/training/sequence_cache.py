"""Features of prepared runs, computed once and kept in 8 bits, so that an epoch on the CPU costs the networks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.sequence_input import half_size, shrink
from ClaireDSALib.models.sequence_maps import course_features, temporal_channels
from ClaireDSALib.training.sequence_examples import SequenceExample, pack, unpack

NETWORK_PX = 160
"""Side of the temporal channels the network is trained on, that of the stored examples: a pixel is about 1.4 mm."""

_LOW, _SPAN = -0.6, 2.7
"""Temporal channels are kept in 8 bits over this range."""


@dataclass(frozen=True)
class RunFeatures:
    """One run as the two branches see it.

    Attributes
    ----------
    maps : (C, S, S) uint8 ndarray
        Temporal channels, see :func:`unpack_maps`.
    frames : (T, S/2, S/2) uint8 ndarray
        Relative opacity, packed as in :mod:`sequence_examples`.
    course : (T, F) float32 ndarray
    phases : (T,) int8 ndarray
    """

    maps: npt.NDArray[np.uint8]
    frames: npt.NDArray[np.uint8]
    course: npt.NDArray[np.float32]
    phases: npt.NDArray[np.int8]


class FeatureCache:
    """Features of every example in several versions: version 0 whole, others thinned in time; computed when asked for.

    Parameters
    ----------
    examples : sequence of SequenceExample
    versions : int
    seed : int
    size_px : int
        Side of the temporal channels.
    """

    def __init__(
        self, examples: Sequence[SequenceExample], versions: int = 1, seed: int = 0, size_px: int = NETWORK_PX
    ) -> None:
        self._examples, self._versions, self._seed, self._size_px = examples, versions, seed, size_px
        self._kept: dict[tuple[int, int], RunFeatures] = {}

    def get(self, index: int, version: int = 0) -> RunFeatures:
        """Features of ``examples[index]``; versions beyond the last start again."""
        key = (index, version % self._versions)
        if key not in self._kept:
            one = self._examples[index]
            if key[1]:
                one = thinned(one, np.random.default_rng([self._seed, *key]))
            self._kept[key] = features_of(one, self._size_px)
        return self._kept[key]


def features_of(one: SequenceExample, size_px: int = NETWORK_PX) -> RunFeatures:
    """Compute what :func:`ClaireDSALib.models.sequence_input.prepare_sequence` computes for inference."""
    stack = unpack(one.stack)
    if stack.shape[1] != size_px:
        stack = np.stack([shrink(frame, size_px) for frame in stack])
    return RunFeatures(
        maps=pack_maps(temporal_channels(stack, one.times_s)),
        frames=pack(half_size(stack)),
        course=course_features(stack, one.times_s),
        phases=one.phases,
    )


def pack_maps(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Temporal channels to 0..255."""
    return np.round(np.clip((maps - _LOW) / _SPAN, 0, 1) * 255).astype(np.uint8)


def unpack_maps(maps: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Inverse of :func:`pack_maps` to 1/255 of the range."""
    return maps.astype(np.float32) * np.float32(_SPAN / 255) + np.float32(_LOW)


def thinned(one: SequenceExample, rng: np.random.Generator) -> SequenceExample:
    """Drop some frames, sometimes a piece at an end, as runs of other rates and lengths have it."""
    keep = rng.random(len(one.times_s)) > rng.choice([0.1, 0.25, 0.45], p=[0.4, 0.4, 0.2])
    if rng.random() < 0.2:
        keep[len(keep) - int(rng.integers(1, max(2, len(keep) // 4))) :] = False
    if keep.sum() < 5:
        return one
    return replace(one, stack=one.stack[keep], times_s=one.times_s[keep], phases=one.phases[keep])
