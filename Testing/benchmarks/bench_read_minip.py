"""From a file on disk to its minimum intensity projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target


def ours(path: Path) -> np.ndarray:
    from ClaireDSALib.dsa.projection import minip
    from ClaireDSALib.dsa.read import read

    return minip(read(path).series[0])


def with_simpleitk(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(sitk.MinimumProjection(image, 2))[0]


def with_pydicom(path: Path) -> np.ndarray:
    import pydicom

    return pydicom.dcmread(path).pixel_array.min(0)


def plain_file_read(path: Path) -> np.ndarray:
    """What cannot be beaten by much: read the bytes, take numpy's minimum. It knows where the pixels start."""
    from Testing.benchmarks.phantom import N_FRAMES, SIZE

    raw = path.read_bytes()
    size = N_FRAMES * SIZE * SIZE * 2
    return np.frombuffer(raw, np.uint16, offset=len(raw) - size).reshape(N_FRAMES, SIZE, SIZE).min(0)


def _jpeg_lossless(folder: Path) -> Path:
    from Testing.benchmarks.phantom import write

    return write(folder / "jpeg_lossless.dcm", compressed=True)


def _uncompressed(folder: Path) -> Path:
    from Testing.benchmarks.phantom import write

    return write(folder / "uncompressed.dcm", compressed=False)


_OURS = Contender("claire-dsa", ours, ("ClaireDSALib.dsa.read", "ClaireDSALib.dsa.projection", "imagecodecs"))
_SIMPLEITK = Contender("SimpleITK", with_simpleitk, ("SimpleITK",))

BENCHMARKS = (
    Benchmark(
        "read and MinIP, JPEG Lossless",
        "40 frames of 1024 x 1024, 12 bits, from disk to the minimum over time",
        _jpeg_lossless,
        (_OURS, _SIMPLEITK, Contender("pydicom with gdcm", with_pydicom, ("pydicom", "gdcm"))),
        (
            Target("seconds", "SimpleITK", peer_over_ours_at_least=5),
            Target("seconds", "pydicom with gdcm", peer_over_ours_at_least=4),
            Target("peak_mib", "SimpleITK", peer_over_ours_at_least=4),
        ),
    ),
    Benchmark(
        "read and MinIP, uncompressed",
        "the same run without compression",
        _uncompressed,
        (
            _OURS,
            Contender("plain read and numpy", plain_file_read, ("numpy",)),
            _SIMPLEITK,
            Contender("pydicom", with_pydicom, ("pydicom",)),
        ),
        (Target("seconds", "plain read and numpy", peer_over_ours_at_least=0.5),),
    ),
)
