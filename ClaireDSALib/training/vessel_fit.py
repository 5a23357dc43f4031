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
from monai.losses import DiceLoss
from torch import nn

from ClaireDSALib.models.networks.vessel_net import VesselNet
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_patches import draw_batch
from ClaireDSALib.training.weight_average import running_mean

_MULTIPLE = 32
_SEVERE_WEIGHT = 0.35
"""Runs of severe motion teach what artefacts look like; nobody segments vessels in them."""
_CROSS_ENTROPY_WEIGHT = 2.0
_UNTIMED_WEIGHT = 0.7
"""Runs whose frames are not known say less about arteries, veins and noise."""


@dataclass(frozen=True)
class VesselFitSettings:
    """Choices of one training."""

    steps: int = 2000
    batch: int = 8
    patch_px: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    validate_every: int = 200
    seed: int = 0
    device: str = "cpu"
    budget_s: float = float("inf")
    average: float = 0.998
    """Decay of the running mean of the weights, which is what is validated and kept."""
    half: bool = True
    """Convolve in bfloat16 where that is faster; weights stay single."""


class DiceAndCrossEntropy(nn.Module):
    """Dice loss of each channel over the batch plus binary cross entropy.

    MONAI's ``DiceCELoss`` takes a softmax over channels for its second part: wrong for channels that overlap.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dice = DiceLoss(sigmoid=True, batch=True)

    def forward(self, logits: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
        cross = nn.functional.binary_cross_entropy_with_logits(logits, truths)
        return self.dice(logits, truths) + _CROSS_ENTROPY_WEIGHT * cross


def fit(
    train: Sequence[VesselExample],
    validation: Sequence[VesselExample],
    settings: VesselFitSettings,
    checkpoint: Path,
    *,
    network: nn.Module | None = None,
    report: Callable[[str], None] = lambda _: None,
    more: Callable[[], Sequence[VesselExample]] = lambda: (),
) -> nn.Module:
    """Train and return the network with the best validation Dice; an existing checkpoint is resumed.

    Parameters
    ----------
    train, validation : sequence of VesselExample
    settings : VesselFitSettings
    checkpoint : Path
    network : nn.Module, optional
        Starts the training; a fresh :class:`VesselNet` of five channels unless given.
    report : callable
        Told one line after each validation.
    more : callable
        Asked after each validation for examples that have come since.
    """
    torch.manual_seed(settings.seed)
    train = list(train)
    network = (network or VesselNet(in_channels=5)).to(settings.device, memory_format=torch.channels_last)
    n_channels = int(getattr(network, "in_channels", 1))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    loss_function = DiceAndCrossEntropy()
    averaged = running_mean(network, settings.average)
    state: dict[str, Any] = {"step": 0, "best": -1.0, "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        network.load_state_dict(state["last"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after step {state['step']}")
    weights = _weights(train)
    start, losses = time.perf_counter() - state["spent_s"], []
    for step in range(state["step"], settings.steps):
        progress = max(step / settings.steps, (time.perf_counter() - start) / settings.budget_s)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 50) * _cosine(progress)
        rng = np.random.default_rng([settings.seed, step])
        images, truths = draw_batch(train, weights, settings.batch, settings.patch_px, rng)
        network.train()
        images = images[:, :n_channels].to(settings.device, memory_format=torch.channels_last)
        with torch.autocast(settings.device, torch.bfloat16, enabled=settings.half):
            logits = network(images)
        loss = loss_function(logits.float(), truths.to(settings.device))
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        last = step + 1 == settings.steps or progress >= 1.0
        if (step + 1) % settings.validate_every == 0 or last:
            dice = mean_dice(averaged.module, validation, settings.device)
            score = float(np.nanmean(dice))
            if score > state["best"]:
                kept = {k: v.detach().clone() for k, v in averaged.module.state_dict().items()}
                state |= {"best": score, "weights": kept}
            state |= {"step": step + 1, "last": network.state_dict(), "optimiser": optimiser.state_dict()}
            state["averaged"] = averaged.state_dict()
            state["spent_s"] = time.perf_counter() - start
            _save(state, checkpoint)
            report(
                f"step {step + 1} loss {np.mean(losses):.3f} Dice vessel {dice[0]:.3f} artery {dice[1]:.3f} "
                f"vein {dice[2]:.3f} {state['spent_s']:.0f} s, {len(train)} runs"
            )
            losses = []
            train += more()
            weights = _weights(train)
        if last:
            break
    network.load_state_dict(state["weights"])
    return network.eval()


@torch.no_grad()
def probabilities(network: nn.Module, image: npt.NDArray[np.floating], device: str = "cpu") -> npt.NDArray[np.float32]:
    """(3, H, W) probabilities of one picture ``(C, H, W)`` of channels at its own resolution."""
    network.eval()
    channels = np.asarray(image[: int(getattr(network, "in_channels", 1))], np.float32)
    height, width = channels.shape[1:]
    padded = np.pad(channels, [(0, 0), (0, -height % _MULTIPLE), (0, -width % _MULTIPLE)], mode="edge")
    logits = network(torch.from_numpy(padded[None]).to(device))[0, :, :height, :width]
    return logits.sigmoid().cpu().numpy()


def mean_dice(
    network: nn.Module, examples: Sequence[VesselExample], device: str = "cpu", threshold: float = 0.5
) -> tuple[float, float, float]:
    """Mean Dice of vessel, artery and vein; pictures whose truth is empty do not count for that channel."""
    found: list[list[float]] = [[], [], []]
    for one in examples:
        maps = probabilities(network, one.image, device) >= threshold
        for channel in range(3):
            truth = one.truth[channel]
            if truth.any():
                both = float((maps[channel] & truth).sum())
                found[channel].append(2 * both / float(maps[channel].sum() + truth.sum()))
    return tuple(float(np.mean(f)) if f else float("nan") for f in found)  # type: ignore[return-value]


def _weights(examples: Sequence[VesselExample]) -> npt.NDArray[np.float64]:
    raw = np.array(
        [
            (_SEVERE_WEIGHT if (one.facts or {}).get("motion") == "severe" else 1.0)
            * (_UNTIMED_WEIGHT if one.times is None else 1.0)
            for one in examples
        ]
    )
    return raw / raw.sum()


def _cosine(progress: float) -> float:
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _save(state: dict[str, Any], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(checkpoint)
