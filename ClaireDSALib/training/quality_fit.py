"""Train the quality network on simulated pictures: vessels and grade together; resumable."""

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
from torch import Tensor
from torch.nn import functional

from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_input import WORK_PX
from ClaireDSALib.training.fit_best import cosine, save_checkpoint
from ClaireDSALib.training.quality_data import QualityExample
from ClaireDSALib.training.weight_average import running_mean

_MEDIUM_PX, _SMALL_PX = 384, 256
"""Sides of cheaper views: part of the picture at the final scale, and all of it at half the scale."""

_ZOOM, _SMALL_ZOOM = (-0.3, 0.2), (-1.1, -0.7)
"""Range of enlargement, powers of two; 0 is the scale in use."""

_SMALL_VESSEL_WEIGHT = 0.3
"""Thin vessels vanish at half the scale."""

_WITHOUT_TIMES = 0.25
"""Share of the views whose frames are hidden."""

_LARGE_FROM = 0.8
"""Share of the schedule from which all steps are on whole pictures at the final scale."""


@dataclass(frozen=True)
class QualityFitSettings:
    """Choices of one training; stored in the bundle's ``configs/train.json``.

    Parameters
    ----------
    steps, batch : int
    quality_weight : float
        Weight of the grade's cross entropy beside the vessels' Dice and cross entropy.
    learning_rate, weight_decay : float
        AdamW, with a cosine down to a hundredth.
    large_share, small_share : float
        Share of the steps on whole pictures of 512 px, and of 256 px with twice the batch; the others see parts of
        384 px. The whole last fifth is made of steps at 512 px.
    average : float
        Decay of the running mean of the weights, which is what is kept.
    validate_every : int
    validation_pictures : int
        Pictures used for the figures on the way.
    bfloat16 : bool
        Compute in bfloat16 where that is safe; a quarter faster on CPUs that know it.
    seed : int
    budget_s : float
        Wall-clock seconds; the schedule follows whichever of steps and budget is further on.
    """

    steps: int = 6000
    batch: int = 4
    quality_weight: float = 1.0
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    large_share: float = 0.2
    small_share: float = 0.5
    average: float = 0.99
    validate_every: int = 250
    validation_pictures: int = 120
    bfloat16: bool = True
    seed: int = 0
    budget_s: float = float("inf")


