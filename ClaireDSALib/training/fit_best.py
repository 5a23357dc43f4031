"""The loop of trainings that keep the running mean of the weights which does best on validation; resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ClaireDSALib.training.weight_average import running_mean

_WARM_UP_STEPS = 50
_LARGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class FitSettings:
    """Choices that every such training has."""

    steps: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    validate_every: int = 200
    seed: int = 0
    budget_s: float = float("inf")
    average: float = 0.998
    """Decay of the running mean of the weights, which is what is validated and kept."""


def fit_best(
    network: nn.Module,
    loss_of: Callable[[np.random.Generator], torch.Tensor],
    judge: Callable[[nn.Module], tuple[float, str]],
    settings: FitSettings,
    checkpoint: Path,
    *,
    device: str = "cpu",
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Train ``network`` in place and leave the best validated running mean of its weights in it.

    Parameters
    ----------
    network : nn.Module
        Put into evaluation mode at the end.
    loss_of : callable
        Loss of one batch drawn with a generator that depends on seed and step alone.
    judge : callable
        Score of the running mean, more is better, and words about it.
    settings : FitSettings
        The learning rate falls as a cosine over steps or seconds, whichever is further on.
    checkpoint : Path
        Resumed when it exists; written at every validation.
    device : str
    report : callable
        Told one line after each validation.
    """
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = running_mean(network, settings.average)
    state: dict[str, Any] = {"step": 0, "best": -1.0, "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["last"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after step {state['step']}")
    start, losses = time.perf_counter() - state["spent_s"], []
    for step in range(state["step"], settings.steps):
        progress = max(step / settings.steps, (time.perf_counter() - start) / settings.budget_s)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / _WARM_UP_STEPS) * cosine(progress)
        network.train()
        loss = loss_of(np.random.default_rng([settings.seed, step]))
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        last = step + 1 == settings.steps or progress >= 1.0
        if (step + 1) % settings.validate_every == 0 or last:
            score, words = judge(averaged.module)
            if score > state["best"]:
                kept = {k: v.detach().clone() for k, v in averaged.module.state_dict().items()}
                state |= {"best": score, "weights": kept}
            state |= {"step": step + 1, "last": network.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"averaged": averaged.state_dict(), "spent_s": time.perf_counter() - start}
            save_checkpoint(state, checkpoint)
            report(f"step {step + 1} loss {np.mean(losses):.4f} {words} {state['spent_s']:.0f} s")
            losses = []
        if last:
            break
    network.load_state_dict(state["weights"])
    network.eval()


def cosine(progress: float) -> float:
    """Factor of the learning rate, 1 at a progress of 0 and 0.01 from 1 on."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def save_checkpoint(state: dict[str, Any], checkpoint: Path) -> None:
    """Write the state of a training whole or not at all."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.with_suffix(".part")
    torch.save(state, temporary)
    temporary.replace(checkpoint)
