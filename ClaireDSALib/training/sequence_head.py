"""Train the last layers of the maps branch to convergence on features computed once: seconds instead of hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import SequenceNet
from ClaireDSALib.training.sequence_assessable import assessable, twin_groups
from ClaireDSALib.training.sequence_augment import augment
from ClaireDSALib.training.sequence_cache import FeatureCache
from ClaireDSALib.training.sequence_examples import SequenceExample
from ClaireDSALib.training.sequence_fit import batch_of

_BATCH_GROUPS = 8


@dataclass(frozen=True)
class PooledFeatures:
    """Runs a yes or no can be asked of: ``features`` (N, F), ``labels`` (N,) 0 or 1, ``groups`` (N,) of twins."""

    features: Tensor
    labels: Tensor
    groups: Tensor


@torch.no_grad()
def collect(
    network: SequenceNet, examples: Sequence[SequenceExample], cache: FeatureCache, *, passes: int = 0, seed: int = 0
) -> PooledFeatures:
    """Pooled features of every run, without augmentation or with ``passes`` different ones."""
    network.eval()
    usable, groups = assessable(examples), twin_groups(examples)
    generator = torch.Generator().manual_seed(seed)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(max(1, passes)):
        for first in range(0, len(groups), _BATCH_GROUPS):
            members = np.concatenate(groups[first : first + _BATCH_GROUPS])
            members = members[usable[members]]
            features = [cache.get(int(i), number) for i in members]
            batch, labels, twins = batch_of(examples, members, features, "cpu")
            if passes:
                batch = augment(batch, twins, generator)
            rows.append((network.maps.pooled(batch.maps)[0], labels, twins + first + number * len(groups)))
    return PooledFeatures(*(torch.cat(column) for column in zip(*rows, strict=True)))


def refine_head(
    network: SequenceNet,
    train: PooledFeatures,
    validation: PooledFeatures,
    *,
    epochs: int = 60,
    learning_rate: float = 1e-3,
    twin_weight: float = 0.3,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> float:
    """Train ``network.maps.thrombus_head`` in place; keeps the state of the lowest validation loss, and returns it."""
    torch.manual_seed(seed)
    head = network.maps.thrombus_head
    optimiser = torch.optim.AdamW(head.parameters(), learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    with torch.no_grad():
        best = _loss(head.eval(), validation, 0.0)
    kept = {k: v.clone() for k, v in head.state_dict().items()}
    report(f"validation loss before {float(best):.4f}")
    names = torch.unique(train.groups)
    for epoch in range(epochs):
        head.train()
        for chosen in names[torch.randperm(len(names))].split(32):
            rows = torch.isin(train.groups, chosen)
            part = PooledFeatures(train.features[rows], train.labels[rows], train.groups[rows])
            optimiser.zero_grad(set_to_none=True)
            _loss(head, part, twin_weight).backward()
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            value = _loss(head.eval(), validation, 0.0)
        if value < best:
            best, kept = value, {k: v.clone() for k, v in head.state_dict().items()}
            report(f"epoch {epoch + 1} validation loss {float(best):.4f}")
    head.load_state_dict(kept)
    network.eval()
    return float(best)


def _loss(head: nn.Module, part: PooledFeatures, twin_weight: float) -> Tensor:
    """Cross entropy, both classes weighing alike, and twin against twin."""
    logits = head(part.features)[:, 0]
    bce = nn.functional.binary_cross_entropy_with_logits(logits, part.labels, reduction="none")
    positive = part.labels > 0
    sides = [bce[side].mean() for side in (positive, ~positive) if bool(side.any())]
    loss = torch.stack(sides).mean()
    if not twin_weight:
        return loss
    pairs = (part.groups[:, None] == part.groups[None]) & (part.labels[:, None] > part.labels[None])
    apart = logits[:, None] - logits[None]
    return loss + (twin_weight * nn.functional.softplus(-apart)[pairs].mean() if bool(pairs.any()) else 0.0)
