"""The published recipe on the published network: three streams, one objective, selection on target validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ClaireDSALib.models.networks.loizillon import (
    Conv5Fc3Ssda,
    network_for,
    read_checkpoint,
    reversal_strength,
    write_checkpoint,
)
from ClaireDSALib.training.adaptation.losses import DomainLogits, label_cross_entropy, three_part_loss
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.sampler import DomainSampler, Draw
from ClaireDSALib.training.adaptation.settings import PRESETS, AdaptSettings
from ClaireDSALib.training.metrics import balanced_accuracy

CHECKPOINT = "checkpoint.pth.tar"
BEST = "model_best.pth.tar"


@dataclass(frozen=True)
class PublishedData:
    """Pictures with one label each: column 0 of their targets.

    Parameters
    ----------
    source, labelled, unlabelled : Prepared
    target_validation : Prepared
        Labelled target pictures that choose the epoch.
    """

    source: Prepared
    labelled: Prepared
    unlabelled: Prepared
    target_validation: Prepared

    def __post_init__(self) -> None:
        for name in ("source", "labelled", "target_validation"):
            part = getattr(self, name)
            if len(part) == 0 or (part.targets[:, 0] < 0).any():
                msg = f"every picture of {name!r} needs its label; got {len(part)} pictures"
                raise ValueError(msg)


def train_published(
    data: PublishedData,
    out: Path,
    *,
    settings: AdaptSettings = PRESETS["published"],
    report: Callable[[str], None] = lambda _: None,
) -> tuple[Conv5Fc3Ssda, list[dict[str, float]]]:
    """Train from nothing; checkpoints in the published layout, the best epoch by the target head on target validation.

    Parameters
    ----------
    data : PublishedData
    out : Path
        ``checkpoint.pth.tar`` is the last epoch, ``model_best.pth.tar`` the best; run again to continue.
    settings : AdaptSettings
    report : callable
        Gets one line per epoch.

    Returns
    -------
    network : Conv5Fc3Ssda
        The best epoch, in evaluation mode.
    history : list of dict
        Per epoch: loss and balanced accuracy on target validation.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    classes = int(max(data.source.targets[:, 0].max(), data.target_validation.targets[:, 0].max())) + 1
    network = Conv5Fc3Ssda(data.source.images.shape[1:], output_size=max(2, classes))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    sampler = DomainSampler(
        len(data.source),
        len(data.labelled),
        len(data.unlabelled),
        batch_size=settings.batch_size,
        labelled_batch=settings.labelled_batch,
        seed=settings.seed,
    )
    begin, history, best = _restored(out, network, optimizer)
    for epoch in range(begin, int(settings.epochs)):
        network.train()
        alpha = reversal_strength(epoch / 10)
        losses = [
            _step(network, optimizer, data, sampler.at(epoch * sampler.steps_per_epoch + k), alpha, settings)
            for k in range(sampler.steps_per_epoch)
        ]
        found = target_balanced_accuracy(network, data.target_validation)
        history.append({"epoch": epoch, "loss": float(np.mean(losses)), "balanced_accuracy": found})
        if found > best:
            best = found
            write_checkpoint(network, out / BEST, epoch)
        _save(out, network, optimizer, epoch, history, best)
        report(f"epoch {epoch + 1} of {int(settings.epochs)}: loss {np.mean(losses):.3f}, target {found:.3f}")
    chosen, _ = read_checkpoint(out / BEST, network.input_size)
    return chosen, history


def target_balanced_accuracy(network: Conv5Fc3Ssda, pictures: Prepared, *, head: str = "target") -> float:
    """Balanced accuracy of one head on labelled pictures."""
    network.eval()
    with torch.inference_mode():
        parts = [getattr(network(pictures.tensor(i)), head) for i in np.array_split(np.arange(len(pictures)), 8)]
    return balanced_accuracy(pictures.targets[:, 0], torch.cat(parts).argmax(dim=1).numpy())


def _step(
    network: Conv5Fc3Ssda,
    optimizer: torch.optim.Optimizer,
    data: PublishedData,
    draw: Draw,
    alpha: float,
    settings: AdaptSettings,
) -> float:
    source = network(data.source.tensor(draw.source), alpha)
    # batch norm over a batch of one picture is defined, because it also runs over the pixels
    labelled = network(data.labelled.tensor(draw.labelled), alpha)
    empty = torch.zeros((0, 2))
    unlabelled = network(data.unlabelled.tensor(draw.unlabelled), alpha).domain if len(draw.unlabelled) else empty
    sizes = (source.source.shape[1],)
    parts = three_part_loss(
        label_cross_entropy(source.source, torch.from_numpy(data.source.targets[draw.source, :1]), sizes),
        label_cross_entropy(labelled.target, torch.from_numpy(data.labelled.targets[draw.labelled, :1]), sizes),
        DomainLogits(source.domain, labelled.domain, unlabelled),
        domain_weight=settings.domain_weight,
    )
    optimizer.zero_grad(set_to_none=True)
    parts.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(parts.total.detach())


def _save(
    out: Path,
    network: Conv5Fc3Ssda,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    history: list[dict[str, float]],
    best: float,
) -> None:
    """Published checkpoint, with what a continuation needs beside it."""
    write_checkpoint(network, out / CHECKPOINT, epoch)
    state = {"optimizer": optimizer.state_dict(), "history": history, "best": best, "model": network.state_dict()}
    part = out / "state.part"
    torch.save(state, part)
    part.replace(out / "state.pt")


def _restored(
    out: Path, network: Conv5Fc3Ssda, optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]], float]:
    file = out / "state.pt"
    if not file.is_file():
        return 0, [], -1.0
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict(network_for(state["model"], network.input_size).state_dict())
    optimizer.load_state_dict(state["optimizer"])
    return len(state["history"]), state["history"], state["best"]
