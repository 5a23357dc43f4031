"""Fit the small networks that read motion or quality off the frames of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.models.frame_reader import FARTHEST, FRAMES_FILE, INPUTS, FrameNetworks, tempered, weighed

PICTURE_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class FrameFitSettings:
    """Choices of one fit.

    Parameters
    ----------
    members : int
        Networks whose answers are averaged.
    hidden : int
    steps : int
        Full passes over the runs.
    learning_rate : float
    decay : float
        Weight of the squared weights, over the number of runs.
    seed : int
    """

    members: int = 5
    hidden: int = 24
    steps: int = 500
    learning_rate: float = 1e-2
    decay: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class FrameExamples:
    """Runs whose frames are known.

    Attributes
    ----------
    numbers : (N, 29) float32 ndarray
        See :data:`~ClaireDSALib.models.frame_reader.INPUTS`.
    picture : (N, C) float64 ndarray
        Probabilities by the picture alone.
    targets : (N,) int64 ndarray
    """

    numbers: npt.NDArray[np.float32]
    picture: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)


def fit_frames(
    train: FrameExamples,
    validation: FrameExamples,
    settings: FrameFitSettings,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[FrameNetworks, dict[str, float]]:
    """Fit on ``train``; choose the picture's weight and the temperature on ``validation`` by its log loss.

    Returns
    -------
    networks : FrameNetworks
    choices : dict
        ``picture_weight`` and ``temperature``.

    Raises
    ------
    ValueError
        When there is nothing to fit on or to choose by.
    """
    if not len(train) or not len(validation):
        msg = f"frames need runs to train on and to validate by; got {len(train)} and {len(validation)}"
        raise ValueError(msg)
    n_classes = train.picture.shape[1]
    mean, scale = train.numbers.mean(axis=0), np.maximum(train.numbers.std(axis=0), 1e-3)
    z = torch.from_numpy(np.clip((train.numbers - mean) / scale, -FARTHEST, FARTHEST).astype(np.float32))
    targets = torch.from_numpy(train.targets)
    members = [_member(z, targets, n_classes, settings, settings.seed + k) for k in range(settings.members)]
    stacked = [np.stack([one[k] for one in members]).astype(np.float32) for k in range(4)]
    networks = FrameNetworks(mean.astype(np.float32), scale.astype(np.float32), *stacked)
    found = networks.probabilities(validation.numbers)
    choices = _choose(found, validation)
    right = tempered(weighed(found, validation.picture, choices["picture_weight"]), choices["temperature"])
    share = float((right.argmax(1) == validation.targets).mean())
    alone = float((validation.picture.argmax(1) == validation.targets).mean())
    report(f"{len(train)} runs; validation of {len(validation)}: {share:.3f} right, by the picture alone {alone:.3f}")
    return networks, choices


def write_frames(networks: FrameNetworks, folder: Path, choices: dict[str, float], **entries: Any) -> dict[str, Any]:
    """Write the tensors into a bundle and return the ``frames`` entry for its metadata; ``entries`` are added."""
    from dataclasses import fields

    from safetensors.numpy import save_file

    path = folder / FRAMES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f.name: np.ascontiguousarray(getattr(networks, f.name)) for f in fields(networks)}, path)
    return {"file": FRAMES_FILE, "inputs": list(INPUTS), **{k: round(v, 4) for k, v in choices.items()}, **entries}


def _member(
    z: torch.Tensor, targets: torch.Tensor, n_classes: int, settings: FrameFitSettings, seed: int
) -> list[npt.NDArray[np.float32]]:
    """Weights and biases of one network."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(z.shape[1], settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, n_classes))
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    weights = [p for p in network.parameters() if p.ndim == 2]
    for _ in range(settings.steps):
        size = sum((p**2).sum() for p in weights)
        loss = nn.functional.cross_entropy(network(z), targets) + 0.5 * settings.decay / len(z) * size
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return [p.detach().numpy() for p in network.parameters()]


def _choose(found: npt.NDArray[np.float64], validation: FrameExamples) -> dict[str, float]:
    temperatures = np.exp(np.linspace(np.log(0.5), np.log(3.0), 25))
    options = [
        (_log_loss(tempered(weighed(found, validation.picture, w), t), validation.targets), w, float(t))
        for w in PICTURE_WEIGHTS
        for t in temperatures
    ]
    _, weight, temperature = min(options)
    return {"picture_weight": weight, "temperature": temperature}


def _log_loss(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())
