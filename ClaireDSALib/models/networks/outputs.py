"""What every label network returns, whatever its design."""

from __future__ import annotations

from typing import NamedTuple

import torch


class NetworkOutputs(NamedTuple):
    """Outputs for a batch of B pictures; K = classes of all labels in the metadata's order."""

    probabilities: torch.Tensor
    """(B, K) calibrated, summing to one within each label."""
    cam: torch.Tensor
    """(B, K, h, w) Grad-CAM before its ReLU, logit units."""
    cam_plus_plus: torch.Tensor
    """(B, K, h, w) Grad-CAM++, logit units."""
    outlier_score: torch.Tensor
    """(B,) distance from the training pictures; NaN when the bundle has no statistics for it."""


def softmax_per_label(logits: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Softmax within each label: ``logits (B, K)``, ``sizes`` classes per label summing to K."""
    return torch.cat([part.softmax(dim=1) for part in logits.split(sizes, dim=1)], dim=1)
