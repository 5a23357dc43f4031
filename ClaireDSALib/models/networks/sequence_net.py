"""Sequence network: thrombus yes/no, where, which territory is missing, and the phase of every frame.

Two branches see one run. ``MapsNet`` sees the whole course as one picture of temporal channels (what filled when, how
much, how late) and predicts site and missing territory cell by cell before it says yes or no. ``FramesNet`` follows
Mittmann et al. (IJCARS 2022): three neighbouring frames as channels of a small convolutional network, then a
bidirectional GRU over time; it names the phases and gives a second opinion on the thrombus. Sizes, maps and dense
supervision are our choices. Several ``MapsNet`` that were trained apart can be averaged, as the paper
averages its folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PHASES = ("non_contrast", "arterial", "parenchymal", "venous")
"""Order of the phase outputs."""

MAP_STRIDE = 4
"""Pixels of the temporal channels per cell of the site and territory maps."""


@dataclass(frozen=True)
class SequenceNetConfig:
    """Widths of the network; stored in the bundle so that its weights find their shape."""

    map_inputs: int = 13
    map_widths: tuple[int, int, int, int] = (24, 48, 96, 112)
    frame_widths: tuple[int, int, int] = (16, 32, 64)
    course_inputs: int = 9
    hidden: int = 64
    members: int = 1
    """Networks of the maps branch whose outputs are averaged."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SequenceNetConfig:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


class MapsOutput(NamedTuple):
    """Outputs for B runs whose temporal channels have S x S pixels."""

    thrombus: Tensor
    """(B,) logits."""
    site: Tensor
    """(B, S/4, S/4) logits; their softmax over a map says where."""
    territory: Tensor
    """(B, S/4, S/4) logits of missing perfusion."""


class FramesOutput(NamedTuple):
    """Outputs for one run of T frames."""

    thrombus: Tensor
    """() logit."""
    phases: Tensor
    """(T, 4) logits in the order of ``PHASES``."""


class SequenceOutput(NamedTuple):
    """Outputs for one run of T frames whose temporal channels have S x S pixels."""

    thrombus: Tensor
    """() logit of both branches, mixed."""
    site: Tensor
    """(S/4, S/4) logits."""
    territory: Tensor
    """(S/4, S/4) logits."""
    phases: Tensor
    """(T, 4) logits in the order of ``PHASES``."""


