"""The device network: where wires, stents, coils and clips stand out in the brightest picture of a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet
from torch import nn

WIDTHS = (16, 24, 32, 48, 64, 16)
"""Widths of the five levels, finest first, and of the last stage."""

STRIDE = 2
"""Pixels of the picture over those of the map."""


class DeviceNet(nn.Module):
    """Logit of a device at every second row and column, ``(B, 2, h, w)`` to ``(B, 1, h / 2, w / 2)``.

    One strided convolution sees wires a pixel wide at full resolution; MONAI's U-Net works at half of it.

    Parameters
    ----------
    widths : sequence of 6 int
        As ``WIDTHS``; h and w must be divisible by 32.
    in_channels : int
        See :func:`~ClaireDSALib.models.device_input.device_channels`.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, in_channels: int = 2) -> None:
        super().__init__()
        self.widths = tuple(int(w) for w in widths)
        first = self.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, 5, stride=STRIDE, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.LeakyReLU(0.1, inplace=True),
        )
        self.unet = BasicUNet(
            spatial_dims=2,
            in_channels=first,
            out_channels=1,
            features=self.widths,  # type: ignore[arg-type]
            norm="batch",
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.unet(self.stem(image))
