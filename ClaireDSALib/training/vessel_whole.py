"""Train a vessel network further on whole pictures: shown and scored as in the analysis, its normalisation kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ClaireDSALib.models.vessel_input import prepare_vessels
from ClaireDSALib.training.fit_best import FitSettings, fit_best
from ClaireDSALib.training.norms import keep_norm
from ClaireDSALib.training.vessel_evaluate import is_suitable
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_patches import new_look

_MULTIPLE = 32
_MINIP_ALONE, _NEW_LOOK = 0.12, 0.12
"""Shares of the pictures without what frames tell, and with another look, so that neither is forgotten."""
_CHANNEL_WEIGHTS = (1.0, 0.4, 0.4)
_CROSS_ENTROPY_WEIGHT = 2.0
_LEAST_TRUTH_PX = 50
_SEVERE, _UNTIMED, _UNSUITABLE, _EMPTY = 0.35, 0.7, 0.5, 0.4
"""How often runs are drawn that the analysis would not segment, or that say less."""


@dataclass(frozen=True)
class WholeFitSettings(FitSettings):
    """Choices of one training.

    Raises
    ------
    ValueError
        When the side of a part is no multiple of 32, or a batch has no picture.
    """

    learning_rate: float = 1e-3
    validate_every: int = 250
    batch: int = 2
    patch_px: int = 512
    """Of larger pictures that the network sees at their own size, a part of this side is taken."""
    half: bool = True
    """Convolve in bfloat16 where that is faster; weights stay single."""

    def __post_init__(self) -> None:
        if self.patch_px <= 0 or self.patch_px % _MULTIPLE:
            msg = f"the side of a part must be a multiple of {_MULTIPLE} px; got {self.patch_px}"
            raise ValueError(msg)
        if self.batch < 1:
            msg = f"a batch has at least one picture; got {self.batch}"
            raise ValueError(msg)


@dataclass(frozen=True)
class WholePicture:
    """A run as the network is shown it.

    Attributes
    ----------
    image : (C, h, w) float16 ndarray
        Prepared channels, without padding.
    truth : (3, H, W) bool ndarray
        Vessel, artery, vein at the run's own size.
    """

    image: npt.NDArray[np.float16]
    truth: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, one: VesselExample, n_channels: int) -> WholePicture:
        """Prepare an example for a network of ``n_channels``."""
        made = prepare_vessels(one.opacity.astype(np.float32), times=one.absolute_times(), n_channels=n_channels)
        height, width = made.work_shape
        return cls(made.image[0, :, :height, :width].astype(np.float16), one.truth)


def fit_whole(
    train: Sequence[VesselExample],
    validation: Sequence[VesselExample],
    settings: WholeFitSettings,
    checkpoint: Path,
    network: nn.Module,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> nn.Module:
    """Train ``network`` further; the running mean with the best validation Dice stays in it, a checkpoint is resumed.

    The loss is that of each picture at the run's own size: one minus the Dice of every channel that is there, and the
    binary cross entropy. Statistics of batch normalisation stay as they are: those of a few pictures vary, and with
    them the level at which a faint vessel begins.

    Parameters
    ----------
    train, validation : sequence of VesselExample
    settings : WholeFitSettings
    checkpoint : Path
    network : nn.Module
        A trained :class:`~ClaireDSALib.models.networks.vessel_net.VesselNet`.
    report : callable
        Told one line after each validation.
    """
    trained = network.to(memory_format=torch.channels_last)
    n_channels = int(getattr(trained, "in_channels", 1))
    shares = _shares(train)
    pictures, held_out = ([WholePicture.of(one, n_channels) for one in part] for part in (train, validation))

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        keep_norm(trained)
        losses = []
        for _ in range(settings.batch):
            one = pictures[rng.choice(len(pictures), p=shares)]
            image, truth = draw(one, settings.patch_px, rng)
            losses.append(picture_loss(_shown(trained, image, truth.shape[-2:], half=settings.half), truth))
        return torch.stack(losses).mean()

    def judge(averaged: nn.Module) -> tuple[float, str]:
        score = float(np.nanmean([vessel_dice(averaged, one, half=settings.half) for one in held_out]))
        return score, f"Dice vessel {score:.4f}"

    fit_best(trained, loss_of, judge, settings, checkpoint, report=report)
    return trained


def draw(one: WholePicture, most_px: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture or a part of it, mirrored at random, and often enough with less or another look.

    Only pictures shown at their own size are cut, others are taken whole.

    Returns
    -------
    image : (1, C, h, w) Tensor, without padding
    truth : (1, 3, H, W) Tensor at the run's own size
    """
    image = torch.from_numpy(one.image.astype(np.float32))[None]
    truth = torch.from_numpy(one.truth.astype(np.float32))[None]
    if image.shape[2:] == truth.shape[2:] and max(image.shape[2:]) > most_px:
        rows, columns = (_part(side, most_px, rng) for side in image.shape[2:])
        image, truth = image[:, :, rows, columns], truth[:, :, rows, columns]
    for axis in (2, 3):
        if rng.random() < 0.5:
            image, truth = image.flip(axis), truth.flip(axis)
    look = rng.random()
    if look < _MINIP_ALONE:
        image = torch.cat([image[:, :1], torch.zeros_like(image[:, 1:])], 1)
    elif look < _MINIP_ALONE + _NEW_LOOK:
        image = new_look(image[0], rng)[None]
    return image, truth


