"""Add a trained network over the frames to a vessel bundle: weights, its two graphs, and how its maps are read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ClaireDSALib.models.artery_vein import SCALES, ArteryVeinReader
from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.networks.cave import RECURRENT, CaveTemporalUNet
from ClaireDSALib.models.onnx_export import export_traced
from ClaireDSALib.models.onnx_shared import share_weights
from ClaireDSALib.models.vessel_input import strongest_opacity
from ClaireDSALib.models.vessel_segmenter import VesselSegmenter
from ClaireDSALib.models.weights import save_weights
from ClaireDSALib.training.vessel_bundle import set_choices
from ClaireDSALib.training.vessel_choices import THRESHOLDS, platt
from ClaireDSALib.training.vessel_examples import VesselExample

STEP_FILE, DECODE_FILE = "models/artery_vein_step.onnx", "models/artery_vein_decode.onnx"
WEIGHTS_FILE = "models/artery_vein.safetensors"

PICTURE_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
"""Say of the picture's network about which vessel is which; one is chosen on validation runs."""


def add_artery_vein(network: CaveTemporalUNet, folder: Path, size_px: int) -> None:
    """Write the network into a vessel bundle and say so in its metadata.

    Parameters
    ----------
    network : CaveTemporalUNet
        Two classes, artery and vein; rounded in place to the stored precision.
    folder : Path
        A vessel bundle.
    size_px : int
        Longer side of the frames that the network sees.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    export_step(network, folder / STEP_FILE)
    export_decode(network, folder / DECODE_FILE)
    for graph in (STEP_FILE, DECODE_FILE):
        share_weights(folder / graph, folder / WEIGHTS_FILE)
    layers, kernel = network.depth
    arguments = {"n_classes": 2, "kernel_size": kernel, "num_layers": layers, "widths": list(network.widths)}
    entry = {
        "step": STEP_FILE,
        "decode": DECODE_FILE,
        "weights": WEIGHTS_FILE,
        "size_px": size_px,
        "calibration": [[1.0, 0.0]] * 2,
        "thresholds": [0.5, 0.5],
        "picture_weight": 0.0,
        "network": {"type": "CaveTemporalUNet", "arguments": arguments | {"norm": network.norm}},
    }
    set_choices(folder, artery_vein=entry)


def keep_artery_vein(entry: Mapping[str, Any], source: Path, folder: Path) -> None:
    """Take the network over the frames of the vessel bundle ``source``, whose ``entry`` it is, into another."""
    if source.resolve() != folder.resolve():
        for name in ("step", "decode", "weights"):
            shutil.copyfile(source / entry[name], folder / entry[name])
    set_choices(folder, artery_vein=entry)


def choose_artery_vein(folder: Path, validation: Sequence[VesselExample]) -> dict[str, Any]:
    """Choose calibration, thresholds and the picture's say on validation runs, inside the vessels that are found.

    Parameters
    ----------
    folder : Path
        A bundle to which :func:`add_artery_vein` added the network, with its other choices made.
    validation : sequence of VesselExample
        With frames.

    Returns
    -------
    dict
        ``calibration``, ``thresholds``, ``picture_weight`` and ``dice`` of artery and vein.

    Raises
    ------
    ValueError
        When no run has frames and vessels.
    """
    usable = [one for one in validation if one.frames is not None and one.truth[0].any()]
    if not usable:
        msg = "thresholds of arteries and veins need validation runs with frames and vessels; there is none"
        raise ValueError(msg)
    entry = dict(read_metadata(folder)["vessels"]["artery_vein"]) | {"calibration": [[1.0, 0.0]] * 2}
    reader, segmenter = ArteryVeinReader(folder, entry), VesselSegmenter(folder)
    runs = [_inside(reader, segmenter, one) for one in usable]
    calibration = [_calibrate(runs, channel) for channel in (0, 1)]
    options = []
    for weight in PICTURE_WEIGHTS:
        found = [_best_threshold(runs, channel, calibration[channel], weight) for channel in (0, 1)]
        options.append((float(np.mean([score for score, _ in found])), -weight, found))
    _, minus, found = max(options)
    chosen = {
        "calibration": [[round(value, 4) for value in one] for one in calibration],
        "thresholds": [threshold for _, threshold in found],
        "picture_weight": abs(minus),
    }
    set_choices(folder, artery_vein=entry | chosen)
    return chosen | {"dice": [round(score, 4) for score, _ in found]}


class _Inside(NamedTuple):
    """One run in the N pixels that the bundle calls vessel; ``total`` counts all true ones of artery and vein."""

    logits: npt.NDArray[np.float64]
    """(2, N) of the network over the frames."""
    picture: npt.NDArray[np.float32]
    """(2, N) probabilities of the picture's network."""
    truth: npt.NDArray[np.bool_]
    """(2, N)."""
    total: tuple[int, int]


