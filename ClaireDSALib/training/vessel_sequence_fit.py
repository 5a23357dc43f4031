"""Train a compact sequence network of CAVE's design: arteries and veins from frames one second apart; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from ClaireDSALib.models.networks.cave import CaveTemporalUNet
from ClaireDSALib.models.vessel_sequence import MAX_FRAMES
from ClaireDSALib.training.fit_best import FitSettings, fit_best
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_set import unpacked

WIDTHS, KERNEL, LAYERS = (8, 16, 32, 48, 64), 1, 2
"""Slim enough for a CPU; pointwise gates, because the recurrent cells cost most."""

SHRINK = 2
"""Frames are shown at half their size: which vessel is which needs less detail than where it ends."""

_OUTSIDE_WEIGHT = 0.1
"""Of pixels without a vessel; whether there is one is the MinIP network's part."""


@dataclass(frozen=True)
class SequenceFitSettings(FitSettings):
    """Choices of one training."""

    steps: int = 3000
    learning_rate: float = 3e-3
    average: float = 0.995
    """Decay of the running mean of the weights, which is what is validated and kept."""
    batch: int = 4
    crop_px: int = 80


@dataclass(frozen=True)
class SequencePictures:
    """One run, small: ``frames`` (N, h, w) float16 relative opacity, ``truth`` (3, h, w) vessel, artery, vein."""

    frames: npt.NDArray[np.float16]
    truth: npt.NDArray[np.bool_]
    patient: str


def small(one: VesselExample) -> SequencePictures:
    """Frames averaged down by ``SHRINK``; a pixel is vessel when any of those it stands for is.

    Raises
    ------
    ValueError
        For a run without frames.
    """
    if one.frames is None:
        msg = f"a run of patient {one.patient} has no frames; load the set with frames"
        raise ValueError(msg)
    frames = unpacked(one.frames[-MAX_FRAMES:])
    n, height, width = (side // SHRINK * SHRINK for side in (len(frames) * SHRINK, *frames.shape[1:]))
    blocks = frames[:, :height, :width].reshape(n // SHRINK, height // SHRINK, SHRINK, width // SHRINK, SHRINK)
    shape = blocks.shape[1], blocks.shape[3]
    return SequencePictures(blocks.mean((2, 4)).astype(np.float16), _any_within(one.truth, shape), one.patient)


def _any_within(truth: npt.NDArray[np.bool_], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Masks ``(3, H, W)`` at a smaller ``shape``: true where any of the pixels that it stands for is."""
    pictures = [Image.fromarray(one.astype(np.float32)).resize(shape[::-1], Image.Resampling.BOX) for one in truth]
    return np.stack([np.asarray(one) > 0 for one in pictures])


def fit_sequence(
    train: Sequence[SequencePictures],
    validation: Sequence[SequencePictures],
    settings: SequenceFitSettings,
    checkpoint: Path,
    *,
    network: CaveTemporalUNet | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> CaveTemporalUNet:
    """Train and return the network that tells arteries from veins best; an existing checkpoint is resumed.

    Parameters
    ----------
    train, validation : sequence of SequencePictures
    settings : SequenceFitSettings
    checkpoint : Path
    network : CaveTemporalUNet, optional
    report : callable
    """
    torch.manual_seed(settings.seed)
    trained = network or CaveTemporalUNet(2, KERNEL, LAYERS, WIDTHS, "batch")

    def loss_of(rng: np.random.Generator) -> Tensor:
        return _loss(trained, *_batch(train, settings, rng))

    def judge(averaged: nn.Module) -> tuple[float, str]:
        assert isinstance(averaged, CaveTemporalUNet)
        artery, vein = inside_dice(averaged, validation)
        return float(np.nanmean([artery, vein])), f"artery {artery:.3f} vein {vein:.3f}"

    fit_best(trained, loss_of, judge, settings, checkpoint, report=report)
    return trained


@torch.no_grad()
def sequence_probabilities(network: CaveTemporalUNet, frames: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(2, h, w) probabilities of artery and vein, frames ``(N, h, w)`` streamed; sides are padded to 16."""
    network.eval()
    height, width = frames.shape[1:]
    pad = [(0, -height % 16), (0, -width % 16)]
    stream = (torch.from_numpy(np.pad(np.asarray(f, np.float32), pad, mode="edge")[None, None]) for f in frames)
    return network(stream)[0, :, :height, :width].sigmoid().numpy()


def inside_dice(network: CaveTemporalUNet, runs: Sequence[SequencePictures]) -> tuple[float, float]:
    """Mean Dice of artery and vein inside the true vessels."""
    found: list[list[float]] = [[], []]
    for one in runs:
        maps = sequence_probabilities(network, one.frames) >= 0.5
        for channel in (0, 1):
            mask, truth = maps[channel] & one.truth[0], one.truth[channel + 1]
            if truth.any():
                found[channel].append(2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum()))
    return tuple(float(np.mean(f)) if f else float("nan") for f in found)  # type: ignore[return-value]


def _loss(network: CaveTemporalUNet, frames: Tensor, truths: Tensor) -> Tensor:
    logits = network.at_once(frames)
    vessel, classes = truths[:, :1], truths[:, 1:]
    weight = vessel + _OUTSIDE_WEIGHT * (1 - vessel)
    cross = functional.binary_cross_entropy_with_logits(logits, classes, weight=weight.expand_as(classes))
    cross = cross * weight.numel() / weight.sum().clamp(min=1.0)
    inside = logits.sigmoid() * vessel
    overlap = 2 * (inside * classes).sum((0, 2, 3)) + 1.0
    return cross + (1 - overlap / (inside.sum((0, 2, 3)) + classes.sum((0, 2, 3)) + 1.0)).mean()


def _batch(
    runs: Sequence[SequencePictures], settings: SequenceFitSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Frames ``(T, B, 1, s, s)`` of runs with equally many frames, and their truth ``(B, 3, s, s)``."""
    lengths = np.array([len(one.frames) for one in runs])
    like = np.flatnonzero(lengths == lengths[rng.integers(len(runs))])
    chosen = rng.choice(like, settings.batch)
    pairs = [_crop(runs[int(number)], settings.crop_px, rng) for number in chosen]
    frames = torch.from_numpy(np.stack([frames for frames, _ in pairs], 1)[:, :, None])
    return frames, torch.from_numpy(np.stack([truth for _, truth in pairs]))


def _crop(
    one: SequencePictures, size: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    places = np.argwhere(one.truth[0])
    height, width = one.truth.shape[1:]
    centre = places[rng.integers(len(places))] if len(places) else rng.integers(0, (height, width))
    top = int(np.clip(centre[0] - rng.integers(size), 0, max(height - size, 0)))
    left = int(np.clip(centre[1] - rng.integers(size), 0, max(width - size, 0)))
    frames = one.frames[:, top : top + size, left : left + size].astype(np.float32)
    truth = one.truth[:, top : top + size, left : left + size].astype(np.float32)
    if rng.random() < 0.5:
        frames, truth = frames[:, :, ::-1], truth[:, :, ::-1]
    frames = frames * rng.uniform(0.7, 1.4) + rng.normal(0, rng.uniform(0, 0.05), frames.shape)
    return np.ascontiguousarray(frames, np.float32), np.ascontiguousarray(truth)
