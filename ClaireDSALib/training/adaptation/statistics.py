"""Batch-norm statistics of another domain (AdaBN; Li et al., Pattern Recognit 2018), and looking at pictures."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.training.adaptation.parts import feature_channels, head_logits, pooled_features
from ClaireDSALib.training.adaptation.prepared import Prepared

BATCH = 64
LARGE_BATCH, LARGE = 8, 200_000
"""Pictures at a time, and the number of values in a picture from which on fewer are taken at a time."""
MOST = 600
"""Pictures that set the statistics; more change nothing."""


def with_statistics_of(network: nn.Module, pictures: Prepared, *, seed: int = 0) -> nn.Module:
    """Copy whose batch-norm layers have the mean and variance of some pictures; weights stay.

    Raises
    ------
    ValueError
        When there are fewer than eight pictures.
    """
    if len(pictures) < 8:
        msg = f"batch-norm statistics need at least 8 pictures; got {len(pictures)}"
        raise ValueError(msg)
    network = copy.deepcopy(network).eval()
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean over all batches
        norm.train()
    order = np.random.default_rng(seed).permutation(len(pictures))[:MOST]
    with torch.no_grad():
        for part in np.array_split(order, max(1, round(len(order) / batch_of(pictures)))):
            pooled_features(network, pictures.tensor(part))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def features_of(network: nn.Module, pictures: Prepared) -> npt.NDArray[np.float32]:
    """Pooled features ``(N, C)`` in evaluation mode."""
    parts = [np.zeros((0, feature_channels(network)), np.float32)]
    network.eval()
    with torch.inference_mode():
        batch = batch_of(pictures)
        for start in range(0, len(pictures), batch):
            places = np.arange(start, min(start + batch, len(pictures)))
            parts.append(pooled_features(network, pictures.tensor(places)).numpy())
    return np.concatenate(parts)


def batch_of(pictures: Prepared) -> int:
    """Pictures that go through a network at a time."""
    return LARGE_BATCH if np.prod(pictures.images.shape[1:]) > LARGE else BATCH


def logits_of(network: nn.Module, pictures: Prepared) -> npt.NDArray[np.float32]:
    """Uncalibrated logits ``(N, K)`` in evaluation mode."""
    with torch.inference_mode():
        return head_logits(network, torch.from_numpy(features_of(network, pictures))).numpy()
