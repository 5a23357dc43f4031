"""Train a compact sequence network of CAVE's design: arteries and veins from frames one second apart; resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ClaireDSALib.models.networks.cave import CaveTemporalUNet
from ClaireDSALib.models.vessel_sequence import MAX_FRAMES
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_set import unpacked
from ClaireDSALib.training.weight_average import running_mean

WIDTHS, KERNEL, LAYERS = (8, 16, 32, 48, 64), 1, 2
"""Slim enough for a CPU; pointwise gates, because the recurrent cells cost most."""

SHRINK = 2
"""Frames are shown at half their size: which vessel is which needs less detail than where it ends."""

_OUTSIDE_WEIGHT = 0.1
"""Of pixels without a vessel; whether there is one is the MinIP network's part."""


@dataclass(frozen=True)
class SequenceFitSettings:
    """Choices of one training."""

    steps: int = 3000
    batch: int = 4
    crop_px: int = 80
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    average: float = 0.995
    """Decay of the running mean of the weights, which is what is validated and kept."""
    validate_every: int = 200
    seed: int = 0
    budget_s: float = float("inf")


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
    more: Callable[[], Sequence[SequencePictures]] = lambda: (),
) -> CaveTemporalUNet:
    """Train and return the network that tells arteries from veins best; an existing checkpoint is resumed.

    Parameters
    ----------
    train, validation : sequence of SequencePictures
    settings : SequenceFitSettings
    checkpoint : Path
    network : CaveTemporalUNet, optional
    report : callable
    more : callable
        Asked after each validation for runs that have come since.
    """
    torch.manual_seed(settings.seed)
    train = list(train)
    network = network or CaveTemporalUNet(2, KERNEL, LAYERS, WIDTHS, "batch")
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = running_mean(network, settings.average)
    state: dict[str, Any] = {"step": 0, "best": -1.0, "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["last"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after step {state['step']}")
    start, losses = time.perf_counter() - state["spent_s"], []
    for step in range(state["step"], settings.steps):
        progress = max(step / settings.steps, (time.perf_counter() - start) / settings.budget_s)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 50) * _cosine(progress)
        network.train()
        loss = _loss(network, *_batch(train, settings, np.random.default_rng([settings.seed, step])))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        last = step + 1 == settings.steps or progress >= 1.0
        if (step + 1) % settings.validate_every == 0 or last:
            found = averaged.module
            assert isinstance(found, CaveTemporalUNet)
            artery, vein = inside_dice(found, validation)
            if (score := float(np.nanmean([artery, vein]))) > state["best"]:
                state |= {"best": score, "weights": {k: v.detach().clone() for k, v in found.state_dict().items()}}
            state |= {"step": step + 1, "last": network.state_dict(), "optimiser": optimiser.state_dict()}
            state["averaged"] = averaged.state_dict()
            state["spent_s"] = time.perf_counter() - start
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
            report(
                f"step {step + 1} loss {np.mean(losses):.3f} artery {artery:.3f} vein {vein:.3f} "
                f"{state['spent_s']:.0f} s, {len(train)} runs"
            )
            losses = []
            train += more()
        if last:
            break
    network.load_state_dict(state["weights"])
    return network.eval()


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


def _cosine(progress: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
