"""Out-of-distribution score inside the network, so that every engine gives the same one.

Features are compared with the training pictures by a Mahalanobis distance (Lee et al., NeurIPS 2018) whose
covariance keeps the leading components and one common variance for all others, plus a linear
detector trained on pictures that are no cerebral angiograms (outlier exposure, Hendrycks et al., ICLR 2019).
"""

from __future__ import annotations

import torch
from torch import nn


class OutlierScore(nn.Module):
    """Score ``(B,)`` of pooled features ``(B, C)``; NaN until :meth:`fit` has run.

    Notes
    -----
    ``score = distance_weight * log(distance) + detector(features)``. The bundle's metadata holds the threshold.
    """

    def __init__(self, channels: int, components: int = 32) -> None:
        super().__init__()
        components = min(components, channels - 1)
        self.detector = nn.Linear(channels, 1)
        self.register_buffer("center", torch.zeros(channels))
        self.register_buffer("axes", torch.zeros(channels, components))
        self.register_buffer("variances", torch.full((components,), float("nan")))
        self.register_buffer("rest_variance", torch.ones(()))
        self.register_buffer("distance_weight", torch.ones(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.distance_weight * self.distance(features).log() + self.detector(features).squeeze(1)

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """Mahalanobis distance per dimension ``(B,)``; about one for training pictures."""
        centred = features - self.center
        along = centred @ self.axes
        rest = (centred.square().sum(dim=1) - along.square().sum(dim=1)).clamp(min=0)
        total = (along.square() / self.variances).sum(dim=1) + rest / self.rest_variance
        return (total / features.shape[1]).clamp(min=1e-6).sqrt()

    @torch.no_grad()
    def fit(self, features: torch.Tensor) -> None:
        """Set centre and covariance from training features ``(N, C)``.

        Raises
        ------
        ValueError
            When there are too few pictures for the number of components.
        """
        n, channels = features.shape
        components = self.axes.shape[1]
        if n <= components:
            msg = f"the outlier score needs more than {components} pictures; got {n}"
            raise ValueError(msg)
        center = features.double().mean(dim=0)
        _, singular, axes = torch.linalg.svd(features.double() - center, full_matrices=False)
        spectrum = singular.square() / (n - 1)
        rest = spectrum[components:].sum() / max(channels - components, 1)
        self.center.copy_(center)
        self.axes.copy_(axes[:components].T)
        self.rest_variance.copy_(rest.clamp(min=1e-8))
        self.variances.copy_(spectrum[:components].clamp(min=1e-8))
