"""A bundle's network taken apart for adaptation: shared features, a head per domain, a domain classifier."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn

from ClaireDSALib.models.networks import NineResNets, SharedTrunkClassifier
from ClaireDSALib.models.networks.loizillon import reverse_gradient
from ClaireDSALib.models.networks.resnets import resnet_activations
from ClaireDSALib.training.adaptation.grades import GradeClassifier, GradeHead

ONE_HEAD = (SharedTrunkClassifier, GradeHead, GradeClassifier)
"""Networks with ``features`` and one linear ``head``."""


class Streams(NamedTuple):
    """Outputs of one batch of B pictures."""

    features: torch.Tensor
    """(B, C) pooled."""
    source: torch.Tensor
    """(B, K) logits of the source head."""
    target: torch.Tensor
    """(B, K) logits of the target head."""
    domain: torch.Tensor
    """(B, 2) domain logits behind the gradient reversal."""


class AdaptableNetwork(nn.Module):
    """Any label network with linear heads on pooled features, with what adaptation adds.

    Parameters
    ----------
    network : nn.Module
        One of a label bundle or of the quality bundle; copied. Its head becomes the source head, and a copy of it the
        target head, so that adaptation starts from what the bundle knows.
    domain_hidden : int
    seed : int
        Of the domain classifier's first weights.
    """

    def __init__(self, network: nn.Module, domain_hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.source_head = nn.ModuleList(copy.deepcopy(linear_heads(self.network)))
        self.target_head = nn.ModuleList(copy.deepcopy(linear_heads(self.network)))
        for parameter in network_head_parameters(self.network):
            parameter.requires_grad_(False)  # replaced by the two heads until the end
        channels = feature_channels(self.network)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.domain_head = nn.Sequential(
                nn.Dropout(0.5), nn.Linear(channels, domain_hidden), nn.ReLU(), nn.Linear(domain_hidden, 2)
            )
        self.dropout = nn.Dropout(0.2)

    def forward(self, images: torch.Tensor, alpha: float = 0.0) -> Streams:
        """All outputs; ``alpha`` scales the reversed gradient of the domain classifier."""
        features = pooled_features(self.network, images)
        dropped = self.dropout(features)
        return Streams(
            features,
            _apply(self.source_head, dropped),
            _apply(self.target_head, dropped),
            self.domain_head(reverse_gradient(features, alpha)),
        )

    @torch.no_grad()
    def finished(self, target_share: float) -> nn.Module:
        """The network as a bundle stores it, with one head.

        Parameters
        ----------
        target_share : float
            0 takes the source head, 1 the target head, between them their mean: heads are linear, so a mean of heads
            is the mean of their logits.
        """
        network = copy.deepcopy(self.network)
        for head, source, target in zip(linear_heads(network), self.source_head, self.target_head, strict=True):
            head.weight.copy_(torch.lerp(source.weight, target.weight, target_share))
            head.bias.copy_(torch.lerp(source.bias, target.bias, target_share))
        for parameter in network_head_parameters(network):
            parameter.requires_grad_(True)
        return network.eval()


def pooled_features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Features ``(B, C)`` in front of the heads; those of separate networks stand side by side."""
    if isinstance(network, ONE_HEAD):
        return network.features(images)
    if isinstance(network, NineResNets):
        x = (images.expand(-1, 3, -1, -1) - network.mean) / network.std
        return torch.cat([resnet_activations(net, x).mean(dim=(2, 3)) for net in network.networks.values()], dim=1)
    msg = f"adaptation knows label networks and the quality network; got {type(network).__name__}"
    raise TypeError(msg)


def head_logits(network: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Uncalibrated logits ``(B, K)`` of pooled features."""
    return _apply(linear_heads(network), features)


def linear_heads(network: nn.Module) -> list[nn.Linear]:
    """Linear layers on the features: one for all labels, or one per label's own features."""
    if isinstance(network, ONE_HEAD):
        return [network.head]
    if isinstance(network, NineResNets):
        return [net.fc for net in network.networks.values()]  # type: ignore[misc]
    msg = f"adaptation knows label networks and the quality network; got {type(network).__name__}"
    raise TypeError(msg)


def feature_channels(network: nn.Module) -> int:
    """Length of the pooled features."""
    return sum(head.in_features for head in linear_heads(network))


def network_head_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Parameters of the linear heads."""
    return [p for head in linear_heads(network) for p in head.parameters()]


def _apply(heads: nn.ModuleList | list[nn.Linear], features: torch.Tensor) -> torch.Tensor:
    parts = features.split([head.in_features for head in heads], dim=1)  # type: ignore[misc]
    return torch.cat([head(part) for head, part in zip(heads, parts, strict=True)], dim=1)
