"""The real-time path on a laptop: the light network beside the large vessel network, 512 x 512, one thread."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target

_PX = 512


def _prepare(folder: Path) -> Path:
    """Peak opacity of the phantom: dark vessels become positive opacity."""
    from Testing.benchmarks.phantom import frames

    dark = frames(8).min(0).astype(np.float32)
    step = max(1, dark.shape[0] // _PX)
    path = folder / "opacity.npy"
    np.save(path, np.log(dark.max() / np.maximum(dark, 1))[::step, ::step][:_PX, :_PX].astype(np.float32))
    return path


def light(path: Path) -> None:
    """Grade and vessels: prepared picture, network, probabilities, cleaned mask."""
    assert _model("quality").read(np.load(path)).mask().shape == (_PX, _PX)


def large(path: Path) -> None:
    """Vessels, arteries and veins of the shipped vessel bundle, the same steps."""
    assert _model("vessels").segment(np.load(path)).mask("vessel").shape == (_PX, _PX)


def light_alone(_path: Path) -> None:
    """The graph alone."""
    model = _model("quality")
    model._session.run(None, {"image": _noise(len(model.inputs))})


def large_alone(_path: Path) -> None:
    """The graph alone, once, though the bundle may run it more than once for one picture."""
    model = _model("vessels")
    model._session.run(None, {"image": _noise(len(model.inputs))})


@cache
def _noise(channels: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, channels, _PX, _PX)).astype(np.float32)


@cache
def _model(task: str) -> Any:
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.models.quality_reader import QualityReader
    from ClaireDSALib.models.vessel_segmenter import VesselSegmenter

    entry = load_catalogue(user=False).default(task)
    if entry is None:
        msg = f"no bundle for {task} is shipped, so there is nothing to measure"
        raise LookupError(msg)
    return (QualityReader if task == "quality" else VesselSegmenter)(entry.folder)


_JOB = "one 512 x 512 picture on the CPU, one thread, models warm"

BENCHMARKS = (
    Benchmark(
        "light network alone",
        f"{_JOB}: the graph alone, run once",
        _prepare,
        (
            Contender("claire-dsa, light", light_alone, ("onnxruntime",), 20),
            Contender("claire-dsa, large", large_alone, ("onnxruntime",), 10),
        ),
        (Target("seconds", "claire-dsa, large", peer_over_ours_at_least=4),),
    ),
    Benchmark(
        "light path",
        f"{_JOB}: from opacity to masks",
        _prepare,
        (
            Contender("claire-dsa, light", light, ("onnxruntime",), 12),
            Contender("claire-dsa, large", large, ("onnxruntime",), 6),
        ),
        (Target("seconds", "claire-dsa, large", peer_over_ours_at_least=4),),
    ),
)
