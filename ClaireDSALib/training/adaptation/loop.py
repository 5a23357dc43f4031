"""The training loop of an adaptation: three streams, one step function, checkpoints that continue exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.models.networks.loizillon import reversal_strength
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.losses import (
    DomainLogits,
    LossParts,
    inverse_shares,
    label_cross_entropy,
    three_part_loss,
)
from ClaireDSALib.training.adaptation.parts import AdaptableNetwork, Streams
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.sampler import DomainSampler, Draw
from ClaireDSALib.training.adaptation.settings import AdaptSettings
from ClaireDSALib.training.adaptation.statistics import logits_of, with_statistics_of

Report = Callable[[str], None]
CHECKPOINT = "adaptation.pt"
LOOKS = 4
"""How often a training stops to save, and to look at the target validation where there is one."""


@dataclass(frozen=True)
class Terms:
    """Which parts of the loss a method uses.

    Parameters
    ----------
    source : bool
    domain : bool
    steps : int
        0 follows the epochs of the settings.
    """

    source: bool = True
    domain: bool = True
    steps: int = 0


@dataclass
class LoopState:
    """What a training needs to go on."""

    model: AdaptableNetwork
    optimizer: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0
    best: float = math.inf
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write in one step, so that an interruption leaves the previous checkpoint."""
        plain = {k: getattr(self, k) for k in ("step", "elapsed_s", "best", "history")}
        data = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "plain": plain}
        part = path.with_suffix(".part")
        torch.save({**data, "best_weights": self.best_weights}, part)
        part.replace(path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        data = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(data["model"])
        self.optimizer.load_state_dict(data["optimizer"])
        self.best_weights = data["best_weights"]
        for key, value in data["plain"].items():
            setattr(self, key, value)


def train_domains(
    network: nn.Module,
    domains: Domains,
    settings: AdaptSettings,
    terms: Terms,
    *,
    out: Path | None = None,
    source_weights: npt.NDArray[np.floating] | None = None,
    report: Report = lambda _: None,
) -> AdaptableNetwork:
    """Train from a bundle's network; the epoch with the best target validation is returned, else the last.

    Parameters
    ----------
    network : nn.Module
        Where to start; not changed.
    domains : Domains
    settings : AdaptSettings
    terms : Terms
    out : Path, optional
        Folder for the checkpoint; an interrupted training continues from it and ends as if it had not been.
    source_weights : (N,) float ndarray, optional
        Chance with which each source picture is drawn.

    Returns
    -------
    AdaptableNetwork
        In evaluation mode.
    """
    model = AdaptableNetwork(network, settings.domain_hidden, settings.seed)
    state = LoopState(model, _optimizer(model, settings))
    sampler = DomainSampler(
        len(domains.source),
        len(domains.labelled),
        len(domains.unlabelled),
        batch_size=settings.batch_size,
        labelled_batch=settings.labelled_batch,
        source_weights=source_weights,
        seed=settings.seed,
    )
    total = terms.steps or max(1, round(settings.epochs * sampler.steps_per_epoch))
    checkpoint = None if out is None else out / CHECKPOINT
    if checkpoint is not None and checkpoint.is_file():
        state.restore(checkpoint)
        report(f"continuing at step {state.step} of {total}")
    stops = sorted({math.ceil(total * k / LOOKS) for k in range(1, LOOKS + 1)})
    step = _Stepper(domains, settings, terms, sampler, total)
    for stop in (s for s in stops if s > state.step):
        if _used_up(state, settings):
            break
        _train_until(stop, state, step, settings)
        _look(state, domains, settings)
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            state.save(checkpoint)
        report(_line(state, total))
    if state.step < total:
        report(f"the budget of {settings.max_minutes:g} min is used up after {state.step} of {total} steps")
    if state.best_weights:
        model.load_state_dict(state.best_weights)
    return model.eval()


def target_share(domains: Domains) -> float:
    """How much of the final head is the target's: none without labels, half with few, all with a hundred or more."""
    n = len(domains.labelled)
    return 0.0 if n == 0 else min(1.0, 0.5 + max(0, n - 30) / 140)


class _Stepper:
    """One step of the optimisation, a function of data, settings and step number alone."""

    def __init__(
        self, domains: Domains, settings: AdaptSettings, terms: Terms, sampler: DomainSampler, total: int
    ) -> None:
        self.domains, self.settings, self.terms, self.sampler, self.total = domains, settings, terms, sampler, total
        targets = torch.from_numpy(domains.labelled.targets)
        self.class_weights = inverse_shares(targets, domains.sizes) if settings.balance_target else None

    def __call__(self, state: LoopState) -> LossParts:
        fraction = max(state.step / self.total, state.elapsed_s / 60 / self.settings.max_minutes)
        for group in state.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * _rate(fraction)
        torch.manual_seed(self.settings.seed * 1_000_003 + state.step)  # dropout and movements, also after a resume
        parts = self._losses(state.model, state.step, reversal_strength(self.settings.ramp * fraction))
        state.optimizer.zero_grad(set_to_none=True)
        parts.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.model.parameters(), 5.0)
        state.optimizer.step()
        return parts

    def _losses(self, model: AdaptableNetwork, step: int, alpha: float) -> LossParts:
        draw, domains = self.sampler.at(step), self.domains
        streams = self._streams(model, draw, alpha)
        nothing = torch.zeros(())
        source, labelled, unlabelled = (streams[k] for k in ("source", "labelled", "unlabelled"))
        source_loss = target_loss = nothing
        if source is not None:
            targets = torch.from_numpy(domains.source.targets[draw.source])
            source_loss = label_cross_entropy(source.source, targets, domains.sizes)
        if labelled is not None:
            targets = torch.from_numpy(domains.labelled.targets[draw.labelled])
            target_loss = label_cross_entropy(labelled.target, targets, domains.sizes, self.class_weights)
        empty = torch.zeros((0, 2))
        logits = DomainLogits(*(empty if s is None else s.domain for s in (source, labelled, unlabelled)))
        weight = self.settings.domain_weight if self.terms.domain else 0.0
        return three_part_loss(source_loss, target_loss, logits, domain_weight=weight)

    def _streams(self, model: AdaptableNetwork, draw: Draw, alpha: float) -> dict[str, Streams | None]:
        """Each stream through the network by itself, so that batch norm sees one domain at a time."""
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ()).item()))

        def through(pictures: Prepared, places: npt.NDArray[np.int64]) -> Streams | None:
            if len(places) < 2:  # batch norm needs two
                places = np.repeat(places, 2)
            return model(pictures.moved(places, generator), alpha) if len(places) else None

        domains, use = self.domains, self.terms
        return {
            "source": through(domains.source, draw.source) if use.source else None,
            "labelled": through(domains.labelled, draw.labelled),
            "unlabelled": through(domains.unlabelled, draw.unlabelled) if use.domain else None,
        }