class MapsNet(nn.Module):
    """Encoder and decoder over temporal channels: ``forward((B, C, S, S)) -> MapsOutput``; S divisible by 32."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = widths
        self.down0 = _convolution(inputs, a, 2)
        self.down1 = nn.Sequential(_convolution(a, b, 2), _convolution(b, b))
        self.down2 = nn.Sequential(_convolution(b, c, 2), _Residual(c, c))
        self.down3 = nn.Sequential(_convolution(c, d, 2), _Residual(d, d), _Residual(d, d // 2))
        self.down4 = nn.Sequential(_convolution(d, d, 2), _Residual(d, d))
        self.side4 = _convolution(d, c, kernel=1)
        self.side3 = _convolution(d, c, kernel=1)
        self.side2 = _convolution(c, b, kernel=1)
        self.mix = _convolution(b, b)
        self.site_head = nn.Conv2d(b, 1, 1)
        self.territory_head = nn.Conv2d(b, 1, 1)
        self.thrombus_head = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(2 * d + 2 * b + 4, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1)
        )
        nn.init.constant_(self.territory_head.bias, -3.0)  # type: ignore[arg-type]  # most cells are perfused

    def forward(self, maps: Tensor) -> MapsOutput:
        x1 = self.down1(self.down0(maps))
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        up = self.side3(x3) + _doubled(self.side4(x4))
        up = x2 + _doubled(up)
        fine = self.mix(x1 + _doubled(self.side2(up)))
        site, territory = self.site_head(fine)[:, 0], self.territory_head(fine)[:, 0]
        pooled = [x4.mean((2, 3)), x4.amax((2, 3)), fine.mean((2, 3)), fine.amax((2, 3)), _evidence(site, territory)]
        return MapsOutput(self.thrombus_head(torch.cat(pooled, 1))[:, 0], site, territory)


class MapsMean(nn.Module):
    """Equal-weight mean of the logits of networks that were trained apart: ``forward((B, C, S, S)) -> MapsOutput``."""

    def __init__(self, members: Sequence[MapsNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, maps: Tensor) -> MapsOutput:
        outputs = [member(maps) for member in self.members]
        return MapsOutput(*(torch.stack(same).mean(0) for same in zip(*outputs, strict=True)))


class FramesNet(nn.Module):
    """Per-frame features and a bidirectional GRU: ``forward((T, 3, S, S), (T, F)) -> FramesOutput``."""

    def __init__(self, widths: tuple[int, int, int], course_inputs: int, hidden: int) -> None:
        super().__init__()
        a, b, c = widths
        self.encoder = nn.Sequential(
            _convolution(3, a, 2, norm=_group_norm),
            _convolution(a, b, 2, norm=_group_norm),
            _convolution(b, c, 2, norm=_group_norm),
            _convolution(c, c, 1, norm=_group_norm),
        )
        self.project = nn.Sequential(nn.Linear(2 * c + course_inputs, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.gru = nn.GRU(hidden + course_inputs, hidden, batch_first=True, bidirectional=True)
        self.phase_head = nn.Linear(2 * hidden, len(PHASES))
        self.attention_head = nn.Linear(2 * hidden, 1)
        self.thrombus_head = nn.Linear(2 * hidden, 1)

    def forward(self, frames: Tensor, course: Tensor) -> FramesOutput:
        return self.decide(self.pooled(frames, course), course)

    def pooled(self, frames: Tensor, course: Tensor) -> Tensor:
        """(T, 2 c + F) what the recurrent part reads; worth keeping when only that is trained."""
        features = self.encoder(frames)  # (T, c, S/8, S/8)
        return torch.cat([features.mean((2, 3)), features.amax((2, 3)), course], 1)

    def decide(self, pooled: Tensor, course: Tensor) -> FramesOutput:
        """Outputs from pooled features and course of the frames."""
        steps = torch.cat([self.project(pooled), course], 1)
        states = self.gru(steps[None])[0][0]  # (T, 2 hidden)
        weight = self.attention_head(states).softmax(0)  # (T, 1)
        return FramesOutput(self.thrombus_head((weight * states).sum(0))[0], self.phase_head(states))


class SequenceNet(nn.Module):
    """Both branches for one run at a time.

    ``forward(maps, frames, course)`` takes temporal channels (C, S, S), frames with their neighbours (T, 3, S/2, S/2)
    and the course of the whole picture (T, F), all float.
    """

    def __init__(self, config: SequenceNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SequenceNetConfig()
        members = [MapsNet(self.config.map_inputs, self.config.map_widths) for _ in range(self.config.members)]
        self.maps = members[0] if len(members) == 1 else MapsMean(members)
        self.frames = FramesNet(self.config.frame_widths, self.config.course_inputs, self.config.hidden)
        self.mix = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), requires_grad=False)
        """Weights of what :meth:`parts` returns, fitted after the training."""

    @classmethod
    def averaged(cls, networks: Sequence[SequenceNet]) -> SequenceNet:
        """The maps branches of all networks, averaged, and the recurrent branch of the first.

        Raises
        ------
        ValueError
            When there is none, or their sizes differ.
        """
        if not networks or len({replace(one.config, members=1) for one in networks}) > 1:
            msg = "only networks of one size can be averaged"
            raise ValueError(msg)
        members = [member for one in networks for member in one.members]
        joined = cls(replace(networks[0].config, members=len(members)))
        for copy, member in zip(joined.members, members, strict=True):
            copy.load_state_dict(member.state_dict())
        joined.frames.load_state_dict(networks[0].frames.state_dict())
        return joined

    @property
    def members(self) -> list[MapsNet]:
        """Networks of the maps branch."""
        return list(self.maps.members) if isinstance(self.maps, MapsMean) else [self.maps]

    def forward(self, maps: Tensor, frames: Tensor, course: Tensor) -> SequenceOutput:
        whole = self.maps(maps[None])
        recurrent = self.frames(frames, course)
        thrombus = self.parts(whole, recurrent) @ self.mix
        return SequenceOutput(thrombus, whole.site[0], whole.territory[0], recurrent.phases)

    @staticmethod
    def parts(whole: MapsOutput, recurrent: FramesOutput) -> Tensor:
        """(6,) what the verdict is mixed from: logits of the two branches, evidence in the maps, and one.

        The evidence is the contrast of the strongest site, the strongest patch of missing territory, and its share.
        """
        evidence = _evidence(whole.site, whole.territory)[0, 1:]
        logits = torch.stack([whole.thrombus[0], recurrent.thrombus])
        return torch.cat([logits, evidence, torch.ones_like(logits[:1])])


class _Residual(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first = _convolution(channels, inner)
        self.second = nn.Sequential(nn.Conv2d(inner, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _evidence(site: Tensor, territory: Tensor) -> Tensor:
    """(B, 4): strongest site, its contrast to the mean, strongest patch and share of missing territory."""
    peak, mean = site.amax((1, 2)), site.mean((1, 2))
    patch = nn.functional.avg_pool2d(territory[:, None], 3, 1, 1).amax((1, 2, 3))
    share = torch.log(territory.sigmoid().mean((1, 2)) + 1e-4)
    return torch.stack([peak, peak - mean, patch, share], 1) * 0.25


def _doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _group_norm(channels: int) -> nn.GroupNorm:
    """One run is one batch, and its frames are no independent sample for batch statistics."""
    return nn.GroupNorm(8 if channels % 8 == 0 else 1, channels)


def _convolution(
    inputs: int, outputs: int, stride: int = 1, *, kernel: int = 3, norm: type[nn.Module] | Any = nn.BatchNorm2d
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm(outputs), nn.ReLU(inplace=True)
    )
