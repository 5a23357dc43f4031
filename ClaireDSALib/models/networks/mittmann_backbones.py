"""The convolutional networks of Mittmann et al. (IJCARS 2022, Table 1), with the parameter names of their sources.

Written from the published block tables, so that checkpoints made with torchvision 0.11 to 0.20 (ResNet, EfficientNet,
RegNet) and timm 0.5 to 1.0 (EfficientNetV2) fit key by key: EfficientNet (Tan and Le, arXiv 1905.11946),
EfficientNetV2 (arXiv 2104.00298), RegNet (Radosavovic et al., arXiv 2003.13678). ResNet-18 is MONAI's, which has
torchvision's names. Each backbone ends in a pooling of fixed size and no classifier: ``(B, 3, H, W) -> (B, F)``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class _Stage:
    """Blocks of one resolution: kind, repeats, stride of the first, expansion, channels, kernel."""

    kind: str
    repeats: int
    stride: int
    expand: int
    channels: int
    kernel: int = 3


_EFFICIENTNET = (
    _Stage("mb", 1, 1, 1, 16), _Stage("mb", 2, 2, 6, 24), _Stage("mb", 2, 2, 6, 40, 5), _Stage("mb", 3, 2, 6, 80),
    _Stage("mb", 3, 1, 6, 112, 5), _Stage("mb", 4, 2, 6, 192, 5), _Stage("mb", 1, 1, 6, 320),
)  # fmt: skip
_SCALES = {"efficientnet_b0": (1.0, 1.0), "efficientnet_b1": (1.0, 1.1), "efficientnet_b2": (1.1, 1.2),
           "efficientnet_b3": (1.2, 1.4)}  # fmt: skip
"""Width and depth relative to B0."""

_V2_S = (
    _Stage("cn", 2, 1, 1, 24), _Stage("er", 4, 2, 4, 48), _Stage("er", 4, 2, 4, 64), _Stage("ir", 6, 2, 4, 128),
    _Stage("ir", 9, 1, 6, 160), _Stage("ir", 15, 2, 6, 256),
)  # fmt: skip
_V2_M = (
    _Stage("cn", 3, 1, 1, 24), _Stage("er", 5, 2, 4, 48), _Stage("er", 5, 2, 4, 80), _Stage("ir", 7, 2, 4, 160),
    _Stage("ir", 14, 1, 6, 176), _Stage("ir", 18, 2, 6, 304), _Stage("ir", 5, 1, 6, 512),
)  # fmt: skip
_V2_RW_S = (_Stage("er", 2, 1, 1, 24), *_V2_S[1:-1], _Stage("ir", 15, 2, 6, 272))

_REGNET_WIDTHS, _REGNET_DEPTHS, _REGNET_GROUP = (224, 448, 1232, 3024), (2, 4, 11, 1), 112

BACKBONES = ("resnet18", *_SCALES, "tf_efficientnetv2_s", "tf_efficientnetv2_m", "efficientnetv2_rw_s",
             "regnet_y_16gf")  # fmt: skip
"""Names as in their sources."""

POOLED_SIDES = dict.fromkeys(BACKBONES, 4) | {"resnet18": 7, "regnet_y_16gf": 3}
"""Side of the pooled feature map, chosen by the authors so that all backbones give about 20,000 features."""

CHANNELS = {
    "resnet18": 512, "efficientnet_b0": 1280, "efficientnet_b1": 1280, "efficientnet_b2": 1408,
    "efficientnet_b3": 1536, "tf_efficientnetv2_s": 1280, "tf_efficientnetv2_m": 1280, "efficientnetv2_rw_s": 1792,
    "regnet_y_16gf": 3024,
}  # fmt: skip
"""Channels of the pooled feature map."""


def make_backbone(name: str) -> nn.Module:
    """Build a backbone without its classifier; weights are random.

    Raises
    ------
    ValueError
        When the name is none of ``BACKBONES``.
    """
    if name not in BACKBONES:
        msg = f"unknown backbone {name!r}; known are {list(BACKBONES)}"
        raise ValueError(msg)
    if name == "resnet18":
        return _resnet18()
    if name in _SCALES:
        return _EfficientNet(*_SCALES[name])
    if name == "regnet_y_16gf":
        return _RegNet()
    if name == "efficientnetv2_rw_s":
        return _EfficientNetV2(_V2_RW_S, head=1792, same=False, eps=1e-5)
    return _EfficientNetV2(_V2_S if name.endswith("_s") else _V2_M, head=1280, same=True, eps=1e-3)


def n_features(name: str) -> int:
    """Length of a backbone's feature vector."""
    return CHANNELS[name] * POOLED_SIDES[name] ** 2


