"""Would an adaptation without target labels do harm? A verdict from what can be measured without them.

Four rules, each on the figures of every label: held-out source pictures must still be told apart; the same pictures
with the target's look, whose labels are known, must be told apart better than before and no label worse; the features
of both sites must have come closer; and no class may vanish from the predictions on the target. One broken rule
refuses the adaptation. None of them proves a gain at the target: the second is a simulation of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.measures import balanced_accuracies, feature_distance, mean_of
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.statistics import features_of, logits_of, with_statistics_of

WORSE = 0.02
"""Balanced accuracy a label may lose."""
NEEDED_GAIN = 0.02
"""Mean gain on restyled source pictures below which the adaptation is not worth its risk."""
VANISHED = 0.2
"""Share of its former predictions below which a class has vanished."""
MIN_SHARE = 0.05
"""Classes predicted more rarely than this before are not watched."""


@dataclass(frozen=True)
class Verdict:
    """Decision on one adaptation, with its figures."""

    accepted: bool
    reasons: tuple[str, ...]
    source_change: dict[str, float] = field(default_factory=dict)
    """Label -> change of balanced accuracy on held-out source pictures."""
    restyled_change: dict[str, float] = field(default_factory=dict)
    """The same for these pictures with the target's look."""
    distance_before: float = float("nan")
    distance_after: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The decision in words."""
        if self.accepted:
            return "accepted: " + "; ".join(self.reasons)
        return "refused, the bundle stays as it is: " + "; ".join(self.reasons)


def judge(
    before: nn.Module,
    after: nn.Module,
    domains: Domains,
    restyled_validation: Prepared,
) -> Verdict:
    """Compare a network before and after an adaptation, without target labels.

    Parameters
    ----------
    before, after : nn.Module
    domains : Domains
    restyled_validation : Prepared
        Source validation pictures with the target's look, in the same order.

    Returns
    -------
    Verdict
    """
    labels, validation = domains.labels, domains.source_validation
    at_home = with_statistics_of(after, domains.source) if _has_norms(after) else after
    source = _change(before, at_home, validation, labels)
    restyled = _change(before, after, restyled_validation, labels)
    distances = (
        feature_distance(features_of(before, domains.source), features_of(before, domains.unlabelled)),
        feature_distance(features_of(at_home, domains.source), features_of(after, domains.unlabelled)),
    )
    broken = [
        *_worse(source, "on source validation"),
        *_worse(restyled, "on source validation with the target's look"),
        *_too_little(restyled),
        *_not_closer(*distances),
        *_vanished(before, after, domains.unlabelled, labels),
    ]
    kept = (
        f"mean balanced accuracy with the target's look changed by {mean_of(restyled):+.3f}, on source by "
        f"{mean_of(source):+.3f}, feature distance {distances[0]:.2f} to {distances[1]:.2f}",
    )
    return Verdict(not broken, tuple(broken) or kept, source, restyled, *distances)


def _change(before: nn.Module, after: nn.Module, pictures: Prepared, labels: LabelSet) -> dict[str, float]:
    first, second = (balanced_accuracies(n, pictures, labels) for n in (before, after))
    return {name: second[name] - first[name] for name in first}


def _worse(changes: dict[str, float], where: str) -> list[str]:
    return [f"{name} lost {-change:.3f} {where}" for name, change in changes.items() if change < -WORSE]


def _too_little(changes: dict[str, float]) -> list[str]:
    gain = mean_of(changes)
    if gain >= NEEDED_GAIN:
        return []
    return [f"with the target's look the mean gain is {gain:+.3f}, below the {NEEDED_GAIN} that is asked for"]


def _not_closer(before: float, after: float) -> list[str]:
    if after < before:
        return []
    return [f"the features of both sites did not come closer: {before:.2f} before, {after:.2f} after"]


def _vanished(before: nn.Module, after: nn.Module, pictures: Prepared, labels: LabelSet) -> list[str]:
    first, second = logits_of(before, pictures), logits_of(after, pictures)
    broken = []
    for label in labels.labels:
        place = labels.slice_of(label.name)
        shares = [
            np.bincount(x[:, place].argmax(axis=1), minlength=len(label.classes)) / max(len(x), 1)
            for x in (first, second)
        ]
        for name, old, new in zip(label.classes, *shares, strict=True):
            if old >= MIN_SHARE and new < VANISHED * old:
                broken.append(f"{label.name} {name} vanished: predicted for {old:.0%} of target runs, now {new:.0%}")
    return broken


def _has_norms(network: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
