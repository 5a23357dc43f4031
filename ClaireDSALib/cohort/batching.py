"""Pictures of several runs through the label network in one go.

Analyses that run side by side in one process each ask for one picture; requests that come within a few
milliseconds of each other are stacked. On a GPU a batch of eight costs little more than one picture.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ClaireDSALib.models.engines import Engine, EngineOutputs, FloatArray
    from ClaireDSALib.pipeline.model_set import ModelSet

_WAIT_S = 0.004
"""So long a request waits for company."""


class BatchingEngine:
    """An engine that joins the pictures of several threads.

    Parameters
    ----------
    engine : Engine
        Does the work, always from one thread.
    largest : int
        Pictures in one batch at most, unless one request alone has more.
    wait_s : float
        How long the first request of a batch waits for others.
    """

    def __init__(self, engine: Engine, largest: int, wait_s: float = _WAIT_S) -> None:
        self.name, self.device = engine.name, engine.device
        self._engine = engine
        self._largest = largest
        self._wait_s = wait_s
        self._requests: queue.SimpleQueue[tuple[FloatArray, Future[EngineOutputs]]] = queue.SimpleQueue()
        self.sizes: list[int] = []
        """Pictures in each of the latest batches."""
        threading.Thread(target=self._serve, daemon=True, name="batches").start()

    def run(self, images: FloatArray) -> EngineOutputs:
        """Outputs of ``(B, C, S, S)`` pictures; blocks until the batch they went into is done."""
        answer: Future[EngineOutputs] = Future()
        self._requests.put((images, answer))
        return answer.result()

    def _serve(self) -> None:
        while True:
            batch = [self._requests.get()]
            until = time.monotonic() + self._wait_s
            while sum(len(images) for images, _ in batch) < self._largest:
                try:
                    batch.append(self._requests.get(timeout=max(0.0, until - time.monotonic())))
                except queue.Empty:
                    break
            self._answer(batch)

    def _answer(self, batch: list[tuple[FloatArray, Future[EngineOutputs]]]) -> None:
        try:
            outputs = self._engine.run(np.concatenate([images for images, _ in batch]))
        except Exception as error:  # noqa: BLE001 - handed to the threads that asked
            for _, answer in batch:
                answer.set_exception(error)
            return
        self.sizes = [*self.sizes[-99:], sum(len(images) for images, _ in batch)]
        first = 0
        for images, answer in batch:
            answer.set_result(_slice(outputs, first, first + len(images)))
            first += len(images)


def batching_models(largest: int) -> ModelSet:
    """Models for several analyses side by side: the label network sees their pictures together.

    Parameters
    ----------
    largest : int
        Pictures in one batch at most.
    """
    from ClaireDSALib.pipeline import model_set

    class LockedModels(model_set.ModelSet):
        """Loads each model once, whichever thread asks first."""

        _loading = threading.RLock()

        def _model(self, task: str, bundle: str, device: str) -> Any:
            with self._loading:
                return super()._model(task, bundle, device)

    return LockedModels(load_classifier=functools.partial(_load_batching, largest=largest))


def _load_batching(bundle: str, *, device: str, largest: int) -> Any:
    from ClaireDSALib.models.classifier import load_classifier

    classifier = load_classifier(bundle, device=device)
    classifier._engine = BatchingEngine(classifier._engine, largest)
    return classifier


def _slice(outputs: EngineOutputs, first: int, last: int) -> EngineOutputs:
    from ClaireDSALib.models.engines import EngineOutputs

    parts = (outputs.probabilities, outputs.cam, outputs.cam_plus_plus, outputs.outlier_score)
    return EngineOutputs(*(part[first:last] for part in parts))
