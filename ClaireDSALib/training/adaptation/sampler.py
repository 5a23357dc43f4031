"""Which pictures each step sees: source, labelled target and unlabelled target, side by side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IndexArray = npt.NDArray[np.int64]


class Draw(NamedTuple):
    """Indices of one step; a part is empty when the domain has no such pictures."""

    source: IndexArray
    labelled: IndexArray
    unlabelled: IndexArray


class DomainSampler:
    """Three streams of pictures, each a fixed function of seed and step, so that a resumed training sees the same.

    Parameters
    ----------
    n_source, n_labelled, n_unlabelled : int
        Pictures per domain.
    batch_size : int
        Source pictures per step, and unlabelled target pictures.
    labelled_batch : int
        Labelled target pictures per step: few pictures are repeated, reshuffled each time all have been seen.
    source_weights : (N,) float ndarray, optional
        Chance of each source picture; without it every picture is seen once per epoch.
    seed : int
    """

    def __init__(
        self,
        n_source: int,
        n_labelled: int,
        n_unlabelled: int,
        *,
        batch_size: int,
        labelled_batch: int,
        source_weights: npt.NDArray[np.floating] | None = None,
        seed: int = 0,
    ) -> None:
        if n_source < 1:
            msg = f"there must be source pictures; got {n_source}"
            raise ValueError(msg)
        self.sizes = (n_source, n_labelled, n_unlabelled)
        self.batch_size, self.labelled_batch, self.seed = batch_size, labelled_batch, seed
        self._chance = None if source_weights is None else source_weights / source_weights.sum()

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every source picture has been seen once."""
        return max(1, math.ceil(self.sizes[0] / self.batch_size))

    def at(self, step: int) -> Draw:
        """Indices of a step, counted from zero."""
        return Draw(
            self._source(step),
            _cycled(self.sizes[1], self.labelled_batch, step, (self.seed, 1)),
            _cycled(self.sizes[2], self.batch_size, step, (self.seed, 2)),
        )

    def _source(self, step: int) -> IndexArray:
        if self._chance is None:
            return _cycled(self.sizes[0], self.batch_size, step, (self.seed, 0))
        rng = np.random.default_rng([self.seed, 3, step])
        return rng.choice(self.sizes[0], self.batch_size, p=self._chance)


def _cycled(n: int, batch: int, step: int, seed: tuple[int, int]) -> IndexArray:
    """Part ``step`` of an endless row of shuffled rounds over ``n`` pictures."""
    if n == 0:
        return np.zeros(0, np.int64)
    places = np.arange(step * batch, (step + 1) * batch)
    rounds = {r: np.random.default_rng([*seed, int(r)]).permutation(n) for r in np.unique(places // n)}
    return np.array([rounds[p // n][p % n] for p in places], np.int64)
