"""Projection and subtraction of frames in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target

N_FRAMES = 60
_frames: dict[Path, np.ndarray] = {}


def _load(path: Path) -> np.ndarray:
    """The frames, in memory from the first call on, which is not timed."""
    if path not in _frames:
        _frames[path] = np.load(path)
    return _frames[path]


def _prepare(folder: Path) -> Path:
    from Testing.benchmarks.phantom import frames

    path = folder / "frames.npy"
    np.save(path, np.concatenate([frames(), frames(N_FRAMES - 40)]))
    return path


def ours(path: Path) -> np.ndarray:
    from ClaireDSALib.dsa.projection import minip
    from ClaireDSALib.dsa.series import DsaSeries

    return minip(DsaSeries.from_array(_load(path)))


def with_numpy(path: Path) -> np.ndarray:
    return _load(path).min(0)


def with_simpleitk(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    image = _load_image(path)
    return sitk.GetArrayFromImage(sitk.MinimumProjection(image, 2))[0]


def _load_image(path: Path):
    import SimpleITK as sitk

    if path not in _images:
        _images[path] = sitk.GetImageFromArray(np.load(path))
    return _images[path]


_images: dict[Path, object] = {}


def subtract_ours(path: Path) -> np.ndarray:
    from ClaireDSALib.dsa.series import DsaSeries
    from ClaireDSALib.dsa.subtraction import MaskChoice, subtracted_minip

    return subtracted_minip(DsaSeries.from_array(_load(path)), MaskChoice((0,)))


def subtract_all_frames(path: Path) -> np.ndarray:
    """The obvious way: logarithm of everything, subtract, maximum."""
    frames = -np.log(np.maximum(_load(path), 1).astype(np.float64)).astype(np.float32)
    return (frames - frames[0]).max(0)


BENCHMARKS = (
    Benchmark(
        "MinIP in memory",
        "60 frames of 1024 x 1024 uint16",
        _prepare,
        (
            Contender("claire-dsa", ours, ("ClaireDSALib.dsa.projection",), 7),
            Contender("numpy", with_numpy, ("numpy",), 7),
            Contender("SimpleITK", with_simpleitk, ("SimpleITK",), 7),
        ),
        (Target("seconds", "numpy", peer_over_ours_at_least=1 / 1.3),),
    ),
    Benchmark(
        "subtracted MinIP in memory",
        "60 frames of 1024 x 1024 uint16, first frame as mask, logarithms",
        _prepare,
        (
            Contender("claire-dsa", subtract_ours, ("ClaireDSALib.dsa.subtraction",)),
            Contender("numpy, frame by frame", subtract_all_frames, ("numpy",), 1),
        ),
        (Target("seconds", "numpy, frame by frame", peer_over_ours_at_least=10),),
    ),
)
