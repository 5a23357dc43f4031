"""Train the compact sequence network on prepared runs; resumable, on the CPU or a GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import SequenceNet, SequenceOutput
from ClaireDSALib.models.sequence_input import time_features, with_neighbours
from ClaireDSALib.training.sequence_examples import SequenceExample, unpack

_STRIDE = 4
"""Pixels of the stack per cell of the site map."""

_SITE_SIGMA_CELLS = 0.9


@dataclass(frozen=True)
class SequenceFitSettings:
    """Choices of one training."""

    epochs: int = 10
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_runs: int = 8
    site_weight: float = 0.3
    territory_weight: float = 0.3
    phase_weight: float = 0.5
    seed: int = 0
    device: str = "cpu"
    budget_s: float = float("inf")
    """Training stops after the epoch in which this many seconds have passed; the schedule follows it."""


@dataclass(frozen=True)
class SequenceOutputs:
    """Outputs for a list of examples, aligned with it."""

    logits: npt.NDArray[np.float64]
    sites: npt.NDArray[np.float64]
    """(N, 2) hottest cell, in pixels of the stack."""
    phases: list[npt.NDArray[np.float32]]
    """(T, 4) logits per run."""


def fit(
    train: Sequence[SequenceExample],
    validation: Sequence[SequenceExample],
    settings: SequenceFitSettings,
    checkpoint: Path,
    *,
    network: SequenceNet | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> SequenceNet:
    """Train and return the network of the best epoch by validation loss.

    A ``checkpoint`` that exists is resumed: network, optimiser, epoch and best state.
    """
    torch.manual_seed(settings.seed)
    network = (network or SequenceNet()).to(settings.device)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    state: dict[str, Any] = {"epoch": 0, "best": float("inf"), "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        network.load_state_dict(state["last"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after epoch {state['epoch']}")
    for epoch in range(state["epoch"], settings.epochs):
        start = time.perf_counter()
        loss = _epoch(network, optimiser, train, settings, epoch, state["spent_s"])
        value = validation_loss(network, validation, settings)
        state["spent_s"] += time.perf_counter() - start
        if value < state["best"]:
            state |= {"best": value, "weights": {k: v.detach().clone() for k, v in network.state_dict().items()}}
        state |= {"epoch": epoch + 1, "last": network.state_dict(), "optimiser": optimiser.state_dict()}
        state["settings"] = asdict(settings)
        _save(state, checkpoint)
        report(f"epoch {epoch + 1}/{settings.epochs} loss {loss:.3f} validation {value:.3f} {state['spent_s']:.0f} s")
        if state["spent_s"] > settings.budget_s:
            break
    network.load_state_dict(state["weights"])
    return network.eval()


@torch.no_grad()
def predict(network: SequenceNet, examples: Sequence[SequenceExample], device: str = "cpu") -> SequenceOutputs:
    """Outputs of a network without test-time augmentation."""
    network.eval()
    logits, sites, phases = [], [], []
    for one in examples:
        output = network(*_tensors(unpack(one.stack), one.times_s, device))
        logits.append(float(output.thrombus))
        row, column = np.unravel_index(int(output.site.argmax()), tuple(output.site.shape))
        sites.append(((row + 0.5) * _STRIDE - 0.5, (column + 0.5) * _STRIDE - 0.5))
        phases.append(output.phases.cpu().numpy())
    return SequenceOutputs(np.asarray(logits), np.asarray(sites).reshape(-1, 2), phases)


@torch.no_grad()
def validation_loss(network: SequenceNet, examples: Sequence[SequenceExample], settings: SequenceFitSettings) -> float:
    """Mean loss without augmentation."""
    network.eval()
    losses = [
        float(loss_of(network(*_tensors(unpack(e.stack), e.times_s, settings.device)), _targets(e, settings), settings))
        for e in examples
    ]
    network.train()
    return float(np.mean(losses)) if losses else float("inf")


@dataclass(frozen=True)
class Targets:
    """Truth of one run as tensors."""

    thrombus: Tensor
    site: Tensor | None
    """(S/4, S/4) distribution that sums to one; None when there is none in the picture."""
    territory: Tensor
    phases: Tensor


def loss_of(output: SequenceOutput, truth: Targets, settings: SequenceFitSettings) -> Tensor:
    """Thrombus yes/no, where, which territory, which phase; one number."""
    loss = nn.functional.binary_cross_entropy_with_logits(output.thrombus, truth.thrombus)
    loss = loss + settings.phase_weight * nn.functional.cross_entropy(output.phases, truth.phases)
    loss = loss + settings.territory_weight * nn.functional.binary_cross_entropy_with_logits(
        output.territory, truth.territory
    )
    if truth.site is not None:
        loss = (
            loss - settings.site_weight * (truth.site * output.site.flatten().log_softmax(0).view_as(truth.site)).sum()
        )
    return loss


def augment(one: SequenceExample, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], SequenceExample]:
    """Relative opacity (T, S, S) float32 and the example with its truth moved along.

    Mirrored, turned, shifted and scaled in space; thinned and shifted in time; gain, noise and offset in opacity.
    """
    one = _thin(one, rng)
    stack = unpack(one.stack)
    matrix, offset = _affine(rng, stack.shape[1])
    stack = np.stack([ndimage.affine_transform(f, matrix, offset, order=1, mode="constant") for f in stack])
    cells = one.territory.shape[0]
    cell_offset = (offset + (matrix - np.eye(2)) @ np.full(2, (_STRIDE - 1) / 2)) / _STRIDE
    territory = ndimage.affine_transform(one.territory, matrix, cell_offset, order=1, mode="constant")
    site = np.linalg.solve(matrix, np.asarray(one.site) - offset) if np.isfinite(one.site[0]) else np.asarray(one.site)
    if not (np.isfinite(site).all() and (site >= 0).all() and (site < cells * _STRIDE).all()):
        site = np.full(2, np.nan)
    stack = stack * rng.uniform(0.75, 1.3) + rng.normal(0, 0.02)
    stack += rng.normal(0, rng.uniform(0, 0.06), stack.shape)
    moved = SequenceExample(
        **{**vars(one), "site": (float(site[0]), float(site[1])), "territory": territory.astype(np.uint8)}
    )
    return stack.astype(np.float32), moved


def _epoch(
    network: SequenceNet,
    optimiser: torch.optim.Optimizer,
    train: Sequence[SequenceExample],
    settings: SequenceFitSettings,
    epoch: int,
    spent_s: float,
) -> float:
    network.train()
    rng = np.random.default_rng([settings.seed, epoch])
    order = rng.permutation(len(train))
    start, losses = time.perf_counter(), []
    for number, index in enumerate(order):
        progress = (epoch + number / len(order)) / settings.epochs
        if np.isfinite(settings.budget_s):
            progress = max(progress, (spent_s + time.perf_counter() - start) / settings.budget_s)
        stack, moved = augment(train[index], rng)
        output = network(*_tensors(stack, moved.times_s, settings.device))
        loss = loss_of(output, _targets(moved, settings), settings)
        (loss / settings.batch_runs).backward()
        losses.append(float(loss.detach()))
        if (number + 1) % settings.batch_runs == 0:
            _step(network, optimiser, settings.learning_rate * _schedule(progress))
    return float(np.mean(losses))


def _step(network: SequenceNet, optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _schedule(progress: float) -> float:
    """Short warm-up, then a cosine to one per cent."""
    warm = min(1.0, progress / 0.03 + 0.05)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def _tensors(stack: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64], device: str) -> tuple[Tensor, Tensor]:
    frames = torch.from_numpy(with_neighbours(stack))
    return frames.to(device), torch.from_numpy(time_features(stack, times_s)).to(device)


def _targets(one: SequenceExample, settings: SequenceFitSettings) -> Targets:
    device, cells = settings.device, one.territory.shape[0]
    return Targets(
        thrombus=torch.tensor(float(one.thrombus), device=device),
        site=_site_target(one.site, cells, device) if one.thrombus and np.isfinite(one.site[0]) else None,
        territory=torch.from_numpy(one.territory.astype(np.float32) / 255).to(device),
        phases=torch.from_numpy(one.phases.astype(np.int64)).to(device),
    )


def _site_target(site: tuple[float, float], cells: int, device: str) -> Tensor:
    rows, columns = np.mgrid[:cells, :cells]
    row, column = ((site[0] + 0.5) / _STRIDE - 0.5, (site[1] + 0.5) / _STRIDE - 0.5)
    bell = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * _SITE_SIGMA_CELLS**2))
    return torch.from_numpy((bell / bell.sum()).astype(np.float32)).to(device)


def _thin(one: SequenceExample, rng: np.random.Generator) -> SequenceExample:
    """Drop some frames, sometimes a piece at an end, as runs of other rates and lengths have it."""
    keep = rng.random(len(one.times_s)) > rng.choice([0.0, 0.15, 0.4], p=[0.5, 0.3, 0.2])
    if rng.random() < 0.15:
        keep[len(keep) - int(rng.integers(1, max(2, len(keep) // 4))) :] = False
    if keep.sum() < 5:
        return one
    return SequenceExample(
        **{**vars(one), "stack": one.stack[keep], "times_s": one.times_s[keep], "phases": one.phases[keep]}
    )


def _affine(rng: np.random.Generator, size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Output-to-input matrix and offset about the centre: mirror, +-12 degrees, 0.85 to 1.2, +-8 %."""
    angle, scale = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(0.85, 1.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    if rng.random() < 0.5:
        turn = turn @ np.diag([1.0, -1.0])
    centre = np.full(2, (size - 1) / 2)
    return turn, centre - turn @ centre + rng.uniform(-0.08, 0.08, 2) * size


def _save(state: dict[str, Any], checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(checkpoint)
