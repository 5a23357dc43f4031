"""Endless random batches, prepared on a thread while the network works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.augment import AugmentSettings, augment
from ClaireDSALib.training.samples import UNKNOWN, LabelledPictures
from ClaireDSALib.training.strange import strange_picture


@dataclass(frozen=True)
class Batch:
    """B pictures; outliers have unknown labels."""

    images: npt.NDArray[np.float32]
    """(B, C, S, S) 0 to 1"""
    targets: npt.NDArray[np.int64]
    """(B, L)"""
    is_outlier: npt.NDArray[np.bool_]
    """(B,)"""


class BatchMaker:
    """Augmented batches of training pictures and made-up outliers, in epochs without repeats.

    Parameters
    ----------
    pictures : LabelledPictures
    batch_size : int
    outlier_share : float
    seed : int
    volume : (z, y, x) float ndarray, optional
        CT volume sliced for outliers.
    """

    def __init__(
        self,
        pictures: LabelledPictures,
        batch_size: int,
        *,
        outlier_share: float = 0.0,
        seed: int = 0,
        volume: npt.NDArray[np.floating] | None = None,
        settings: AugmentSettings | None = None,
        views: Sequence[str] = ("linear",),
    ) -> None:
        self.views = tuple(views)
        self.pictures, self.batch_size = pictures, batch_size
        self.n_outliers = round(batch_size * outlier_share)
        self.volume, self.settings = volume, settings or AugmentSettings()
        self._rng = np.random.default_rng(seed)
        self._order: list[int] = []
        self.drawn = 0
        """Training pictures drawn so far."""

    def make(self, size_px: int) -> Batch:
        """Next batch at a given input size."""
        indices = [self._next() for _ in range(self.batch_size - self.n_outliers)]
        images = [self._augment(self.pictures.images[i], size_px) for i in indices]
        images += [self._augment(self._strange(), size_px) for _ in range(self.n_outliers)]
        unknown = np.full((self.n_outliers, self.pictures.targets.shape[1]), UNKNOWN, np.int64)
        return Batch(
            images=np.stack(images),
            targets=np.concatenate([self.pictures.targets[indices], unknown]),
            is_outlier=np.arange(self.batch_size) >= len(indices),
        )

    def _next(self) -> int:
        if not self._order:
            self._order = self._rng.permutation(len(self.pictures)).tolist()
        self.drawn += 1
        return self._order.pop()

    def _augment(self, image: npt.NDArray[np.uint16], size_px: int) -> npt.NDArray[np.float32]:
        return augment(image, size_px, self._rng, self.settings, self.views)

    def _strange(self) -> npt.NDArray[np.uint16]:
        cerebral = self.pictures.images[self._rng.integers(len(self.pictures))]
        return strange_picture(cerebral.shape[0], self._rng, cerebral=cerebral, volume=self.volume)


@contextmanager
def prefetched(maker: BatchMaker, size_px: int, depth: int = 3) -> Iterator[Iterator[Batch]]:
    """Batches made on a thread; the thread ends with the context.

    An error of the thread is raised where the batch is asked for.
    """
    ready: queue.Queue[Batch | Exception] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Batch | Exception) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            while not stop.is_set():
                put(maker.make(size_px))
        except Exception as error:  # noqa: BLE001 - handed to the caller, not swallowed
            put(error)

    def batches() -> Iterator[Batch]:
        while True:
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield item

    thread = threading.Thread(target=work, daemon=True, name="batches")
    thread.start()
    try:
        yield batches()
    finally:
        stop.set()
        thread.join(timeout=30)
