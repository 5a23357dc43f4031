"""Add a trained network over the frames to a vessel bundle: weights, its two graphs, and how its maps are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from ClaireDSALib.training.vessel_scores import dice

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


def choose_artery_vein(folder: Path, validation: Sequence[VesselExample]) -> dict[str, Any]:
    """Choose calibration, thresholds and the picture's say on validation runs, inside their true vessels.

    Parameters
    ----------
    folder : Path
        A bundle to which :func:`add_artery_vein` added the network.
    validation : sequence of VesselExample
        With frames.

    Returns
    -------
    dict
        ``calibration``, ``thresholds``, ``picture_weight`` and ``dice`` of artery and vein inside the true vessels.

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
    logits = [_logit(_read(reader, one)) for one in usable]
    pictures = [segmenter.segment(one.opacity.astype(np.float32), times=one.absolute_times()).maps for one in usable]
    calibration, sequences, seen, truths = [], [], [], []
    for channel in (0, 1):
        values = [one[channel][run.truth[0]] for one, run in zip(logits, usable, strict=True)]
        truths.append([run.truth[channel + 1][run.truth[0]] for run in usable])
        slope, shift = platt(np.concatenate(values), np.concatenate(truths[-1]))
        sequences.append([1 / (1 + np.exp(-(slope * one + shift))) for one in values])
        seen.append([maps[channel + 1][run.truth[0]] for maps, run in zip(pictures, usable, strict=True)])
        calibration.append([round(slope, 4), round(shift, 4)])
    options = []
    for weight in PICTURE_WEIGHTS:
        found = [_best_threshold(*one, weight) for one in zip(sequences, seen, truths, strict=True)]
        options.append((float(np.mean([score for score, _ in found])), -weight, found))
    _, minus, found = max(options)
    thresholds = [threshold for _, threshold in found]
    chosen = {"calibration": calibration, "thresholds": thresholds, "picture_weight": abs(minus)}
    set_choices(folder, artery_vein=entry | chosen)
    return chosen | {"dice": [round(score, 4) for score, _ in found]}


def _best_threshold(sequences: Any, pictures: Any, truths: Any, weight: float) -> tuple[float, float]:
    """Best mean Dice over runs of a weighted mean of probabilities, and the threshold that gives it."""
    maps = [(1 - weight) * sequence + weight * picture for sequence, picture in zip(sequences, pictures, strict=True)]
    return max(
        (float(np.nanmean([dice(one >= t, truth) for one, truth in zip(maps, truths, strict=True)])), t)
        for t in THRESHOLDS
    )


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
