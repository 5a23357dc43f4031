"""The vessel network: MONAI's residual U-Net, slim enough for a CPU at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import UNet
from torch import nn


class VesselNet(nn.Module):
    """Logits of vessel, artery and vein, ``(B, C, h, w)`` relative opacity to ``(B, 3, h, w)``.

    Batch normalisation, not instance normalisation: a patch in training and a whole picture afterwards must see the
    same statistics.

    Parameters
    ----------
    channels : sequence of int
        Widths of the levels; h and w must be divisible by ``2 ** (levels - 1)``.
    in_channels : int
        1 for the MinIP alone, 3 with the early and the late part of the passage beside it.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 96, 128), in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.unet = UNet(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=3,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=2,
            norm="BATCH",
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.unet(image)
