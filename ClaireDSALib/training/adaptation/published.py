"""The published recipe on the published network: three streams, one objective, selection on target validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ClaireDSALib.models.labels import LabelSpec
from ClaireDSALib.models.networks.loizillon import (
    Conv5Fc3Ssda,
    network_for,
    read_checkpoint,
    reversal_strength,
    write_checkpoint,
)
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.adaptation.losses import DomainLogits, label_cross_entropy, three_part_loss
from ClaireDSALib.training.adaptation.prepared import Prepared, prepare_pictures
from ClaireDSALib.training.adaptation.sampler import DomainSampler, Draw
from ClaireDSALib.training.adaptation.settings import PRESETS, AdaptSettings
from ClaireDSALib.training.metrics import balanced_accuracy
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.splits import split_patients
from ClaireDSALib.training.train_bundle import training_parts

CHECKPOINT = "checkpoint.pth.tar"
BEST = "model_best.pth.tar"
MIN_PATIENTS = 4


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
        found = balanced_accuracy(
            data.target_validation.targets[:, 0], predicted_classes(network, data.target_validation)
        )
        history.append({"epoch": epoch, "loss": float(np.mean(losses)), "balanced_accuracy": found})
        if found > best:
            best = found
            write_checkpoint(network, out / BEST, epoch)
        _save(out, network, optimizer, epoch, history, best)
        report(f"epoch {epoch + 1} of {int(settings.epochs)}: loss {np.mean(losses):.3f}, target {found:.3f}")
    chosen, _ = read_checkpoint(out / BEST, network.input_size)
    return chosen, history


def train_objective(
    source: LabelledPictures,
    target: LabelledPictures,
    out: Path,
    *,
    size_px: int = 96,
    settings: AdaptSettings = PRESETS["published"],
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train for the first label of an objective and measure both heads.

    Parameters
    ----------
    source, target : LabelledPictures
        Of one objective; the target's labels are unknown but for the few that were given, a quarter of whose patients
        choose the epoch.
    out : Path
    size_px : int
        Side of the network's input.

    Returns
    -------
    dict
        Label, counts, balanced accuracy and recall per class of the target head on target validation, of the source
        head on source validation.
    """
    spec, label = InputSpec(size_px=size_px, views=("linear",)), source.labels.labels[0]
    known = source.subset(np.flatnonzero(source.targets[:, 0] >= 0))
    train, validation = (prepare_pictures(p, spec) for p in training_parts(known, settings.seed))
    given = prepare_pictures(target.subset(np.flatnonzero(target.targets[:, 0] >= 0)), spec)
    if len(np.unique(given.patients)) < MIN_PATIENTS:
        msg = f"the recipe needs labelled target runs of at least {MIN_PATIENTS} patients; got {len(given)} runs"
        raise ValueError(msg)
    first, second = split_patients(given.patients, (0.75, 0.25), settings.seed)
    data = PublishedData(train, given.subset(first), prepare_pictures(target, spec), given.subset(second))
    network, history = train_published(data, out, settings=settings, report=report)
    found = {
        "label": label.name,
        "runs": {"source": len(train), "labelled_target": len(first), "target": len(target)},
        "target_validation": _figures(network, data.target_validation, label, "target"),
        "source_validation": _figures(network, validation, label, "source"),
        "checkpoint": BEST,
        "history": history,
    }
    (out / "result.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _figures(network: Conv5Fc3Ssda, pictures: Prepared, label: LabelSpec, head: str) -> dict[str, Any]:
    predicted, truth = predicted_classes(network, pictures, head=head), pictures.targets[:, 0]
    recall = {
        cls: float((predicted[truth == k] == k).mean()) for k, cls in enumerate(label.classes) if (truth == k).any()
    }
    return {"n": len(truth), "balanced_accuracy": float(np.mean(list(recall.values()))), "recall": recall}


def predicted_classes(network: Conv5Fc3Ssda, pictures: Prepared, *, head: str = "target") -> npt.NDArray[np.int64]:
    """Classes ``(N,)`` according to one head."""
    network.eval()
    with torch.inference_mode():
        parts = [
            getattr(network(pictures.tensor(i)), head) for i in np.array_split(np.arange(len(pictures)), 8) if len(i)
        ]
    return torch.cat(parts).argmax(dim=1).numpy()


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