def picture_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Loss of one picture, ``(1, 3, H, W)`` both: one minus Dice of channels that are there, and cross entropy."""
    cross = functional.binary_cross_entropy_with_logits(logits, truth)
    chance, size = logits.sigmoid(), truth.sum((2, 3))
    dice = 2 * (chance * truth).sum((2, 3)) / (chance.sum((2, 3)) + size).clamp_min(1.0)
    weights = (size > _LEAST_TRUTH_PX) * torch.tensor(_CHANNEL_WEIGHTS)
    return ((1 - dice) * weights).sum() / weights.sum().clamp_min(1e-6) + _CROSS_ENTROPY_WEIGHT * cross


@torch.no_grad()
def vessel_dice(network: nn.Module, one: WholePicture, *, half: bool = False) -> float:
    """Dice of the vessel channel at the run's own size and a probability of one half; NaN when both are empty."""
    network.eval()
    image = torch.from_numpy(one.image.astype(np.float32))[None]
    found = _shown(network, image, one.truth.shape[1:], half=half)[0, 0].numpy() >= 0
    both = found.sum() + one.truth[0].sum()
    return 2 * float((found & one.truth[0]).sum()) / float(both) if both else float("nan")


def _shown(network: nn.Module, image: torch.Tensor, shape: Sequence[int], *, half: bool) -> torch.Tensor:
    """(1, 3, H, W) logits at the run's own size."""
    height, width = image.shape[2:]
    padded = functional.pad(image, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = network(padded.contiguous(memory_format=torch.channels_last))
    logits = logits.float()[:, :, :height, :width]
    if tuple(shape) == (height, width):
        return logits
    return functional.interpolate(logits, tuple(shape), mode="bicubic", antialias=True)


def _part(side: int, most_px: int, rng: np.random.Generator) -> slice:
    first = int(rng.integers(0, max(1, side - most_px + 1)))
    return slice(first, min(first + most_px, side))


def _shares(examples: Sequence[VesselExample]) -> npt.NDArray[np.float64]:
    """How often each run is drawn; they add up to one."""
    raw = np.array([_share(one) for one in examples])
    return raw / raw.sum()


def _share(one: VesselExample) -> float:
    facts = one.facts or {}
    share = _UNTIMED if one.times is None else 1.0
    share *= _SEVERE if facts.get("motion") == "severe" else 1.0
    share *= 1.0 if is_suitable(facts) else _UNSUITABLE
    return share * (1.0 if one.truth[0].any() else _EMPTY)
