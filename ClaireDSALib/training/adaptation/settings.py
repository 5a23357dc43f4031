"""What a researcher may choose about an adaptation, and the published recipe as a preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ClaireDSALib.training.from_json import JsonSettings

METHODS = (
    "source_only",
    "batch_norm",
    "prior",
    "head",
    "fine_tune",
    "joint",
    "adversarial",
    "look",
    "look_adversarial",
)
"""From doing nothing to everything; what each does is said in :mod:`ClaireDSALib.training.adaptation.methods`."""


@dataclass(frozen=True)
class AdaptSettings(JsonSettings):
    """Choices of one adaptation; stored in the new bundle.

    Parameters
    ----------
    epochs : float
        Passes over the labelled source pictures.
    batch_size : int
        Source pictures, and unlabelled target pictures, per step.
    labelled_batch : int
        Labelled target pictures per step; they are repeated until every source batch has its own.
    learning_rate, weight_decay : float
        Adam with decoupled decay.
    domain_weight : float
        Share of the domain term in the loss.
    ramp : float
        ``p`` of the reversal schedule at the end: 20 epochs of epoch / 10 make 2.
    domain_hidden : int
        Width of the domain classifier's hidden layer.
    match_priors : bool
        Draw and weigh source pictures so that their class shares become those estimated for the target; otherwise
        features are made alike although the cases differ.
    balance_target : bool
        Weigh the few labelled target pictures by the inverse share of their class.
    own_statistics : bool
        End with batch-norm statistics of the target pictures.
    validation_share : float
        Share of labelled target patients kept for choosing among epochs, when there are enough of them.
    max_minutes : float
        Wall-clock budget; schedules follow it when it is the tighter limit.
    seed : int
    """

    kind: ClassVar[str] = "adaptation settings"
    epochs: float = 12.0
    batch_size: int = 24
    labelled_batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    domain_weight: float = 0.1
    ramp: float = 2.0
    domain_hidden: int = 64
    match_priors: bool = True
    balance_target: bool = True
    own_statistics: bool = True
    validation_share: float = 0.25
    max_minutes: float = 25.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "labelled_batch", "learning_rate", "max_minutes", "domain_hidden"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above zero; got {getattr(self, name)}"
                raise ValueError(msg)
        if self.domain_weight < 0 or self.ramp < 0 or not 0 <= self.validation_share <= 0.5:
            msg = (
                "domain_weight and ramp must not be negative and validation_share lies between 0 and 0.5; got "
                f"{self.domain_weight}, {self.ramp}, {self.validation_share}"
            )
            raise ValueError(msg)


PRESETS: dict[str, AdaptSettings] = {
    "default": AdaptSettings(),
    "published": AdaptSettings(
        epochs=20,
        batch_size=8,
        labelled_batch=1,
        learning_rate=1e-4,
        weight_decay=1e-4,
        domain_weight=0.1,
        ramp=2.0,
        domain_hidden=1300,
        match_priors=False,
        balance_target=False,
        own_statistics=False,
    ),
}
"""``published``: the numbers of Loizillon et al.'s public implementation (doi 10.1016/j.media.2025.103617)."""
