"""Compact sequence network: thrombus yes/no, where, which territory is missing, and the phase of every frame.

One small convolutional encoder sees three neighbouring frames as channels; a bidirectional GRU follows the
pooled features over time; its attention gathers the spatial features of the frames that matter into one map
per head, from which the site and the missing territory are read. The recurrent design over per-frame features
follows Mittmann et al. (IJCARS 2022); attention, the site map and the size are our choices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PHASES = ("non_contrast", "arterial", "parenchymal", "venous")
"""Order of the phase outputs."""

N_TIME_FEATURES = 4
"""Seconds since the first frame, seconds to the frame before, mean opacity, share of pixels past their peak."""


@dataclass(frozen=True)
class SequenceNetConfig:
    """Widths of the network; stored in the bundle so that its weights find their shape."""

    channels: tuple[int, int, int, int] = (24, 40, 80, 128)
    hidden: int = 96
    n_attention: int = 4
    map_channels: int = 64

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SequenceNetConfig:
        return cls(**{**data, "channels": tuple(data["channels"])})


class SequenceOutput(NamedTuple):
    """Outputs for one run of T frames of S x S pixels."""

    thrombus: Tensor
    """() logit."""
    site: Tensor
    """(S/4, S/4) logits; their softmax over the map says where."""
    territory: Tensor
    """(S/4, S/4) logits of missing perfusion."""
    phases: Tensor
    """(T, 4) logits in the order of ``PHASES``."""
    attention: Tensor
    """(T, K) weights that sum to one over time."""


class SequenceNet(nn.Module):
    """Sequence network for one run at a time.

    ``forward(frames, times)`` takes ``frames`` (T, 3, S, S) float opacity of the frame before, the frame and the
    frame after, and ``times`` (T, 4) float, see ``N_TIME_FEATURES``. S must be divisible by 8.
    """

    def __init__(self, config: SequenceNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SequenceNetConfig()
        c1, c2, c3, c4 = self.config.channels
        hidden, k, m = self.config.hidden, self.config.n_attention, self.config.map_channels
        self.fine = nn.Sequential(_convolution(3, c1, 2), _separable(c1, c2, 2), _separable(c2, c2, 1))
        self.coarse = nn.Sequential(
            _separable(c2, c3, 2), _separable(c3, c3, 1), _separable(c3, c4, 1), _separable(c4, c4, 1)
        )
        self.project = nn.Sequential(nn.Linear(2 * c4 + N_TIME_FEATURES, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.phase_head = nn.Linear(2 * hidden, len(PHASES))
        self.attention_head = nn.Linear(2 * hidden, k)
        self.map_coarse = _convolution(k * c4, m, 1, kernel=1)
        self.map_fine = _convolution(k * c2, m, 1, kernel=1)
        self.map_mix = nn.Sequential(_separable(2 * m, m, 1), _separable(m, m, 1), _separable(m, m, 1))
        self.site_head = nn.Conv2d(m, 1, 1)
        self.territory_head = nn.Conv2d(m, 1, 1)
        self.thrombus_head = nn.Linear(2 * hidden + 2 * m + 1, 1)

    def forward(self, frames: Tensor, times: Tensor) -> SequenceOutput:
        fine = self.fine(frames)  # (T, c2, S/4, S/4)
        coarse = self.coarse(fine)  # (T, c4, S/8, S/8)
        pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3)), times], 1)  # (T, 2 c4 + 4)
        states = self.gru(self.project(pooled)[None])[0][0]  # (T, 2 hidden)
        attention = self.attention_head(states).softmax(0)  # (T, K)
        maps = self._maps(fine, coarse, attention)  # (m, S/4, S/4)
        site = self.site_head(maps[None])[0, 0]
        territory = self.territory_head(maps[None])[0, 0]
        summary = torch.cat([attention[:, 0] @ states, maps.mean((1, 2)), maps.amax((1, 2)), site.amax()[None]])
        return SequenceOutput(self.thrombus_head(summary)[0], site, territory, self.phase_head(states), attention)

    def _maps(self, fine: Tensor, coarse: Tensor, attention: Tensor) -> Tensor:
        """Spatial features of the frames that matter: one weighted mean per attention head."""
        gathered_coarse = torch.einsum("tk,tchw->kchw", attention, coarse).flatten(0, 1)[None]
        gathered_fine = torch.einsum("tk,tchw->kchw", attention, fine).flatten(0, 1)[None]
        up = nn.functional.interpolate(self.map_coarse(gathered_coarse), scale_factor=2.0, mode="nearest")
        return self.map_mix(torch.cat([up, self.map_fine(gathered_fine)], 1))[0]


def _convolution(inputs: int, outputs: int, stride: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), _norm(outputs), nn.ReLU())


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        _norm(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        _norm(outputs),
        nn.ReLU(),
    )


def _norm(channels: int) -> nn.GroupNorm:
    """Group norm: one run is one batch, and its frames are no independent sample for batch statistics."""
    return nn.GroupNorm(8 if channels % 8 == 0 else 1, channels)
