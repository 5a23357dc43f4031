"""Batch normalisation while a trained network is trained further."""

from __future__ import annotations

from torch import nn


def keep_norm(network: nn.Module) -> None:
    """Batch normalisation as in use, with the statistics it has, until the next ``network.train()``.

    Those of a small batch change from batch to batch, and with them every level that a network could learn to compare.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
