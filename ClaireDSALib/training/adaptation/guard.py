"""Would an adaptation without target labels do harm? A verdict from what can be measured without them.

Rules over the labels the bundle reads at all: held-out source pictures with the target's look, whose labels are known,
must be told apart better than before and no label worse; what is known of the source's own look must not be lost; the
features of both sites must have come closer; and no class may vanish from the predictions on the target. One broken
rule refuses the adaptation. None of them proves a gain at the target: the first is a simulation of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.measures import balanced_accuracies, feature_distance, learnt_labels, mean_of
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.statistics import features_of, logits_of, with_statistics_of

WORSE = 0.02
"""Balanced accuracy a label may lose in the target's look."""
NEEDED_GAIN = 0.02
"""Mean gain in the target's look below which the adaptation is not worth its risk."""
FORGOTTEN = 0.05
"""Mean loss on the source's own look above which the training is taken to have gone wrong; some loss is the price of
another look and does no harm at the target."""
VANISHED = 0.2
"""Share of its former predictions below which a class has vanished."""
MIN_SHARE = 0.05
"""Classes predicted more rarely than this before are not watched."""


@dataclass(frozen=True)
class Evidence:
    """What was measured, without a target label.

    Parameters
    ----------
    learnt : tuple of str
        Labels the bundle reads at the source; the rules look at no other.
    source_change, restyled_change : dict
        Label -> change of balanced accuracy on held-out source pictures, as they are and with the target's look.
    distance_before, distance_after : float
        Between the features of both sites.
    vanished : tuple of str
        Classes that are hardly predicted any more, in words, all labels.
    """

    learnt: tuple[str, ...]
    source_change: dict[str, float]
    restyled_change: dict[str, float]
    distance_before: float
    distance_after: float
    vanished: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Decision on one adaptation, with its reasons and figures."""

    accepted: bool
    reasons: tuple[str, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The decision in words."""
        if self.accepted:
            return "accepted: " + "; ".join(self.reasons)
        return "refused, the bundle stays as it is: " + "; ".join(self.reasons)


def judge(before: nn.Module, after: nn.Module, domains: Domains, restyled_validation: Prepared) -> Verdict:
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
    at_source = balanced_accuracies(before, validation, labels)
    evidence = Evidence(
        learnt=learnt_labels(at_source, labels),
        source_change=_change(at_source, balanced_accuracies(at_home, validation, labels)),
        restyled_change=_change(*(balanced_accuracies(n, restyled_validation, labels) for n in (before, after))),
        distance_before=feature_distance(features_of(before, domains.source), features_of(before, domains.unlabelled)),
        distance_after=feature_distance(features_of(at_home, domains.source), features_of(after, domains.unlabelled)),
        vanished=_vanished(before, after, domains.unlabelled, labels),
    )
    return decide(evidence)


def decide(evidence: Evidence) -> Verdict:
    """Apply the rules."""
    if not evidence.learnt:
        return Verdict(False, ("the bundle reads no label at the source well enough to judge",), evidence)
    restyled, source = (
        {name: change[name] for name in evidence.learnt if name in change}
        for change in (evidence.restyled_change, evidence.source_change)
    )
    gain, lost = mean_of(restyled), -mean_of(source)
    closer = evidence.distance_after < evidence.distance_before
    rules = [
        *((v >= -WORSE, f"{k} lost {-v:.3f} with the target's look") for k, v in restyled.items()),
        (gain >= NEEDED_GAIN, f"with the target's look the mean gain is {gain:+.3f}, below {NEEDED_GAIN}"),
        (lost <= FORGOTTEN, f"held-out source pictures lost {lost:.3f} in the mean"),
        (closer, "the features of both sites did not come closer"),
        *((name not in evidence.learnt, words) for name, words in evidence.vanished),
    ]
    broken = tuple(words for kept, words in rules if not kept)
    figures = (
        f"mean balanced accuracy with the target's look {gain:+.3f}, on source {-lost:+.3f}, feature distance "
        f"{evidence.distance_before:.2f} to {evidence.distance_after:.2f}, over {', '.join(evidence.learnt)}"
    )
    return Verdict(not broken, broken or (figures,), evidence)


def _change(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {name: second[name] - first[name] for name in first}


def _vanished(before: nn.Module, after: nn.Module, pictures: Prepared, labels: LabelSet) -> tuple[tuple[str, str], ...]:
    """Label and sentence of each class that vanished."""
    first, second = logits_of(before, pictures), logits_of(after, pictures)
    found = []
    for label in labels.labels:
        place = labels.slice_of(label.name)
        shares = [
            np.bincount(x[:, place].argmax(axis=1), minlength=len(label.classes)) / max(len(x), 1)
            for x in (first, second)
        ]
        for name, old, new in zip(label.classes, *shares, strict=True):
            if old >= MIN_SHARE and new < VANISHED * old:
                words = f"{label.name} {name} vanished: predicted for {old:.0%} of target runs, now {new:.0%}"
                found.append((label.name, words))
    return tuple(found)


def _has_norms(network: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
