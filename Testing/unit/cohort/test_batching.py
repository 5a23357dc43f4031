"""Pictures of several runs go through the label network together. Tried on CPU tensors; never run on a GPU."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ClaireDSALib.cohort.batching import BatchingEngine, batching_models
from ClaireDSALib.models.engines import EngineOutputs
from ClaireDSALib.pipeline.settings import Settings


class SlowEngine:
    """Answers with the mean of each picture and counts its calls."""

    name, device = "slow", "cpu"

    def __init__(self):
        self.calls = []
        self.gate = threading.Event()

    def run(self, images):
        self.gate.wait(5)
        self.calls.append(len(images))
        if np.isnan(images).any():
            msg = "a damaged picture"
            raise RuntimeError(msg)
        means = images.mean((1, 2, 3))
        return EngineOutputs(means[:, None], means[:, None, None, None], means[:, None, None, None], means)


def test_requests_of_several_threads_share_batches_and_get_their_own_answers():
    engine = SlowEngine()
    batching = BatchingEngine(engine, largest=4, wait_s=0.2)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(batching.run, np.full((1, 1, 4, 4), k, np.float32)) for k in range(8)]
        engine.gate.set()
        assert [float(one.result(10).outlier_score[0]) for one in answers] == list(range(8))
    assert sum(engine.calls) == 8
    assert max(engine.calls) > 1
    assert max(engine.calls) <= 4


def test_an_error_reaches_everyone_in_the_batch_and_the_next_batch_goes_on():
    engine = SlowEngine()
    engine.gate.set()
    batching = BatchingEngine(engine, largest=2, wait_s=0.0)
    with pytest.raises(RuntimeError, match="damaged"):
        batching.run(np.full((1, 1, 2, 2), np.nan, np.float32))
    assert batching.run(np.ones((1, 1, 2, 2), np.float32)).outlier_score == [1.0]


def test_side_by_side_the_shipped_labels_are_the_same_as_one_by_one():
    """In torch on the CPU, where a batch is one call of the network."""
    pytest.importorskip("torch", reason="the torch engine needs torch")
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.models.classifier import load_classifier

    entry = load_catalogue(user=False).default("labels")
    if entry is None:
        pytest.skip("no label bundle is shipped")
    pictures = [np.random.default_rng(k).integers(0, 4096, (64, 64)).astype(np.uint16) for k in range(3)]
    alone = load_classifier(entry.name, device="cpu", engine="torch")
    expected = [alone.classify(picture, cam_method="none") for picture in pictures]
    alone._engine = BatchingEngine(alone._engine, largest=3, wait_s=0.5)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda picture: alone.classify(picture, cam_method="none"), pictures))
    for one, other in zip(found, expected, strict=True):
        for label, wanted in zip(one.labels, other.labels, strict=True):
            assert label.probabilities == pytest.approx(wanted.probabilities, abs=1e-4)
    assert alone._engine.sizes == [3]


def test_each_model_is_loaded_once_whichever_thread_asks_first():
    loaded = []
    models = batching_models(4)
    models.load_segmenter = lambda bundle, *, device: loaded.append(bundle) or object()
    settings = Settings()
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: models._model("vessels", "x", settings.device), range(16)))
    assert len(found) == 1
    assert loaded == ["x"]
