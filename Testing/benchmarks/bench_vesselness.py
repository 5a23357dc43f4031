"""Frangi vesselness and the classical segmentation of a 1024 x 1024 picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target


def _prepare(folder: Path) -> Path:
    from Testing.benchmarks.phantom import frames

    run = frames(20)
    path = folder / "opacity.npy"
    np.save(path, np.log(run[0].astype(np.float32)) - np.log(run.min(0).astype(np.float32)))
    return path


def ours(path: Path) -> None:
    from ClaireDSALib.dsa.vesselness import frangi

    frangi(np.load(path))


def with_skimage(path: Path) -> None:
    from skimage.filters import frangi

    from ClaireDSALib.dsa.vesselness import SIGMAS_PX

    frangi(np.load(path), sigmas=SIGMAS_PX, black_ridges=False)


def segmentation(path: Path) -> None:
    from ClaireDSALib.dsa.segmentation import segment_classical

    segment_classical(opacity=np.load(path))


BENCHMARKS = (
    Benchmark(
        "Frangi, five scales",
        "1024 x 1024; the two use different discretisations, so only times are compared",
        _prepare,
        (
            Contender("claire-dsa", ours, ("ClaireDSALib.dsa.vesselness",)),
            Contender("scikit-image", with_skimage, ("skimage.filters",), 1),
        ),
        (Target("seconds", "scikit-image", peer_over_ours_at_least=4),),
    ),
    Benchmark(
        "classical segmentation",
        "1024 x 1024, opacity to mask, centre lines and measurements",
        _prepare,
        (Contender("claire-dsa", segmentation, ("ClaireDSALib.dsa.segmentation",), 1),),
        (Target("seconds", ours_at_most=3.0),),
    ),
)