def _resnet18() -> nn.Module:
    from ClaireDSALib.models.networks.resnets import make_resnet

    net = make_resnet("resnet18", 1)
    net.avgpool = nn.AdaptiveAvgPool2d(POOLED_SIDES["resnet18"])
    net.fc = nn.Identity()
    return net


class _EfficientNet(nn.Module):
    """torchvision's names: ``features.{stage}.{block}.block.{part}``."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        channels = _divisible(32 * width)
        features: list[nn.Module] = [_norm_act(3, channels, 3, 2)]
        for stage in _EFFICIENTNET:
            outputs = _divisible(stage.channels * width)
            blocks: list[nn.Module] = []
            for number in range(math.ceil(stage.repeats * depth)):
                blocks.append(_MobileBlock(channels, outputs, stage, stage.stride if number == 0 else 1))
                channels = outputs
            features.append(nn.Sequential(*blocks))
        features.append(_norm_act(channels, 4 * channels, 1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(POOLED_SIDES["efficientnet_b0"])
        self.classifier = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class _MobileBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        middle = inputs * stage.expand
        parts: list[nn.Module] = [] if stage.expand == 1 else [_norm_act(inputs, middle, 1)]
        parts += [
            _norm_act(middle, middle, stage.kernel, stride, groups=middle),
            _Squeeze(middle, max(1, inputs // 4), ("fc1", "fc2"), nn.SiLU()),
            _norm_act(middle, outputs, 1, act=False),
        ]
        self.block = nn.Sequential(*parts)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.keeps else self.block(x)


class _RegNet(nn.Module):
    """RegNetY-16GF with torchvision's names: ``trunk_output.block{stage}.block{stage}-{n}.f.{a,b,se,c}``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _norm_act(3, 32, 3, 2, act=nn.ReLU)
        inputs, stages = 32, OrderedDict[str, nn.Module]()
        for number, (width, depth) in enumerate(zip(_REGNET_WIDTHS, _REGNET_DEPTHS, strict=True), 1):
            blocks = OrderedDict[str, nn.Module]()
            for place in range(depth):
                blocks[f"block{number}-{place}"] = _RegNetBlock(inputs, width, 2 if place == 0 else 1)
                inputs = width
            stages[f"block{number}"] = nn.Sequential(blocks)
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d(POOLED_SIDES["regnet_y_16gf"])
        self.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.avgpool(self.trunk_output(self.stem(x))), 1))