def _optimizer(model: AdaptableNetwork, settings: AdaptSettings) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _rate(fraction: float) -> float:
    """Half a cosine to a hundredth."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def _train_until(stop: int, state: LoopState, step: _Stepper, settings: AdaptSettings) -> None:
    state.model.train()
    rows = []
    while state.step < stop and not _used_up(state, settings):
        begin = time.perf_counter()
        rows.append([float(part.detach()) for part in step(state)])
        state.step += 1
        state.elapsed_s += time.perf_counter() - begin
    means = np.mean(rows, axis=0) if rows else np.full(4, np.nan)
    state.history.append({"step": state.step, **dict(zip(LossParts._fields, map(float, means), strict=True))})


def _used_up(state: LoopState, settings: AdaptSettings) -> bool:
    return state.elapsed_s / 60 > settings.max_minutes


def _look(state: LoopState, domains: Domains, settings: AdaptSettings) -> None:
    """Keep the weights with the smallest loss on target validation."""
    if len(domains.target_validation) == 0:
        return
    network = state.model.finished(target_share(domains))
    if settings.own_statistics:
        network = with_statistics_of(network, domains.target_pictures, seed=settings.seed)
    logits = torch.from_numpy(logits_of(network, domains.target_validation))
    loss = float(label_cross_entropy(logits, torch.from_numpy(domains.target_validation.targets), domains.sizes))
    state.history[-1]["target_validation"] = loss
    if loss < state.best:
        state.best = loss
        state.best_weights = {k: v.detach().clone() for k, v in state.model.state_dict().items()}


def _line(state: LoopState, total: int) -> str:
    last = state.history[-1]
    words = ", ".join(f"{k} {v:.3f}" for k, v in last.items() if k != "step")
    left = state.elapsed_s / max(state.step, 1) * (total - state.step) / 60
    return f"step {state.step} of {total}: {words}; about {left:.1f} min left"
