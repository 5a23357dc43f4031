"""One trunk, one linear head per label: all probabilities and all maps in a single pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ClaireDSALib.models.networks.efficientnet_lite import make_trunk
from ClaireDSALib.models.networks.outliers import OutlierScore
from ClaireDSALib.models.networks.outputs import NetworkOutputs, softmax_per_label


class SharedTrunkClassifier(nn.Module):
    """Trunk, average pooling, linear heads, temperature per label, outlier score.

    Parameters
    ----------
    class_counts : sequence of int
        Classes per label, in order.
    trunk : str
        Name in :data:`efficientnet_lite.TRUNKS`, or several joined by ``+``.
    mean, std : float
        Normalisation of the prepared picture (0 to 1), applied here so that every engine agrees.
    dropout : float
        On the pooled features, training only.

    Notes
    -----
    ``forward`` gives calibrated probabilities ``(B, K)``; ``explain`` adds maps and the outlier score.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        trunk: str = "efficientnet_lite0",
        mean: float = 0.5,
        std: float = 0.25,
        dropout: float = 0.2,
        outlier_components: int = 32,
    ) -> None:
        super().__init__()
        self.class_counts = tuple(int(n) for n in class_counts)
        self.trunk_name = trunk
        self.mean, self.std = float(mean), float(std)
        self.trunk = make_trunk(trunk)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.trunk.channels_out, sum(self.class_counts))
        self.register_buffer("temperature", torch.ones(len(self.class_counts)))
        self.outliers = OutlierScore(self.trunk.channels_out, outlier_components)

    def activations(self, image: torch.Tensor) -> torch.Tensor:
        """Last activations ``(B, C, h, w)`` of pictures ``(B, 1 or 3, H, W)`` in 0 to 1."""
        x = (image - self.mean) / self.std
        return self.trunk(x.expand(-1, 3, -1, -1))

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Pooled features ``(B, C)``."""
        return self.activations(image).mean(dim=(2, 3))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits ``(B, K)``, for training."""
        return self.head(self.dropout(self.features(image)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities ``(B, K)``."""
        weights, bias = self.calibrated_head()
        return softmax_per_label(nn.functional.linear(self.features(image), weights, bias), self.class_counts)

    def explain(self, image: torch.Tensor) -> NetworkOutputs:
        """Probabilities, both maps and the outlier score."""
        activations = self.activations(image)
        pooled = activations.mean(dim=(2, 3))
        weights, bias = self.calibrated_head()
        positive = weights.clamp(min=0)
        plus_plus = positive / (2 + positive * pooled[:, None, :])  # (B, K, C)
        return NetworkOutputs(
            probabilities=softmax_per_label(nn.functional.linear(pooled, weights, bias), self.class_counts),
            cam=nn.functional.conv2d(activations, weights[:, :, None, None]),
            cam_plus_plus=torch.einsum("bkc,bchw->bkhw", plus_plus, activations),
            outlier_score=self.outliers(pooled),
        )

    def calibrated_head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights ``(K, C)`` and bias ``(K,)`` of the heads, calibrated and centred per label.

        Centring subtracts the mean over a label's classes: probabilities stay, and a map shows the evidence for
        its class against the label's other classes instead of an arbitrary common part.
        """
        weights, biases = [], []
        sizes = self.class_counts
        parts = zip(self.head.weight.split(sizes), self.head.bias.split(sizes), self.temperature, strict=True)
        for weight, bias, temperature in parts:
            weights.append((weight - weight.mean(dim=0, keepdim=True)) / temperature)
            biases.append((bias - bias.mean()) / temperature)
        return torch.cat(weights), torch.cat(biases)
