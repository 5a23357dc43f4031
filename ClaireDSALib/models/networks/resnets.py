"""The paper's design: a separate ResNet for every label, in torchvision's key layout.

MONAI's ResNet with stem stride 2 and shortcut B has torchvision's keys and arithmetic; MONAI's default stem
stride 1 costs five times the time. The head is a linear layer on pooled features, so the closed-form maps hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ClaireDSALib.models.networks.outputs import NetworkOutputs, softmax_per_label

DEPTHS = ("resnet18", "resnet34", "resnet50")


def make_resnet(depth: str, n_classes: int) -> nn.Module:
    """Return a ResNet whose state dict has torchvision's keys.

    Raises
    ------
    ValueError
        For a depth other than 18, 34 or 50.
    """
    if depth not in DEPTHS:
        msg = f"unknown backbone {depth!r}; known are {list(DEPTHS)}"
        raise ValueError(msg)
    from monai.networks import nets

    return getattr(nets, depth)(
        spatial_dims=2,
        n_input_channels=3,
        num_classes=n_classes,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
    )


class NineResNets(nn.Module):
    """One ResNet per label behind the interface of the shared-trunk network.

    Parameters
    ----------
    class_counts : sequence of int
    backbones : sequence of str
        Depth per label, or one for all.
    mean, std : sequence of float
        Per channel; defaults are ImageNet's.
    names : sequence of str, optional
        Label names, used as keys of the state dict.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        backbones: Sequence[str] = ("resnet18",),
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.class_counts = tuple(int(n) for n in class_counts)
        depths = tuple(backbones) * len(self.class_counts) if len(backbones) == 1 else tuple(backbones)
        self.names = tuple(names) or tuple(f"label{i}" for i in range(len(self.class_counts)))
        self.networks = nn.ModuleDict(
            {name: make_resnet(depth, n) for name, depth, n in zip(self.names, depths, self.class_counts, strict=True)}
        )
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, -1, 1, 1))
        self.register_buffer("temperature", torch.ones(len(self.class_counts)))

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits ``(B, K)``."""
        x = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        return torch.cat([net(x) for net in self.networks.values()], dim=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities ``(B, K)``."""
        parts = self.logits(image).split(self.class_counts, dim=1)
        return torch.cat([(p / t).softmax(dim=1) for p, t in zip(parts, self.temperature, strict=True)], dim=1)

    def explain(self, image: torch.Tensor) -> NetworkOutputs:
        """Probabilities and maps; these networks have no outlier score."""
        x = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        logits, cams, plus_plus = [], [], []
        for net, temperature in zip(self.networks.values(), self.temperature, strict=True):
            activations = resnet_activations(net, x)
            pooled = activations.mean(dim=(2, 3))
            weight = (net.fc.weight - net.fc.weight.mean(dim=0, keepdim=True)) / temperature
            bias = (net.fc.bias - net.fc.bias.mean()) / temperature
            positive = weight.clamp(min=0)
            logits.append(nn.functional.linear(pooled, weight, bias))
            cams.append(nn.functional.conv2d(activations, weight[:, :, None, None]))
            channel = positive / (2 + positive * pooled[:, None, :])
            plus_plus.append(torch.einsum("bkc,bchw->bkhw", channel, activations))
        return NetworkOutputs(
            probabilities=softmax_per_label(torch.cat(logits, dim=1), self.class_counts),
            cam=torch.cat(cams, dim=1),
            cam_plus_plus=torch.cat(plus_plus, dim=1),
            outlier_score=torch.full_like(image[:, 0, 0, 0], float("nan")),
        )


def resnet_activations(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Activations ``(B, C, h, w)`` before the pooling of MONAI's ResNet."""
    x = net.maxpool(net.act(net.bn1(net.conv1(x))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def torchvision_keys(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Strip wrappers' prefixes so that the keys read ``conv1.weight`` ... ``fc.bias``.

    Accepts ``module.``, ``model.``, ``net.``, ``backbone.``, ``network.``, ``encoder.`` in any nesting.
    """
    cleaned = {}
    for key, value in state.items():
        name, changed = key, True
        while changed:
            changed = False
            for prefix in ("module.", "model.", "net.", "backbone.", "network.", "encoder."):
                if name.startswith(prefix):
                    name, changed = name[len(prefix) :], True
        cleaned[name] = value
    return cleaned
