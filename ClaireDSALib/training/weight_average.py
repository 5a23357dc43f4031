"""Running mean of a network's weights, which is steadier than the weights of any one step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

_WARM_UP = 10.0


def running_mean(network: nn.Module, decay: float) -> AveragedModel:
    """A model whose ``module`` holds the exponential mean of ``network``'s weights and buffers.

    The decay rises from a tenth to ``decay`` with the number of updates, so that a short training does not keep the
    weights it started with.

    Parameters
    ----------
    network : nn.Module
    decay : float
        Share of the mean that one update keeps, below 1.
    """

    @torch.no_grad()
    def average(means: list[torch.Tensor], weights: list[torch.Tensor], n_averaged: torch.Tensor | int) -> None:
        n = float(n_averaged)
        share = 1.0 - min(decay, (1.0 + n) / (_WARM_UP + n))
        for mean, weight in zip(means, weights, strict=True):
            if mean.is_floating_point():
                mean.lerp_(weight, share)
            else:
                mean.copy_(weight)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)
