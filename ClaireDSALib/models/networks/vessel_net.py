"""The vessel network: MONAI's U-Net with features at full resolution, slim enough for a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet
from torch import nn

CHANNELS = (16, 32, 48, 64, 96, 16)
"""Widths of the five levels, finest first, and of the last full-resolution stage."""


class VesselNet(nn.Module):
    """Logits of vessel, artery and vein, ``(B, C, h, w)`` relative opacity to ``(B, 3, h, w)``.

    Vessels one or two pixels wide need convolutions at full resolution on the way down and up, which MONAI's residual
    U-Net leaves out. Batch normalisation, not instance normalisation: a patch in training and a whole picture
    afterwards must see the same statistics.

    Parameters
    ----------
    channels : sequence of 6 int
        As ``CHANNELS``; h and w must be divisible by 16.
    in_channels : int
        1 for the MinIP alone, 3 with the early and the late part of the passage beside it.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = tuple(int(c) for c in channels)
        self.unet = BasicUNet(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=3,
            features=self.channels,  # type: ignore[arg-type]
            norm="batch",
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.unet(image)