class _RegNetBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        changed = inputs != outputs or stride != 1
        self.proj = _norm_act(inputs, outputs, 1, stride, act=False) if changed else None
        self.f = nn.Sequential(
            OrderedDict(
                a=_norm_act(inputs, outputs, 1, act=nn.ReLU),
                b=_norm_act(outputs, outputs, 3, stride, groups=outputs // _REGNET_GROUP, act=nn.ReLU),
                se=_Squeeze(outputs, round(0.25 * inputs), ("fc1", "fc2"), nn.ReLU()),
                c=_norm_act(outputs, outputs, 1, act=False),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu((x if self.proj is None else self.proj(x)) + self.f(x))


class _EfficientNetV2(nn.Module):
    """timm's names: ``conv_stem``, ``bn1``, ``blocks.{stage}.{block}``, ``conv_head``, ``bn2``.

    Weights that came from TensorFlow (``same``) need its padding, which is one-sided at stride 2.
    """

    def __init__(self, stages: tuple[_Stage, ...], *, head: int, same: bool, eps: float) -> None:
        super().__init__()
        channels = 24
        self.conv_stem = _convolution(3, channels, 3, 2, same=same)
        self.bn1 = nn.BatchNorm2d(channels, eps)
        built: list[nn.Module] = []
        for stage in stages:
            blocks: list[nn.Module] = []
            for number in range(stage.repeats):
                stride = stage.stride if number == 0 else 1
                blocks.append(_V2Block(channels, stage, stride, same=same, eps=eps))
                channels = stage.channels
            built.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*built)
        self.conv_head = _convolution(channels, head, 1, same=same)
        self.bn2 = nn.BatchNorm2d(head, eps)
        self.global_pool = nn.AdaptiveAvgPool2d(POOLED_SIDES["tf_efficientnetv2_s"])
        self.classifier = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.bn1(self.conv_stem(x)))
        x = nn.functional.silu(self.bn2(self.conv_head(self.blocks(x))))
        return self.classifier(torch.flatten(self.global_pool(x), 1))


class _V2Block(nn.Module):
    """timm's ConvBnAct (cn), EdgeResidual (er) or InvertedResidual (ir)."""

    def __init__(self, inputs: int, stage: _Stage, stride: int, *, same: bool, eps: float) -> None:
        super().__init__()
        self.kind, outputs, middle = stage.kind, stage.channels, inputs * stage.expand
        self.keeps = stride == 1 and inputs == outputs
        if self.kind == "cn":
            self.conv, self.bn1 = _convolution(inputs, outputs, 3, stride, same=same), nn.BatchNorm2d(outputs, eps)
        elif self.kind == "er":
            self.conv_exp, self.bn1 = _convolution(inputs, middle, 3, stride, same=same), nn.BatchNorm2d(middle, eps)
            self.conv_pwl, self.bn2 = _convolution(middle, outputs, 1, same=same), nn.BatchNorm2d(outputs, eps)
        else:
            self.conv_pw, self.bn1 = _convolution(inputs, middle, 1, same=same), nn.BatchNorm2d(middle, eps)
            self.conv_dw = _convolution(middle, middle, 3, stride, groups=middle, same=same)
            self.bn2 = nn.BatchNorm2d(middle, eps)
            self.se = _Squeeze(middle, round(0.25 * inputs), ("conv_reduce", "conv_expand"), nn.SiLU())
            self.conv_pwl, self.bn3 = _convolution(middle, outputs, 1, same=same), nn.BatchNorm2d(outputs, eps)

    def forward(self, x: Tensor) -> Tensor:
        silu = nn.functional.silu
        if self.kind == "cn":
            y = silu(self.bn1(self.conv(x)))
        elif self.kind == "er":
            y = self.bn2(self.conv_pwl(silu(self.bn1(self.conv_exp(x)))))
        else:
            y = silu(self.bn2(self.conv_dw(silu(self.bn1(self.conv_pw(x))))))
            y = self.bn3(self.conv_pwl(self.se(y)))
        return y + x if self.keeps else y


class _Squeeze(nn.Module):
    """Squeeze and excitation by two 1 x 1 convolutions whose names differ between the sources."""

    def __init__(self, channels: int, inner: int, names: tuple[str, str], act: nn.Module) -> None:
        super().__init__()
        self._names, self.activation = names, act
        self.add_module(names[0], nn.Conv2d(channels, inner, 1))
        self.add_module(names[1], nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        reduce, expand = (self.get_submodule(name) for name in self._names)
        return x * torch.sigmoid(expand(self.activation(reduce(x.mean((2, 3), keepdim=True)))))


class _SameConv2d(nn.Conv2d):
    """TensorFlow's padding: as little as the stride asks for, more of it below and right."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        total = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        rows, columns = total
        x = nn.functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return nn.functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, same: bool = False
) -> nn.Conv2d:
    kind = _SameConv2d if same and stride > 1 else nn.Conv2d
    return kind(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


def _norm_act(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, act: type[nn.Module] | bool = nn.SiLU
) -> nn.Sequential:
    parts: list[nn.Module] = [_convolution(inputs, outputs, kernel, stride, groups=groups), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([act()] if not isinstance(act, bool) else []))


def _divisible(channels: float, by: int = 8) -> int:
    """Nearest multiple, never more than a tenth below."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded
