"""Training of the shared-trunk label network within a wall-clock budget; resumable."""

from __future__ import annotations

import copy
import json
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
from torch.nn import functional

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.models.networks import SharedTrunkClassifier
from ClaireDSALib.models.networks.efficientnet_lite import EfficientNetLite
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.augment import plain
from ClaireDSALib.training.batches import Batch, BatchMaker, prefetched
from ClaireDSALib.training.pretrained import initialise
from ClaireDSALib.training.roc import macro_auc
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.settings import FitSettings

Report = Callable[[str], None]
CHECKPOINT_NAME = "checkpoint.pt"


@dataclass
class FitState:
    """What a training needs to go on after an interruption."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    elapsed_s: float = 0.0
    step: int = 0
    best: float = -1.0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    worse: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write in one step, so that an interruption leaves the previous checkpoint."""
        data = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "plain": {k: getattr(self, k) for k in ("elapsed_s", "step", "best", "worse", "history")},
        }
        part = path.with_suffix(".part")
        torch.save(data, part)
        part.replace(path)

    def restore(self, path: Path) -> None:
        data = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(data["network"])
        self.average.load_state_dict(data["average"])
        self.optimizer.load_state_dict(data["optimizer"])
        self.best_weights = data["best_weights"]
        for key, value in data["plain"].items():
            setattr(self, key, value)


def fit(
    train: LabelledPictures,
    validation: LabelledPictures,
    settings: FitSettings,
    out: Path,
    *,
    volume: npt.NDArray[np.floating] | None = None,
    report: Report = lambda _: None,
    log: Callable[[dict[str, float]], None] = lambda _: None,
    resume: bool = True,
    network: nn.Module | None = None,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train; the averaged weights with the best macro AUC on validation are returned.

    Parameters
    ----------
    train, validation : LabelledPictures
        Of different patients.
    settings : FitSettings
    out : Path
        Checkpoints are written here; an interrupted training continues from them.
    volume : (z, y, x) float ndarray, optional
        CT volume sliced for outliers.
    report : callable
        Gets one line of progress with the time left.
    log : callable
        Gets numbers per validation, for TensorBoard or MLflow.
    network : nn.Module, optional
        Another network with ``logits``; without it the shared trunk is built.

    Returns
    -------
    network : nn.Module
        In evaluation mode, uncalibrated.
    history : list of dict
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if network is None:
        network = make_shared_trunk(train.labels, settings, report)
    state = _fresh_state(network.to(device, memory_format=torch.channels_last), settings)
    checkpoint = out / CHECKPOINT_NAME
    if resume and checkpoint.is_file():
        state.restore(checkpoint)
        report(f"continuing after {state.elapsed_s / 60:.1f} min and {state.step} steps")
    maker = BatchMaker(
        train,
        settings.batch_size,
        outlier_share=settings.outlier_share,
        seed=settings.seed + state.step,
        volume=volume,
        views=settings.views,
    )
    maker.drawn = state.step * (settings.batch_size - maker.n_outliers)
    while not _is_over(state, settings, maker, len(train)):
        _train_until_validation(state, maker, settings, len(train), device)
        _validate(state, validation, settings)
        state.save(checkpoint)
        log(state.history[-1])
        report(_progress_line(state, settings))
    state.average.load_state_dict(state.best_weights)
    return state.average.to("cpu").eval(), state.history


def make_shared_trunk(
    labels: LabelSet, settings: FitSettings, report: Report = lambda _: None
) -> SharedTrunkClassifier:
    """Build the network, started from ImageNet weights when the settings say so and the package is there."""
    network = SharedTrunkClassifier([len(x.classes) for x in labels.labels], trunk=settings.trunk)
    report(initialise(network, settings))
    return network


def label_loss(logits: torch.Tensor, targets: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Mean cross entropy over labels; unknown targets (-1) count for nothing."""
    losses = []
    for part, target in zip(logits.split(sizes, dim=1), targets.T, strict=True):
        if (target >= 0).any():
            losses.append(functional.cross_entropy(part, target, ignore_index=-1))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def predict_logits(
    network: nn.Module, images: npt.NDArray[np.uint16], spec: InputSpec, batch_size: int = 32
) -> npt.NDArray[np.float32]:
    """Uncalibrated logits ``(N, K)`` of cached pictures, prepared as at inference."""
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            prepared = np.stack([plain(x, spec) for x in images[start : start + batch_size]])
            batch = torch.from_numpy(prepared).to(device, memory_format=torch.channels_last)
            parts.append(network.logits(batch).float().cpu().numpy())  # type: ignore[operator]
    return np.concatenate(parts)


def mean_macro_auc(logits: npt.NDArray[np.floating], pictures: LabelledPictures) -> tuple[float, dict[str, float]]:
    """Macro AUC per label and their mean over the labels with at least two classes present."""
    values = {}
    for position, label in enumerate(pictures.labels.labels):
        known = pictures.targets[:, position] >= 0
        scores = logits[known][:, pictures.labels.slice_of(label.name)]
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True)) if len(scores) else scores
        probabilities = shifted / shifted.sum(axis=1, keepdims=True) if len(scores) else shifted
        values[label.name] = macro_auc(pictures.targets[known, position], probabilities, n_boot=0).value
    finite = [v for v in values.values() if math.isfinite(v)]
    return (float(np.mean(finite)) if finite else 0.0), values


def _fresh_state(network: nn.Module, settings: FitSettings) -> FitState:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
    )
    return FitState(network, copy.deepcopy(network).eval(), optimizer)


def _fraction(state: FitState, settings: FitSettings, drawn: int, n_train: int) -> float:
    """Share of the budget that is used: time or epochs, whichever is further."""
    return max(state.elapsed_s / 60 / settings.max_minutes, drawn / n_train / settings.max_epochs)


def _is_over(state: FitState, settings: FitSettings, maker: BatchMaker, n_train: int) -> bool:
    if settings.patience and state.worse >= settings.patience:
        return True
    return _fraction(state, settings, maker.drawn, n_train) >= 1


def _train_until_validation(
    state: FitState, maker: BatchMaker, settings: FitSettings, n_train: int, device: str
) -> None:
    """Train for one part of the budget at one input size."""
    begin = _fraction(state, settings, maker.drawn, n_train)
    goal = min(1.0, (math.floor(begin * settings.validations + 1e-6) + 1) / settings.validations)
    warm = begin < settings.warm_fraction - 1e-6
    size_px = settings.warm_size_px if warm else settings.size_px
    _set_training(state.network, -1 if warm else settings.frozen_blocks)
    losses = []
    with prefetched(maker, size_px) as batches:
        start = time.perf_counter()
        for batch in batches:
            fraction = _fraction(state, settings, state.step * (settings.batch_size - maker.n_outliers), n_train)
            for group in state.optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(fraction)
            losses.append(_step(state, batch, settings, device))
            state.step += 1
            start, before = time.perf_counter(), start
            state.elapsed_s += start - before
            if _fraction(state, settings, state.step * (settings.batch_size - maker.n_outliers), n_train) >= goal:
                break
    maker.drawn = state.step * (settings.batch_size - maker.n_outliers)
    state.history.append({"minutes": state.elapsed_s / 60, "step": state.step, "loss": float(np.mean(losses))})


def _set_training(network: nn.Module, frozen_blocks: int) -> None:
    """Training mode, with the stem and the first blocks of a shared trunk left as they are."""
    network.train()
    if not isinstance(network, SharedTrunkClassifier):
        return
    network.trunk.requires_grad_(True)
    if frozen_blocks >= 0 and isinstance(network.trunk, EfficientNetLite):
        for part in (network.trunk.stem, *network.trunk.blocks[:frozen_blocks]):
            part.requires_grad_(False)
            part.eval()


def _step(state: FitState, batch: Batch, settings: FitSettings, device: str) -> float:
    images = torch.from_numpy(batch.images).to(device, memory_format=torch.channels_last)
    targets = torch.from_numpy(batch.targets).to(device)
    outlier = torch.from_numpy(batch.is_outlier).to(device)
    with torch.autocast("cuda", enabled=device == "cuda"):
        loss = _loss(state.network, images, targets, outlier)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
    state.optimizer.step()
    decay = min(settings.average_decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, value in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
    return float(loss.detach())


def _loss(network: nn.Module, images: torch.Tensor, targets: torch.Tensor, outlier: torch.Tensor) -> torch.Tensor:
    if not isinstance(network, SharedTrunkClassifier):
        return label_loss(network.logits(images), targets, network.class_counts)  # type: ignore[operator, arg-type]
    pooled = network.features(images)
    logits = network.head(network.dropout(pooled))
    loss = label_loss(logits, targets, network.class_counts)
    if outlier.any():
        found = network.outliers.detector(pooled).squeeze(1)
        loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(found, outlier.float())
    return loss


def _schedule(fraction: float) -> float:
    """Rise over the first 4 % of the budget, then half a cosine to a hundredth."""
    if fraction < 0.04:
        return 0.05 + 0.95 * fraction / 0.04
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (fraction - 0.04) / 0.96)))


def _validate(state: FitState, validation: LabelledPictures, settings: FitSettings) -> None:
    logits = predict_logits(state.average.eval(), validation.images, settings.input_spec)
    mean, per_label = mean_macro_auc(logits, validation)
    state.history[-1].update({"macro_auc": mean, **{f"auc_{k}": v for k, v in per_label.items()}})
    state.worse += 1
    if mean >= state.best:
        state.best, state.worse = mean, 0
        state.best_weights = {k: v.detach().cpu().clone() for k, v in state.average.state_dict().items()}


def _progress_line(state: FitState, settings: FitSettings) -> str:
    last = state.history[-1]
    labels = " ".join(f"{k[4:]} {v:.3f}" for k, v in last.items() if k.startswith("auc_"))
    left = max(0.0, settings.max_minutes - state.elapsed_s / 60)
    return (
        f"{last['minutes']:.1f} min, step {state.step}, loss {last['loss']:.3f}, "
        f"macro AUC {last['macro_auc']:.4f} (best {state.best:.4f}) | {labels} | at most {left:.1f} min left"
    )


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """Write the training's numbers as JSON."""
    finite = [{k: (v if math.isfinite(v) else None) for k, v in row.items()} for row in history]
    path.write_text(json.dumps(finite, indent=1) + "\n", encoding="utf-8")


def train_from_config(data: str, out: str, settings: dict[str, Any]) -> None:
    """Entry of a bundle's ``train.json``; see :func:`ClaireDSALib.training.train_bundle.train_bundle`."""
    from ClaireDSALib.training.train_bundle import train_bundle

    train_bundle(Path(data), Path(out), FitSettings.from_dict(settings))
