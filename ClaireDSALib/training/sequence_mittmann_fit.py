"""Train one network of Mittmann et al. on one view of prepared runs, after the paper's routine.

AdamW, binary cross entropy on smoothed labels, batch of one run, learning rate by plateau of the training loss, best
epoch by Matthews coefficient on validation runs. Mixed precision and accumulated gradients on a GPU; on a CPU the
convolutional part can be frozen, its features computed once and kept, so that only the recurrent part is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.mittmann import MittmannNet
from ClaireDSALib.training.fit_best import save_checkpoint
from ClaireDSALib.training.sequence_evaluate import mcc
from ClaireDSALib.training.sequence_examples import SequenceExample, unpack

_SMOOTHED = (0.214, 0.786)
"""Targets for open and occluded runs, from the authors' code."""


@dataclass(frozen=True)
class MittmannFitSettings:
    """Choices of one training; defaults are the paper's."""

    backbone: str = "resnet18"
    cell: str = "gru"
    hidden: int = 512
    layers: int = 3
    epochs: int = 130
    learning_rate: float = 1e-5
    weight_decay: float = 1e-2
    patience: int = 20
    """Epochs without a better training loss after which the rate is divided by ten."""
    size_px: int = 512
    accumulate: int = 1
    """Runs whose gradients are added before a step."""
    half: bool = True
    """Mixed precision; used on a GPU only."""
    freeze: bool = False
    """Keep the convolutional part as it is and train the recurrent part on cached features."""
    augment: bool = True
    seed: int = 0
    device: str = "cpu"


def fit_mittmann(
    train: Sequence[SequenceExample],
    validation: Sequence[SequenceExample],
    settings: MittmannFitSettings,
    checkpoint: Path,
    *,
    weights: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> MittmannNet:
    """Train and return the network of the best epoch; ``checkpoint`` is resumed when it exists.

    The file has the authors' layout (``model_state_dict``, ``mcc`` ...), so that it can be imported like theirs.

    Parameters
    ----------
    train, validation : sequence of SequenceExample
        Runs of one view.
    settings : MittmannFitSettings
    checkpoint : Path
    weights : Path, optional
        Pretrained weights of the backbone, with the names of its source.
    report : callable
    """
    torch.manual_seed(settings.seed)
    network = MittmannNet(settings.backbone, settings.cell, hidden=settings.hidden, layers=settings.layers)
    if weights is not None:
        _load_backbone(network, weights)
    network.to(settings.device)
    network.cnn.requires_grad_(not settings.freeze)
    optimiser = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], settings.learning_rate, weight_decay=settings.weight_decay
    )
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=settings.patience)
    state: dict[str, Any] = {"epoch": 0, "mcc": -2.0, "model_state_dict": network.state_dict()}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        network.load_state_dict(state["last"])
        optimiser.load_state_dict(state["optimizer_state_dict"])
        plateau.load_state_dict(state["plateau"])
        report(f"resumed after epoch {state['epoch']}")
    source = _Source(network, settings)
    for epoch in range(int(state["epoch"]), settings.epochs):
        loss = _epoch(network, optimiser, train, source, settings, epoch)
        plateau.step(loss)
        outputs = source.outputs(validation)
        value = mcc(np.array([e.thrombus for e in validation]), outputs > 0.5)
        if value > state["mcc"]:
            kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
            state |= {"mcc": value, "model_state_dict": kept}
        state |= {"epoch": epoch + 1, "loss": loss, "last": network.state_dict(), "plateau": plateau.state_dict()}
        state |= {"optimizer_state_dict": optimiser.state_dict(), "settings": asdict(settings)}
        save_checkpoint(state, checkpoint)
        report(f"epoch {epoch + 1}/{settings.epochs} loss {loss:.3f} validation MCC {value:.2f}")
    network.load_state_dict(state["model_state_dict"])
    return network.eval()


