"""A small cascade for vessels: fixed Gaussian features at several scales, and two learnt networks over pixels.

The first network judges a pixel by local brightness, edges and ridges at five scales; the second looks at the same
again together with what the first said around it. The features turn with the picture, so little has to be learnt: the
cascade is trained on a share of a CPU in minutes, where a U-Net needs hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 6
"""The picture, and five times halved."""

HIDDEN = (32, 32)
_SIGMA = 1.0
_RADIUS = 3
_PEAK_LEVELS, _TIME_LEVELS, _MAP_LEVELS = (0, 1, 2, 3, 4), (0, 1, 2), (0, 1, 2, 3)
_MEAN_LEVELS = (5,)


class VesselCascade(nn.Module):
    """Logits of vessel, artery and vein, ``(B, 3, h, w)`` relative opacity to ``(B, 3, h, w)``; h, w divisible by 32.

    Parameters
    ----------
    hidden : two int
        Widths of the two pixel networks.
    """

    in_channels = 3

    def __init__(self, hidden: Sequence[int] = HIDDEN) -> None:
        super().__init__()
        self.hidden = tuple(int(h) for h in hidden)
        self.register_buffer("kernels", _gaussian_kernels(), persistent=False)
        self.first = PixelNet(N_FIRST, self.hidden[0])
        self.second = PixelNet(N_FIRST + N_CONTEXT, self.hidden[1])

    def forward(self, image: Tensor) -> Tensor:
        features = self.features(image)
        return self.second(torch.cat([features, self.context(self.first(features))], 1))

    def features(self, image: Tensor) -> Tensor:
        """``(B, N_FIRST, h, w)``: the channels themselves, and smoothed value, edge and both curvatures per scale."""
        peak, times = image[:, :1], image[:, 1:]
        wide = [_like(_halved(peak, level), peak) for level in _MEAN_LEVELS]
        timed = (times.abs().amax((1, 2, 3), keepdim=True) > 0).to(image.dtype).expand_as(peak)
        return torch.cat(
            [
                image,
                timed,
                *wide,
                *(self._at(peak, level) for level in _PEAK_LEVELS),
                *(self._at(times, level) for level in _TIME_LEVELS),
            ],
            1,
        )

    def context(self, logits: Tensor) -> Tensor:
        """``(B, N_CONTEXT, h, w)``: the first network's probabilities seen at several scales."""
        maps = logits.sigmoid()
        return torch.cat([logits, *(self._at(maps, level) for level in _MAP_LEVELS)], 1)

    def _at(self, channels: Tensor, level: int) -> Tensor:
        """Value, edge strength, lower and upper curvature of every channel at a scale, ``(B, 4 C, h, w)``."""
        small = _halved(channels, level)
        batch, count, height, width = small.shape
        padded = functional.pad(small.reshape(batch * count, 1, height, width), (_RADIUS,) * 4, mode="replicate")
        value, gx, gy, gxx, gxy, gyy = functional.conv2d(padded, self.kernels).split(1, 1)
        edge = (gx * gx + gy * gy + 1e-8).sqrt()
        mean, spread = 0.5 * (gxx + gyy), (0.25 * (gxx - gyy) ** 2 + gxy * gxy + 1e-8).sqrt()
        found = torch.cat([value, edge, mean - spread, mean + spread], 1).reshape(batch, 4 * count, height, width)
        return _like(found, channels)


N_FIRST = 3 + 1 + len(_MEAN_LEVELS) + 4 * len(_PEAK_LEVELS) + 8 * len(_TIME_LEVELS)
N_CONTEXT = 3 + 12 * len(_MAP_LEVELS)


class PixelNet(nn.Module):
    """Standardised features, two hidden layers, three logits; each pixel by itself."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, inputs, 1, 1))
        self.register_buffer("scale", torch.ones(1, inputs, 1, 1))
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 3, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers((features - self.mean) * self.scale)

    def standardise(self, features: Tensor) -> None:
        """Take mean and spread from samples ``(N, inputs)``."""
        self.mean.copy_(features.mean(0)[None, :, None, None])  # type: ignore[operator]
        self.scale.copy_((features.var(0) + 1e-6).rsqrt()[None, :, None, None])  # type: ignore[operator]


def _halved(channels: Tensor, level: int) -> Tensor:
    return functional.avg_pool2d(channels, 2**level) if level else channels


def _like(small: Tensor, picture: Tensor) -> Tensor:
    if small.shape[2:] == picture.shape[2:]:
        return small
    return functional.interpolate(small, size=picture.shape[2:], mode="bilinear", align_corners=False)


def _gaussian_kernels() -> Tensor:
    """(6, 1, 7, 7): Gaussian and its derivatives x, y, xx, xy, yy of ``_SIGMA`` px."""
    at = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float32)
    g = torch.exp(-0.5 * (at / _SIGMA) ** 2) / (_SIGMA * math.sqrt(2 * math.pi))
    first, second = -at / _SIGMA**2 * g, (at**2 / _SIGMA**4 - 1 / _SIGMA**2) * g
    second = second - second.mean()
    pairs = [(g, g), (g, first), (first, g), (g, second), (first, first), (second, g)]
    return torch.stack([torch.outer(rows, columns) for rows, columns in pairs])[:, None]