def _inside(reader: ArteryVeinReader, segmenter: VesselSegmenter, one: VesselExample) -> _Inside:
    found = segmenter.segment(one.opacity.astype(np.float32), one.region, times=one.absolute_times())
    vessels = found.mask("vessel")
    truth = one.truth[1:]
    total = (int(truth[0].sum()), int(truth[1].sum()))
    return _Inside(_logit(_read(reader, one))[:, vessels], found.maps[1:, vessels], truth[:, vessels], total)


def _calibrate(runs: Sequence[_Inside], channel: int) -> tuple[float, float]:
    return platt(
        np.concatenate([one.logits[channel] for one in runs]), np.concatenate([one.truth[channel] for one in runs])
    )


def _best_threshold(
    runs: Sequence[_Inside], channel: int, calibration: tuple[float, float], weight: float
) -> tuple[float, float]:
    """Best mean Dice over the runs that have the class, and the threshold that gives it; the lower one of equals."""
    slope, shift = calibration
    shown = [one for one in runs if one.total[channel]]
    maps = [
        (1 - weight) / (1 + np.exp(-(slope * one.logits[channel] + shift))) + weight * one.picture[channel]
        for one in shown
    ]

    def mean_dice(threshold: float) -> float:
        scores = []
        for one, values in zip(shown, maps, strict=True):
            found = values >= threshold
            both = float((found & one.truth[channel]).sum())
            scores.append(2 * both / (float(found.sum()) + one.total[channel]))
        return float(np.mean(scores)) if scores else 0.0

    score, minus = max((mean_dice(threshold), -threshold) for threshold in THRESHOLDS)
    return score, -minus


def export_step(network: CaveTemporalUNet, path: Path) -> None:
    """Write the graph from a frame ``image (1, 1, h, w)`` and the states to the next states; h, w divisible by 16."""
    image = torch.zeros(1, 1, 64, 64)
    layers = network.depth[0]
    at_rest = [torch.zeros_like(f) for f in network.eval().encode(image) for _ in range(layers)]
    names = [f"before_{k}" for k in range(len(at_rest))]
    after = [f"after_{k}" for k in range(len(at_rest))]
    sizes = {"image": _axes("0")}
    sizes |= {name: _axes(str(k // layers)) for some in (names, after) for k, name in enumerate(some)}
    export_traced(_Step(network), path, [image, *at_rest], inputs=["image", *names], outputs=after, dynamic_axes=sizes)


def export_decode(network: CaveTemporalUNet, path: Path) -> None:
    """Write the graph from the last states of the scales ``state_0`` to ``state_4`` to ``logits (1, 2, h, w)``."""
    features = network.eval().encode(torch.zeros(1, 1, 64, 64))
    names = [f"state_{k}" for k in range(SCALES)]
    sizes = {name: _axes(str(k)) for k, name in enumerate(names)} | {"logits": _axes("0")}
    export_traced(_Decode(network), path, features, inputs=names, outputs=["logits"], dynamic_axes=sizes)


class _Step(nn.Module):
    def __init__(self, network: CaveTemporalUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        layers = len(before) // SCALES
        after: list[Tensor] = []
        for k, (name, feature) in enumerate(zip(RECURRENT, self.network.encode(image), strict=True)):
            after += getattr(self.network, name)(feature, list(before[k * layers : (k + 1) * layers]))
        return tuple(after)


class _Decode(nn.Module):
    def __init__(self, network: CaveTemporalUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, *last: Tensor) -> Tensor:
        return self.network.decode(list(last))


def _read(reader: ArteryVeinReader, one: VesselExample) -> npt.NDArray[np.float32]:
    frames, opacity = one.absolute_frames(), one.opacity.astype(np.float32)
    assert frames is not None
    return reader.read(frames, strongest_opacity(opacity), opacity.shape)


def _axes(scale: str) -> dict[int, str]:
    return {2: f"height_{scale}", 3: f"width_{scale}"}


def _logit(maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    clipped = np.clip(maps.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))
