"""Train the vessel network on simulated pictures with truth; resumable."""

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
from monai.losses import DiceCELoss
from scipy import ndimage
from torch import Tensor, nn

from ClaireDSALib.models.networks.vessel_net import VesselNet
from ClaireDSALib.models.vessel_input import relative_opacity


@dataclass(frozen=True)
class VesselExample:
    """One picture and its truth.

    Attributes
    ----------
    opacity : (H, W) float16 ndarray
        Peak opacity, contrast positive.
    truth : (3, H, W) bool ndarray
        Vessel, artery, vein.
    patient : str
    """

    opacity: npt.NDArray[np.float16]
    truth: npt.NDArray[np.bool_]
    patient: str


@dataclass(frozen=True)
class VesselFitSettings:
    """Choices of one training."""

    steps: int = 2000
    batch: int = 6
    patch_px: int = 192
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    validate_every: int = 200
    seed: int = 0
    device: str = "cpu"
    budget_s: float = float("inf")


def fit(
    train: Sequence[VesselExample],
    validation: Sequence[VesselExample],
    settings: VesselFitSettings,
    checkpoint: Path,
    *,
    network: nn.Module | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> nn.Module:
    """Train and return the network with the best validation Dice; an existing checkpoint is resumed."""
    torch.manual_seed(settings.seed)
    network = (network or VesselNet()).to(settings.device)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    loss_function = DiceCELoss(sigmoid=True, batch=True, lambda_ce=0.5)
    state: dict[str, Any] = {"step": 0, "best": -1.0, "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        network.load_state_dict(state["last"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after step {state['step']}")
    start, losses = time.perf_counter() - state["spent_s"], []
    for step in range(state["step"], settings.steps):
        spent = time.perf_counter() - start
        progress = max(step / settings.steps, spent / settings.budget_s)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 50) * _cosine(progress)
        images, truths = _batch(train, settings, step)
        network.train()
        loss = loss_function(network(images), truths)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        last = step + 1 == settings.steps or progress >= 1.0
        if (step + 1) % settings.validate_every == 0 or last:
            dice = mean_dice(network, validation, settings.device)
            if dice[0] > state["best"]:
                state |= {"best": dice[0], "weights": {k: v.detach().clone() for k, v in network.state_dict().items()}}
            state |= {"step": step + 1, "last": network.state_dict(), "optimiser": optimiser.state_dict()}
            state["spent_s"] = time.perf_counter() - start
            _save(state, checkpoint)
            report(
                f"step {step + 1} loss {np.mean(losses):.3f} Dice vessel {dice[0]:.3f} artery {dice[1]:.3f} "
                f"vein {dice[2]:.3f} {state['spent_s']:.0f} s"
            )
            losses = []
        if last:
            break
    network.load_state_dict(state["weights"])
    return network.eval()


@torch.no_grad()
def probabilities(network: nn.Module, opacity: npt.NDArray[Any], device: str = "cpu") -> npt.NDArray[np.float32]:
    """(3, H, W) probabilities of one picture at its own resolution; sides are padded to a multiple of 16."""
    network.eval()
    image = relative_opacity(np.asarray(opacity, np.float32))
    height, width = image.shape
    padded = np.pad(image, [(0, -height % 16), (0, -width % 16)], mode="edge")
    logits = network(torch.from_numpy(padded[None, None]).to(device))[0, :, :height, :width]
    return logits.sigmoid().cpu().numpy()


def mean_dice(
    network: nn.Module, examples: Sequence[VesselExample], device: str = "cpu", threshold: float = 0.5
) -> tuple[float, float, float]:
    """Mean Dice of vessel, artery and vein; pictures whose truth is empty do not count for that channel."""
    found: list[list[float]] = [[], [], []]
    for one in examples:
        maps = probabilities(network, one.opacity, device) >= threshold
        for channel in range(3):
            truth = one.truth[channel]
            if truth.any():
                found[channel].append(
                    2 * float((maps[channel] & truth).sum()) / float(maps[channel].sum() + truth.sum())
                )
    return tuple(float(np.mean(f)) if f else float("nan") for f in found)  # type: ignore[return-value]


def _batch(examples: Sequence[VesselExample], settings: VesselFitSettings, step: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng([settings.seed, step])
    pairs = [_patch(examples[int(rng.integers(len(examples)))], settings.patch_px, rng) for _ in range(settings.batch)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])[:, None])
    truths = torch.from_numpy(np.stack([truth for _, truth in pairs]).astype(np.float32))
    return images.to(settings.device), truths.to(settings.device)


def _patch(
    one: VesselExample, size: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A turned, scaled, mirrored patch with randomised look: blur, noise, gain, background, quantisation."""
    image = relative_opacity(one.opacity.astype(np.float32))
    angle, scale = np.deg2rad(rng.uniform(-25, 25)), 2 ** rng.uniform(-0.6, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    turn = turn @ np.diag([1.0, rng.choice([-1.0, 1.0])])
    reach = np.abs(turn) @ np.full(2, size / 2)
    height, width = image.shape
    centre = [
        rng.uniform(min(reach[i], side / 2), max(side - reach[i], side / 2)) for i, side in enumerate((height, width))
    ]
    offset = np.asarray(centre) - turn @ np.full(2, (size - 1) / 2)
    smooth = ndimage.gaussian_filter(image, 0.4 / scale) if scale < 0.8 else image
    patch = ndimage.affine_transform(smooth, turn, offset, (size, size), order=1, mode="nearest")
    truth = np.stack(
        [
            ndimage.affine_transform(c.astype(np.float32), turn, offset, (size, size), order=1, mode="constant") > 0.5
            for c in one.truth
        ]
    )
    return _new_look(patch, rng), truth


def _new_look(patch: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    if rng.random() < 0.5:
        patch = np.sign(patch) * np.abs(patch) ** rng.uniform(0.6, 1.5)
    if rng.random() < 0.4:
        patch = ndimage.gaussian_filter(patch, rng.uniform(0.3, 1.2))
    if rng.random() < 0.3:  # edge enhancement, as consoles apply it
        patch = patch + rng.uniform(0.3, 1.2) * (patch - ndimage.gaussian_filter(patch, rng.uniform(1, 3)))
    if rng.random() < 0.5:  # slow background: scatter, imperfect subtraction
        coarse = rng.normal(0, rng.uniform(0, 0.08), (4, 4))
        patch = patch + ndimage.zoom(coarse, np.array(patch.shape) / 4, order=3)
    patch = patch * rng.uniform(0.7, 1.4) + rng.normal(0, 0.03)
    patch = patch + rng.normal(0, rng.uniform(0, 0.08), patch.shape)
    if rng.random() < 0.3:
        levels = rng.integers(48, 255)
        patch = np.round(patch * levels) / levels
    return np.clip(patch, -0.5, 1.5).astype(np.float32)


def _cosine(progress: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _save(state: dict[str, Any], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(checkpoint)