def predict_mittmann(
    network: MittmannNet, examples: Sequence[SequenceExample], settings: MittmannFitSettings
) -> npt.NDArray[np.float64]:
    """(N,) sigmoid outputs."""
    return _Source(network, settings).outputs(examples)


class _Source:
    """Frames of prepared runs for the network; features once computed are kept when the CNN is frozen."""

    def __init__(self, network: MittmannNet, settings: MittmannFitSettings) -> None:
        self._network, self._settings = network, settings
        self._features: dict[int, Tensor] = {}

    def logit(self, one: SequenceExample, generator: torch.Generator | None = None) -> Tensor:
        """Logit of a run, augmented when there is a generator."""
        if not self._settings.freeze:
            return self._network(self._frames(one, generator))
        key = id(one)
        if key not in self._features:
            self._network.cnn.eval()
            with torch.no_grad():
                self._features[key] = self._network.features(self._frames(one)).cpu()
        return self._network.decide(self._features[key].to(self._settings.device))

    @torch.no_grad()
    def outputs(self, examples: Sequence[SequenceExample]) -> npt.NDArray[np.float64]:
        self._network.eval()
        return np.array([float(torch.sigmoid(self.logit(one))) for one in examples])

    def _frames(self, one: SequenceExample, generator: torch.Generator | None = None) -> Tensor:
        """(T, S, S) contrast dark, zero mean and unit variance over the run."""
        size = self._settings.size_px
        frames = -torch.from_numpy(unpack(one.stack))[:, None]
        if generator is not None and self._settings.augment:
            frames = _turned(frames, generator)
        frames = nn.functional.interpolate(frames, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        return ((frames - frames.mean()) / frames.std().clamp_min(1e-6)).to(self._settings.device)


def _epoch(
    network: MittmannNet,
    optimiser: torch.optim.Optimizer,
    train: Sequence[SequenceExample],
    source: _Source,
    settings: MittmannFitSettings,
    epoch: int,
) -> float:
    network.train()
    torch.manual_seed(1000 * settings.seed + epoch)
    generator = torch.Generator().manual_seed(1000 * settings.seed + epoch)
    kind = settings.device.split(":")[0]
    losses = []
    for number, index in enumerate(torch.randperm(len(train), generator=generator).tolist(), 1):
        one = train[index]
        with torch.autocast(kind, torch.bfloat16, enabled=settings.half and kind != "cpu"):
            logit = source.logit(one, generator).float()
        network.train()
        target = torch.tensor(_SMOOTHED[int(one.thrombus)], device=logit.device)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, target)
        (loss / settings.accumulate).backward()
        losses.append(float(loss.detach()))
        if number % settings.accumulate == 0 or number == len(train):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    return float(np.mean(losses))


def _turned(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Upside down half of the time; shifted by 15 %, scaled by 10 %, turned by 20 degrees at most, all frames alike."""
    draw = torch.rand(5, generator=generator) * 2 - 1
    angle, scale = draw[0] * 0.35, 1 + 0.1 * draw[1]
    flip = -1.0 if draw[2] < 0 else 1.0
    cos, sin = float(angle.cos() * scale), float(angle.sin() * scale)
    theta = torch.tensor([[cos, -sin * flip, 0.3 * float(draw[3])], [sin, cos * flip, 0.3 * float(draw[4])]])
    grid = nn.functional.affine_grid(theta[None].expand(len(frames), -1, -1), list(frames.shape), align_corners=False)
    return nn.functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)


def _load_backbone(network: MittmannNet, weights: Path) -> None:
    from ClaireDSALib.models.weights import read_weights

    own = network.cnn.state_dict()
    given = read_weights(weights)
    if missing := sorted(set(own) - set(given)):
        msg = (
            f"{weights.name} does not fit {network.backbone}: {len(missing)} entries are missing, first {missing[0]!r}"
        )
        raise ValueError(msg)
    network.cnn.load_state_dict({key: given[key] for key in own})
