"""Train the vessel network on simulated pictures with truth; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.losses import DiceLoss
from torch import nn

from ClaireDSALib.models.networks.vessel_net import VesselNet
from ClaireDSALib.training.fit_best import FitSettings, fit_best
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_patches import draw_batch

_MULTIPLE = 32
_SEVERE_WEIGHT = 0.35
"""Runs of severe motion teach what artefacts look like; nobody segments vessels in them."""
_CROSS_ENTROPY_WEIGHT = 2.0
_UNTIMED_WEIGHT = 0.7
"""Runs whose frames are not known say less about arteries, veins and noise."""


@dataclass(frozen=True)
class VesselFitSettings(FitSettings):
    """Choices of one training.

    Raises
    ------
    ValueError
        When the side of the patches is no multiple of 32.
    """

    batch: int = 8
    patch_px: int = 128
    device: str = "cpu"
    half: bool = True
    """Convolve in bfloat16 where that is faster; weights stay single."""

    def __post_init__(self) -> None:
        if self.patch_px <= 0 or self.patch_px % _MULTIPLE:
            msg = f"the side of a patch must be a multiple of {_MULTIPLE} px; got {self.patch_px}"
            raise ValueError(msg)


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
    """
    torch.manual_seed(settings.seed)
    trained = (network or VesselNet(in_channels=5)).to(settings.device, memory_format=torch.channels_last)
    n_channels, weights = int(getattr(trained, "in_channels", 1)), _weights(train)
    loss_function = DiceAndCrossEntropy()

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        images, truths = draw_batch(train, weights, settings.batch, settings.patch_px, rng)
        images = images[:, :n_channels].to(settings.device, memory_format=torch.channels_last)
        with torch.autocast(settings.device, torch.bfloat16, enabled=settings.half):
            logits = trained(images)
        return loss_function(logits.float(), truths.to(settings.device))

    def judge(averaged: nn.Module) -> tuple[float, str]:
        dice = mean_dice(averaged, validation, settings.device)
        return float(np.nanmean(dice)), "Dice vessel {:.3f} artery {:.3f} vein {:.3f}".format(*dice)

    fit_best(trained, loss_of, judge, settings, checkpoint, device=settings.device, report=report)
    return trained


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