def fit(
    train: Sequence[QualityExample],
    validation: Sequence[QualityExample],
    settings: QualityFitSettings,
    checkpoint: Path,
    *,
    network: QualityNet | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> QualityNet:
    """Train and return the running mean of the weights; an existing checkpoint is resumed."""
    torch.manual_seed(settings.seed)
    network = (network or QualityNet()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert network is not None
    averaged = running_mean(network, settings.average)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    state: dict[str, Any] = {"step": 0, "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict(state["last"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after step {state['step']}")
    start, losses = time.perf_counter() - state["spent_s"], []
    for step in range(state["step"], settings.steps):
        spent = time.perf_counter() - start
        progress = max(step / settings.steps, spent / settings.budget_s)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 100) * cosine(progress)
        loss = _step(network, train, settings, step, progress)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        last = step + 1 == settings.steps or progress >= 1.0
        if (step + 1) % settings.validate_every == 0 or last:
            dice, accuracy = quick_figures(averaged.module, validation[: settings.validation_pictures])
            spent = time.perf_counter() - start
            report(f"step {step + 1} loss {np.mean(losses):.3f} Dice {dice:.3f} accuracy {accuracy:.3f} {spent:.0f} s")
            losses = []
            state = {"step": step + 1, "last": network.state_dict(), "averaged": averaged.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "spent_s": spent}
            save_checkpoint(state, checkpoint)
        if last:
            break
    found = averaged.module
    assert isinstance(found, QualityNet)
    return found.eval()


def joint_loss(
    vessel_logits: Tensor, quality_logits: Tensor, vessels: Tensor, weights: Tensor, grades: Tensor, share: float
) -> Tensor:
    """Dice and cross entropy of the vessels plus ``share`` times the cross entropy of the grade.

    Parameters
    ----------
    vessel_logits, vessels : (B, 1, H, W) Tensor
    quality_logits : (B, 3) Tensor
    weights : (B,) Tensor
        What the vessels of each picture count, 0 to leave them out.
    grades : (B,) int Tensor
    share : float
    """
    quality = functional.cross_entropy(quality_logits, grades, label_smoothing=0.05)
    weight = weights[:, None, None, None]
    found = vessel_logits.sigmoid()
    overlap = 2 * (weight * found * vessels).sum() + 1
    dice = 1 - overlap / ((weight * (found + vessels)).sum() + 1)
    entropy = functional.binary_cross_entropy_with_logits(vessel_logits, vessels, weight=weight.expand_as(vessels))
    return weights.mean() * dice + entropy + share * quality


@torch.no_grad()
def outputs(network: QualityNet, example: QualityExample) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Vessel probability ``(H, W)`` at the picture's own size, and probabilities of the grades ``(3,)``."""
    image = torch.from_numpy(example.channels(network.in_channels))[None]
    height, width = image.shape[2:]
    scale = WORK_PX / max(height, width)
    inner = (round(height * scale), round(width * scale))
    small = functional.interpolate(image, inner, mode="bicubic", align_corners=False, antialias=scale < 1)
    padded = functional.pad(small.clamp(-0.5, 1.5), (0, WORK_PX - inner[1], 0, WORK_PX - inner[0]))
    network.eval()
    found = network(padded)
    vessels = found.vessels[..., : inner[0], : inner[1]].sigmoid()
    back = functional.interpolate(vessels, (height, width), mode="bicubic", align_corners=False)
    return back[0, 0].numpy(), found.quality[0].softmax(0).numpy()


def quick_figures(network: torch.nn.Module, examples: Sequence[QualityExample]) -> tuple[float, float]:
    """Mean vessel Dice at 0.5 over suitable pictures and share of grades that are right."""
    assert isinstance(network, QualityNet)
    dice, right = [], []
    for one in examples:
        vessels, grades = outputs(network, one)
        right.append(int(grades.argmax()) == one.grade)
        if one.vessels is not None and one.suitable and one.vessels.any():
            mask = vessels >= 0.5
            dice.append(2 * float((mask & one.vessels).sum()) / float(mask.sum() + one.vessels.sum()))
    return float(np.mean(dice)) if dice else float("nan"), float(np.mean(right))


def _step(
    network: QualityNet, train: Sequence[QualityExample], settings: QualityFitSettings, step: int, progress: float
) -> Tensor:
    rng = np.random.default_rng([settings.seed, step])
    size, count = _size(settings, progress, rng)
    chosen = [train[int(rng.integers(len(train)))] for _ in range(count)]
    images, vessels = _views(chosen, size, network.in_channels, rng)
    share = _SMALL_VESSEL_WEIGHT if size == _SMALL_PX else 1.0
    weights = torch.tensor([0.0 if one.vessels is None else share * one.vessel_weight for one in chosen])
    grades = torch.tensor([one.grade for one in chosen])
    network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
        found = network(images.contiguous(memory_format=torch.channels_last))
    return joint_loss(found.vessels.float(), found.quality.float(), vessels, weights, grades, settings.quality_weight)


def _size(settings: QualityFitSettings, progress: float, rng: np.random.Generator) -> tuple[int, int]:
    """Side and number of the pictures of one step."""
    draw = rng.random()
    if progress > _LARGE_FROM or draw < settings.large_share:
        return WORK_PX, settings.batch
    if draw < settings.large_share + settings.small_share:
        return _SMALL_PX, 2 * settings.batch
    return _MEDIUM_PX, settings.batch


def _views(
    chosen: Sequence[QualityExample], size: int, n_channels: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Turned, mirrored, enlarged, shifted pictures ``(B, C, S, S)`` with a new look, and their vessels."""
    views = [_view(one, size, n_channels, rng) for one in chosen]
    return torch.cat([image for image, _ in views]), torch.cat([vessels for _, vessels in views])


def _view(one: QualityExample, size: int, n_channels: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    mask = np.zeros(one.packed.shape, np.float32) if one.vessels is None else one.vessels.astype(np.float32)
    image = one.channels(n_channels if rng.random() > _WITHOUT_TIMES else 1)
    both = torch.from_numpy(np.concatenate([image, mask[None]])[None])
    # Pixels of the view per pixel of the picture that is brought to the working size: about 1, so that noise and
    # motion keep the scale they will have in use.
    zoom = 2 ** rng.uniform(*(_SMALL_ZOOM if size == _SMALL_PX else _ZOOM))
    angle = np.deg2rad(rng.uniform(-20, 20))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shown = size / (WORK_PX * zoom)
    turn = shown * np.array([[math.cos(angle) * flip, -math.sin(angle)], [math.sin(angle) * flip, math.cos(angle)]])
    slack = max(0.0, 1 - shown) + 0.05
    shift = rng.uniform(-slack, slack, 2)
    matrix = torch.tensor(np.column_stack([turn, shift])[None], dtype=torch.float32)
    grid = functional.affine_grid(matrix, [1, len(both[0]), size, size], align_corners=False)
    moved = functional.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    looked = _new_look(moved[:, :-1], rng)
    filled = functional.pad(looked, (0, 0, 0, 0, 0, n_channels - looked.shape[1]))
    return filled, (moved[:, -1:] > 0.5).float()


def _new_look(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Gain and gradation change; noise and blur are left alone, since they decide the grade."""
    if rng.random() < 0.4:
        image = image.sign() * image.abs() ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.3:
        coarse = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.04), (1, 1, 4, 4)).astype(np.float32))
        image = image + functional.interpolate(coarse, image.shape[2:], mode="bicubic", align_corners=False)
    return (image * rng.uniform(0.8, 1.2) + rng.normal(0, 0.02)).clamp(-0.5, 1.5)
