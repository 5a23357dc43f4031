"""Thrombus yes/no by a convolutional network and a recurrent one: Mittmann et al., IJCARS 2022.

DOI 10.1007/s11548-022-02654-8.

Three consecutive frames, not overlapping, are the channels of one step; features pass a layer norm and a leaky ReLU
and then three bidirectional recurrent layers of 512 units; the last step decides. Parameter names are those of the
authors' published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.mittmann_backbones import make_backbone, n_features

VARIANTS: dict[str, tuple[str, str]] = {
    "ResNet18 + GRU": ("resnet18", "gru"),
    "EfficientNet-B0 + GRU": ("efficientnet_b0", "gru"),
    "EfficientNet-B0 + LSTM": ("efficientnet_b0", "lstm"),
    "EfficientNet-B1 + GRU": ("efficientnet_b1", "gru"),
    "EfficientNet-B1 + LSTM": ("efficientnet_b1", "lstm"),
    "EfficientNet-B2 + GRU": ("efficientnet_b2", "gru"),
    "EfficientNet-B3 + GRU": ("efficientnet_b3", "gru"),
    "Tf_EfficientNetV2_S + GRU": ("tf_efficientnetv2_s", "gru"),
    "Tf_EfficientNetV2_M + GRU": ("tf_efficientnetv2_m", "gru"),
    "Rw_EfficientNetV2_S + GRU": ("efficientnetv2_rw_s", "gru"),
    "RegNet_y_16gf + GRU": ("regnet_y_16gf", "gru"),
}
"""Rows of the paper's table 2: backbone and recurrent cell."""


class MittmannNet(nn.Module):
    """``forward((T, H, W) standardised frames) -> () logit``; T at least 1, the last frame is repeated to fill a step.

    Parameters
    ----------
    backbone : str
        One of ``mittmann_backbones.BACKBONES``.
    cell : "gru" or "lstm"
    hidden, layers : int
        512 and 3 in the paper.
    """

    def __init__(self, backbone: str, cell: str = "gru", *, hidden: int = 512, layers: int = 3) -> None:
        super().__init__()
        if cell not in ("gru", "lstm"):
            msg = f"cell must be 'gru' or 'lstm'; got {cell!r}"
            raise ValueError(msg)
        self.backbone, self.cell = backbone, cell
        self.cnn = make_backbone(backbone)
        features = n_features(backbone)
        self.layerNorm = nn.LayerNorm(features)
        kind = nn.GRU if cell == "gru" else nn.LSTM
        recurrent = kind(
            features, hidden, layers, bidirectional=True, dropout=0.5 if layers > 1 else 0.0, batch_first=True
        )
        setattr(self, cell, recurrent)
        self.fc = nn.Linear(2 * hidden, 1)

    def forward(self, frames: Tensor) -> Tensor:
        return self.decide(self.features(frames))

    def features(self, frames: Tensor) -> Tensor:
        """(T, H, W) to (T/3, F): what the recurrent part reads; worth keeping when the CNN is not trained."""
        return self.cnn(steps_of_three(frames))

    def decide(self, features: Tensor) -> Tensor:
        """(T/3, F) to the logit."""
        states, _ = getattr(self, self.cell)(nn.functional.leaky_relu(self.layerNorm(features))[None])
        return self.fc(states[0, -1])[0]


def steps_of_three(frames: Tensor) -> Tensor:
    """(T, H, W) to (ceil(T/3), 3, H, W): consecutive triplets; the last frame is repeated where frames are missing."""
    missing = -len(frames) % 3
    if missing:
        frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1)])
    return frames.reshape(-1, 3, *frames.shape[1:])


def from_state(state: Mapping[str, Tensor]) -> MittmannNet:
    """Network of the shapes that a checkpoint's ``model_state_dict`` has, with its weights.

    Raises
    ------
    ValueError
        When the keys are not of this layout, or fit no backbone of the paper.
    """
    cell = next((c for c in ("gru", "lstm") if f"{c}.weight_ih_l0" in state), None)
    if cell is None or "fc.weight" not in state or "layerNorm.weight" not in state:
        some = sorted(state)[:4]
        msg = f"no checkpoint of this layout: it needs 'cnn.*', 'layerNorm.*', 'gru.*' or 'lstm.*', 'fc.*'; got {some}"
        raise ValueError(msg)
    gates = 3 if cell == "gru" else 4
    hidden = int(state[f"{cell}.weight_ih_l0"].shape[0]) // gates
    layers = sum(key.startswith(f"{cell}.weight_ih_l") and not key.endswith("_reverse") for key in state)
    network = MittmannNet(backbone_of(state), cell, hidden=hidden, layers=layers)
    network.load_state_dict(dict(state))
    return network.eval()


def backbone_of(state: Mapping[str, Tensor]) -> str:
    """Backbone whose parameters have the names and shapes of ``cnn.*``.

    Raises
    ------
    ValueError
        When there is none.
    """
    shapes = {key[4:]: tuple(value.shape) for key, value in state.items() if key.startswith("cnn.")}
    with torch.device("meta"):
        for name in _candidates(shapes):
            if {key: tuple(value.shape) for key, value in make_backbone(name).state_dict().items()} == shapes:
                return name
    msg = f"the checkpoint's {len(shapes)} 'cnn' entries fit none of the paper's backbones; is the classifier removed?"
    raise ValueError(msg)


def _candidates(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    if "layer1.0.conv1.weight" in shapes:
        return ["resnet18"]
    if "conv_stem.weight" in shapes:
        return ["tf_efficientnetv2_s", "tf_efficientnetv2_m", "efficientnetv2_rw_s"]
    if any(key.startswith("trunk_output") for key in shapes):
        return ["regnet_y_16gf"]
    return [f"efficientnet_b{n}" for n in range(4)]
