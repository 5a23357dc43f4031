"""CAVE's networks, written from its published facts, with its key layout so that its checkpoints load.

Su et al., "CAVE: Cerebral artery-vein segmentation in digital subtraction angiography", Comput Med Imaging Graph
2024, doi 10.1016/j.compmedimag.2024.102392. The authors' weights are licensed for non-commercial use only.
Differences from the published programs: frames are streamed, so memory does not grow with length (the result is
the same, only the last state is decoded and normalisation is per frame); probabilities come from a sigmoid;
hidden states start on the input's own device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (64, 128, 256, 512, 512)
"""Of the published networks."""

_FIRST_OF_SCALE = (
    "inc.double_conv.0.weight",
    *(f"down{k}.maxpool_conv.1.double_conv.0.weight" for k in (1, 2, 3, 4)),
)
RECURRENT = ("rnn_inc", "rnn1", "rnn2", "rnn3", "rnn4")


class CaveUNet(nn.Module):
    """MinIP network: ``(B, 1, H, W)`` in 0..1 to logits ``(B, n_classes, H, W)``; H and W divisible by 16.

    Parameters
    ----------
    n_classes : int
    widths : sequence of 5 int
        Channels of the scales, finest first; the published ones unless given.
    norm : "instance" or "batch"
        Published checkpoints have instance norms without parameters.
    """

    def __init__(self, n_classes: int, widths: Sequence[int] = WIDTHS, norm: str = "instance") -> None:
        super().__init__()
        a, b, c, d, e = self.widths = tuple(int(w) for w in widths)
        self.norm = norm
        self.inc = _DoubleConv(1, a, norm=norm)
        self.down1, self.down2 = _Down(a, b, norm), _Down(b, c, norm)
        self.down3, self.down4 = _Down(c, d, norm), _Down(d, e, norm)
        self.up1, self.up2 = _Up(d + e, c, norm), _Up(2 * c, b, norm)
        self.up3, self.up4 = _Up(2 * b, a, norm), _Up(2 * a, a, norm)
        self.outc = _Out(a, n_classes)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of the five scales, finest first."""
        features = [self.inc(image)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            features.append(down(features[-1]))
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits from the features of five scales."""
        x = features[4]
        for up, skip in zip((self.up1, self.up2, self.up3, self.up4), reversed(features[:4]), strict=True):
            x = up(x, skip)
        return self.outc(x)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))


class CaveTemporalUNet(CaveUNet):
    """Sequence network: a stack of ConvGRU cells at each scale; the last state is decoded.

    ``forward`` takes an iterable of frames ``(B, 1, H, W)`` and holds one frame's features at a time.

    Parameters
    ----------
    n_classes : int
    kernel_size, num_layers : int
        Of the ConvGRU stacks.
    widths, norm
        As in :class:`CaveUNet`.
    """

    def __init__(
        self,
        n_classes: int,
        kernel_size: int = 3,
        num_layers: int = 2,
        widths: Sequence[int] = WIDTHS,
        norm: str = "instance",
    ) -> None:
        super().__init__(n_classes, widths, norm)
        self.depth = (num_layers, kernel_size)
        for name, width in zip(RECURRENT, self.widths, strict=True):
            setattr(self, name, _ConvGRU(width, kernel_size, num_layers))

    def forward(self, frames: Iterable[Tensor]) -> Tensor:  # type: ignore[override]
        states: list[list[Tensor]] | None = None
        for frame in frames:
            features = self.encode(frame)
            if states is None:
                states = [getattr(self, n).initial(f) for n, f in zip(RECURRENT, features, strict=True)]
            states = [getattr(self, n)(f, s) for n, f, s in zip(RECURRENT, features, states, strict=True)]
        if states is None:
            msg = "a sequence needs at least one frame; got none"
            raise ValueError(msg)
        return self.decode([state[-1] for state in states])

    def at_once(self, frames: Tensor) -> Tensor:
        """The same from ``(T, B, 1, H, W)``, every frame encoded together: for training, where memory allows it."""
        features = [f.unflatten(0, frames.shape[:2]) for f in self.encode(frames.flatten(0, 1))]
        last = []
        for name, feature in zip(RECURRENT, features, strict=True):
            states = getattr(self, name).initial(feature[0])
            for frame in feature:
                states = getattr(self, name)(frame, states)
            last.append(states[-1])
        return self.decode(last)


def network_for(state: Mapping[str, Tensor]) -> CaveUNet:
    """Network that fits a CAVE state dict, filled with it, in evaluation mode.

    The number of classes is read from ``outc``, widths from the encoder, and kernel size and depth from the recurrent
    cells, because the published file names do not tell them reliably.

    Raises
    ------
    ValueError
        When the state dict does not have CAVE's layout.
    """
    if "outc.conv.weight" not in state or "inc.double_conv.0.weight" not in state:
        msg = (
            f"not a CAVE checkpoint: 'outc.conv.weight' or 'inc.double_conv.0.weight' is missing; has {len(state)} keys"
        )
        raise ValueError(msg)
    n_classes = state["outc.conv.weight"].shape[0]
    gates = [key for key in state if key.startswith("rnn1.cell_list.") and key.endswith("update_gate.weight")]
    try:
        widths = [state[key].shape[0] for key in _FIRST_OF_SCALE]
        norm = "batch" if "inc.double_conv.1.weight" in state else "instance"
        network = (
            CaveTemporalUNet(n_classes, state[gates[0]].shape[-1], len(gates), widths, norm)
            if gates
            else CaveUNet(n_classes, widths, norm)
        )
    except KeyError as error:
        msg = f"not a CAVE checkpoint: {error} is missing"
        raise ValueError(msg) from error
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        msg = f"not a CAVE checkpoint: {str(error).splitlines()[-1].strip()}"
        raise ValueError(msg) from error
    return network.eval()


class _DoubleConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, middle: int | None = None, norm: str = "instance") -> None:
        super().__init__()
        middle = middle or outputs
        layer = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}[norm]
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, middle, 3, padding=1, bias=False),
            layer(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False),
            layer(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _DoubleConv(inputs, outputs, norm=norm))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.conv = _DoubleConv(inputs, outputs, inputs // 2, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        missing_rows, missing_columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        left, top = missing_columns // 2, missing_rows // 2
        x = functional.pad(x, [left, missing_columns - left, top, missing_rows - top])
        return self.conv(torch.cat([skip, x], 1))


class _Out(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _ConvGRUCell(nn.Module):
    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.update_gate = nn.Conv2d(2 * width, width, kernel_size, padding=padding)
        self.reset_gate = nn.Conv2d(2 * width, width, kernel_size, padding=padding)
        self.out_gate = nn.Conv2d(2 * width, width, kernel_size, padding=padding)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        both = torch.cat([x, hidden], 1)
        update, reset = self.update_gate(both).sigmoid(), self.reset_gate(both).sigmoid()
        new = self.out_gate(torch.cat([x, hidden * reset], 1)).tanh()
        return hidden * (1 - update) + new * update


class _ConvGRU(nn.Module):
    def __init__(self, width: int, kernel_size: int, num_layers: int) -> None:
        super().__init__()
        self.cell_list = nn.ModuleList(_ConvGRUCell(width, kernel_size) for _ in range(num_layers))

    def initial(self, like: Tensor) -> list[Tensor]:
        return [torch.zeros_like(like) for _ in self.cell_list]

    def forward(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        new = []
        for cell, state in zip(self.cell_list, states, strict=True):
            x = cell(x, state)
            new.append(x)
        return new
