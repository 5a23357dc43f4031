"""The lightweight network of the real-time path: vessels and picture quality in one pass.

After the abstract of Huang et al. 2025 (J. Appl. Sci. 43(4):672-683, doi 10.3969/j.issn.0255-8297.2025.04.009):
depthwise-separable backbone, local-global self-attention, feature aggregation on the skips, a quality head that sees
backbone features with and without the predicted mask. Widths, depths, window and token counts are our choice; the
paper's text says nothing about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ClaireDSALib.models.quality_input import GRADES

POOLED_LEVELS = 3
"""Deepest levels that the quality head sees; the shallowest of them, at 1/8, still tells noise from edges."""


class QualityOutput(NamedTuple):
    """Logits of one batch: ``vessels (B, 1, H, W)``; ``quality (B, 3)`` in the order of ``GRADES``."""

    vessels: Tensor
    quality: Tensor


class QualityNet(nn.Module):
    """Vessels and quality grade of relative opacity ``(B, C, H, W)``; H and W multiples of ``32 * window``.

    Channels that are not given, as those of a picture without frames, count as 0.

    Parameters
    ----------
    channels : sequence of five int
        Widths at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution.
    depths : sequence of four int
        Blocks at 1/4, 1/8, 1/16 and 1/32.
    window : int
        Side of the attention windows, in cells of the level.
    tokens : int
        Side of the grid of pooled global tokens.
    heads : int
        Attention heads.
    in_channels : int
        1 for the peak opacity alone, 5 with what the frames tell beside it.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 96, 192),
        depths: Sequence[int] = (2, 2, 3, 2),
        window: int = 4,
        tokens: int = 4,
        heads: int = 4,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = list(channels)
        half = widths[0]
        self.stem = _conv(in_channels, half, 5, stride=2)
        self.stages = nn.ModuleList(
            _stage(before, width, depth) for before, width, depth in zip(widths[:-1], widths[1:], depths, strict=True)
        )
        self.attention = LocalGlobalAttention(widths[-1], window, tokens, heads)
        self.aggregate = nn.ModuleList(
            FeatureAggregation(deeper, width) for deeper, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.vessel_head = nn.Sequential(nn.Conv2d(half, 4, 1), nn.PixelShuffle(2))
        pooled = 2 * sum(widths[-POOLED_LEVELS:])
        self.quality_head = nn.Sequential(
            nn.LayerNorm(pooled), nn.Linear(pooled, 64), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, len(GRADES))
        )

    def forward(self, image: Tensor) -> QualityOutput:
        vessels, pooled = self.describe(image)
        return QualityOutput(vessels, self.quality_head(pooled))

    def describe(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Vessel logits ``(B, 1, H, W)`` and the vector ``(B, F)`` that the quality head is given."""
        if image.shape[1] < self.in_channels:
            image = functional.pad(image, (0, 0, 0, 0, 0, self.in_channels - image.shape[1]))
        levels = [self.stem(image)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        levels[-1] = up = self.attention(levels[-1])
        for skip, aggregate in zip(levels[-2::-1], self.aggregate, strict=True):
            up = aggregate(up, skip)
        vessels = self.vessel_head(up)
        return vessels, _pooled(levels[-POOLED_LEVELS:], vessels)


class LocalGlobalAttention(nn.Module):
    """Each cell attends to the cells of its window and to tokens pooled from the whole picture.

    Parameters
    ----------
    width : int
        Channels.
    window, tokens : int
        Sides of a window and of the grid of global tokens, in cells.
    heads : int
    """

    def __init__(self, width: int, window: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.window, self.tokens, self.heads = window, tokens, heads
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, image: Tensor) -> Tensor:
        image = image + self.position(image)
        size = image.shape
        n, width = size[0], size[1]
        rows, columns = size[2] // self.window, size[3] // self.window
        cells = image.reshape(n, width, rows, self.window, columns, self.window)
        local = cells.permute(0, 2, 4, 3, 5, 1).reshape(n, rows * columns, self.window**2, width)
        grid = functional.avg_pool2d(image, (size[2] // self.tokens, size[3] // self.tokens))
        shared = grid.flatten(2).transpose(1, 2)  # (n, tokens ** 2, width)
        found = local + self._attend(self.norm(local), self.norm(shared))
        found = found + self.mix(found)
        back = found.reshape(n, rows, columns, self.window, self.window, width).permute(0, 5, 1, 3, 2, 4)
        return back.reshape(size)

    def _attend(self, local: Tensor, shared: Tensor) -> Tensor:
        n, windows, cells, width = local.shape
        everywhere = self.key_value(shared)[:, None].expand(n, windows, shared.shape[1], 2 * width)
        key, value = torch.cat([self.key_value(local), everywhere], 2).chunk(2, -1)
        query, key, value = (self._split(part) for part in (self.query(local), key, value))
        weights = torch.softmax(query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5, -1)
        mixed = (weights @ value).transpose(2, 3).reshape(n, windows, cells, width)
        return self.out(mixed)

    def _split(self, part: Tensor) -> Tensor:
        """``(n, windows, cells, width)`` to ``(n, windows, heads, cells, width / heads)``."""
        n, windows, cells, width = part.shape
        return part.reshape(n, windows, cells, self.heads, width // self.heads).transpose(2, 3)


class FeatureAggregation(nn.Module):
    """Joins the deeper level to a skip: 1x1 convolution of both, channel attention, separable convolution.

    A 1x1 convolution of the concatenated levels is the sum of one of each, and that of the deeper level can be made
    before it is enlarged; nothing is concatenated.

    Parameters
    ----------
    deeper, width : int
        Channels of the deeper level and of the skip; the result has those of the skip.
    """

    def __init__(self, deeper: int, width: int) -> None:
        super().__init__()
        self.from_deeper = nn.Conv2d(deeper, width, 1, bias=False)
        self.from_skip = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        squeezed = max(8, width // 4)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, width, 1),
            nn.Sigmoid(),
        )
        self.refine = SeparableBlock(width, width)

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        up = functional.interpolate(self.from_deeper(deeper), scale_factor=2.0, mode="nearest")
        joined = functional.relu(self.norm(up + self.from_skip(skip)))
        return self.refine(joined * self.weigh(joined))


class SeparableBlock(nn.Module):
    """Depthwise 3x3, then pointwise convolution; with a shortcut where the shape stays."""

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = before == width and stride == 1

    def forward(self, image: Tensor) -> Tensor:
        found = self.layers(image)
        return functional.relu(image + found if self.shortcut else found)


def _conv(before: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


def _stage(before: int, width: int, depth: int) -> nn.Sequential:
    first = SeparableBlock(before, width, stride=2)
    return nn.Sequential(first, *(SeparableBlock(width, width) for _ in range(depth - 1)))


def _pooled(levels: Sequence[Tensor], vessel_logits: Tensor) -> Tensor:
    """Means of the levels over the picture and over the predicted vessels; no gradient flows into the mask."""
    mask = vessel_logits.detach().sigmoid()
    parts = []
    for level in levels:
        factor = mask.shape[-1] // level.shape[-1]
        weight = functional.avg_pool2d(mask, factor)
        inside = (level * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)
        parts += [level.mean((2, 3)), inside]
    return torch.cat(parts, 1)
