"""The three-part loss: source labels, few target labels, and the domain of every picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

SOURCE, TARGET = 0, 1
"""Classes of the domain classifier."""


class LossParts(NamedTuple):
    """Terms of one step; ``total`` is what is minimised."""

    source: torch.Tensor
    target: torch.Tensor
    domain: torch.Tensor
    total: torch.Tensor


class DomainLogits(NamedTuple):
    """Domain logits ``(B, 2)`` of each stream."""

    source: torch.Tensor
    labelled: torch.Tensor
    unlabelled: torch.Tensor


def three_part_loss(
    source: torch.Tensor,
    target: torch.Tensor,
    domain: DomainLogits,
    *,
    domain_weight: float,
    source_weights: torch.Tensor | None = None,
) -> LossParts:
    """``source + target + domain_weight * domain`` (Loizillon et al.: weight 0.1).

    Parameters
    ----------
    source, target : Tensor
        Label losses of the source and of the labelled target pictures.
    domain : DomainLogits
        An empty stream counts for nothing.
    domain_weight : float
    source_weights : (B,) Tensor, optional
        Weight of each source picture in the domain term, mean about one.
    """
    terms = (
        domain_loss(domain.source, SOURCE, source_weights)
        + domain_loss(domain.labelled, TARGET)
        + domain_loss(domain.unlabelled, TARGET)
    )
    return LossParts(source, target, terms, source + target + domain_weight * terms)


def domain_loss(logits: torch.Tensor, domain: int, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Cross entropy of pictures that all belong to one domain; zero for none."""
    if len(logits) == 0:
        return logits.sum()
    truth = torch.full((len(logits),), domain, dtype=torch.long, device=logits.device)
    losses = functional.cross_entropy(logits, truth, reduction="none")
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def label_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    sizes: Sequence[int],
    class_weights: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Mean cross entropy over labels; unknown targets (-1) count for nothing.

    Parameters
    ----------
    logits : (B, K) Tensor
    targets : (B, L) Tensor
    sizes : sequence of int
        Classes per label.
    class_weights : sequence of (K_l,) Tensor, optional
        Weight of each class, per label.
    """
    losses = []
    for k, part in enumerate(logits.split(tuple(sizes), dim=1)):
        known = targets[:, k] >= 0
        if not known.any():
            continue
        each = functional.cross_entropy(part[known], targets[known, k], reduction="none")
        weight = torch.ones_like(each) if class_weights is None else class_weights[k][targets[known, k]]
        losses.append((each * weight).sum() / weight.sum())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def inverse_shares(targets: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
    """Weight of each class per label, so that all classes seen count alike; at most 4 times the mean."""
    weights = []
    for k, size in enumerate(sizes):
        counts = torch.bincount(targets[targets[:, k] >= 0, k], minlength=size).float()
        seen = counts > 0
        weight = torch.where(seen, counts.sum() / (seen.sum().clamp(min=1) * counts.clamp(min=1)), 1.0)
        weights.append(weight.clamp(max=4.0))
    return weights
