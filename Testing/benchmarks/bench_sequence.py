"""A biplane pair, 2 x 40 frames of 1024 x 1024 in JPEG Lossless, from the files to the complete report, warm.

The naive way does the same work as published code would: pydicom's pixel array of the whole series, float32 log
subtraction, nine ResNet-18 with MONAI's Grad-CAM in eager torch, scikit-image's Frangi filter, EfficientNet-B0 with a
3 x 512 bidirectional GRU on every triplet of frames at 512 x 512, and time and perfusion maps at full size by one
product of matrices. Its networks have random weights, which cost the same time as trained ones.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.model import Benchmark, Contender, Target

_STEP_S = 0.5


def _prepare(folder: Path) -> Path:
    """Two files of one study that the reader pairs."""
    import pydicom
    from pydicom.uid import generate_uid

    from Testing.benchmarks.phantom import write

    study = generate_uid(entropy_srcs=["claire-dsa benchmark pair"])
    for number, (name, angle) in enumerate((("ap", 0.0), ("lateral", 90.0)), 1):
        path = write(folder / f"{name}.dcm", compressed=True)
        data = pydicom.dcmread(path)
        data.StudyInstanceUID = study
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, study])
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", name, study])
        data.PositionerPrimaryAngle, data.PositionerSecondaryAngle = angle, 0.0
        data.AcquisitionDate, data.AcquisitionTime = "20260101", "100000"
        data.InstanceNumber = number
        data.ImageType = ["ORIGINAL", "PRIMARY", f"BIPLANE {'AB'[number - 1]}"]
        data.save_as(path)
    return folder


def ours(folder: Path) -> None:
    """Read and analyse; every step must have answered."""
    result = _analysed(folder)
    assert len(result.report.runs) == 2
    for run in result.report.runs:
        assert not run.error
        assert run.labels
        assert run.vessels is not None
        assert {"time_to_peak", "minip", "opacity"} <= set(run.arrays)


def shares(folder: Path) -> dict[str, float]:
    """Share of each step in the time of our way, both runs together; also ``total``, in seconds."""
    import time

    _analysed(folder)
    start = time.perf_counter()
    result = _analysed(folder)
    total = time.perf_counter() - start
    steps: dict[str, float] = {}
    for run in result.report.runs:
        for name, seconds in run.timings_s.items():
            steps[name] = steps.get(name, 0.0) + seconds / total
    return {"total": total, **steps, "reading and the rest": 1.0 - sum(steps.values())}


def naive(folder: Path) -> None:
    """The same work the obvious way, one view after the other."""
    for name in ("ap", "lateral"):
        _naive_view(folder / f"{name}.dcm")


def _analysed(folder: Path) -> Any:
    from ClaireDSALib.dsa.read import read
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.settings import Settings

    found = read(folder)
    # The phantom is no head: insist, so that no step is left out because of its verdict.
    return analyze(found.series, Settings(segment_unsuitable=True), pairs=found.pairs, models=_models())


@cache
def _models() -> Any:
    from ClaireDSALib.pipeline.model_set import ModelSet

    return ModelSet()


def _naive_view(path: Path) -> None:
    import pydicom
    from skimage.filters import frangi

    frames = pydicom.dcmread(path).pixel_array.astype(np.float32)
    opacity = np.log(np.maximum(frames[:2].mean(0), 1)) - np.log(np.maximum(frames, 1))
    _nine_networks(frames.min(0))
    frangi(opacity.max(0), sigmas=(1, 2, 3, 4, 5), black_ridges=False)
    _recurrent(frames)
    _maps(opacity)


def _nine_networks(minip: np.ndarray) -> None:
    import torch

    image = torch.nn.functional.interpolate(torch.from_numpy(minip)[None, None] / 4095, size=(512, 512))
    for cam in _nine():
        cam(image.expand(-1, 3, -1, -1).contiguous())


def _recurrent(frames: np.ndarray) -> None:
    """EfficientNet-B0 on every three consecutive frames, then a GRU: the design of Mittmann et al. (IJCARS 2022)."""
    import torch

    network, gru = _sequence_network()
    small = torch.nn.functional.interpolate(torch.from_numpy(frames)[:, None], size=(512, 512), mode="bilinear")[:, 0]
    small = (small - small.mean()) / small.std()
    if len(small) % 3:
        small = torch.cat([small, small[-1:].expand(3 - len(small) % 3, -1, -1)])
    with torch.no_grad():
        features = network(small.reshape(-1, 3, 512, 512))
        gru(torch.nn.functional.leaky_relu(features)[None])


def _maps(opacity: np.ndarray) -> None:
    """Time to peak, area and arrival at full size, and perfusion by one inverse matrix on every pixel."""
    from ClaireDSALib.dsa.perfusion import volterra_matrix

    opacity.argmax(0)
    np.trapezoid(opacity, dx=_STEP_S, axis=0)
    (opacity > 0.1 * opacity.max(0)).argmax(0)
    artery = opacity[:, opacity.max(0) > 0.9 * opacity.max()].mean(1)
    inverse = np.linalg.pinv(volterra_matrix(artery), rcond=0.15)
    response = np.tensordot(inverse.astype(np.float32), opacity, axes=1)
    response.argmax(0)
    response.max(0)
    response.sum(0)


@cache
def _nine() -> tuple[Any, ...]:
    from monai.visualize import GradCAM

    from ClaireDSALib.models.networks.resnets import make_resnet

    classes = (2, 3, 2, 3, 2, 2, 2, 3, 2)
    return tuple(GradCAM(make_resnet("resnet18", n).eval(), target_layers="layer4") for n in classes)


@cache
def _sequence_network() -> tuple[Any, Any]:
    import torch
    from monai.networks.nets import EfficientNetBN

    network = EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=3, num_classes=1280)
    gru = torch.nn.GRU(1280, 512, 3, bidirectional=True, batch_first=True)
    return network.eval(), gru.eval()


BENCHMARKS = (
    Benchmark(
        "biplane pair from files to report",
        "2 x 40 frames of 1024 x 1024, JPEG Lossless: read, subtract, labels with maps, vessels, thrombus, phases, "
        "time and perfusion maps on the CPU; models warm",
        _prepare,
        (
            Contender("claire-dsa", ours, ("onnxruntime", "skimage.filters"), 2),
            Contender("the naive way", naive, ("torch", "monai.visualize", "pydicom", "skimage.filters"), 1),
        ),
        (Target("seconds", "the naive way", peer_over_ours_at_least=8),),
    ),
)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="claire-dsa-bench-") as place:
        for step, share in shares(_prepare(Path(place))).items():
            print(f"{step:24s}{share:8.3f} {'s' if step == 'total' else 'of the total'}")
