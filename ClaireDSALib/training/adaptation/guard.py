"""Would an adaptation without target labels do harm? A verdict from what can be measured without them.

First label by label. Held-out source pictures whose labels are known are given the target's look, and both networks
read them. A label is adapted when the parent reads it at the source at all and when the lower bound of its gain there
(bootstrap over patients) exceeds what the simulated look itself is in error; every other label keeps its parent's
output. Labels of which target labels were given are adapted too, unless they lose there, or unless the parent reads the
labelled target runs, which it never saw, as well as it reads the source.

Then as a whole, over the labels that are to be adapted: the mean gain must be worth it and, without target labels, the
source's own look must not be forgotten and the features of both sites must have come closer. One broken rule refuses
the adaptation. None of them proves a gain at the target: the look is only simulated.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.measures import (
    accuracies_of,
    balanced_accuracies,
    feature_distance,
    learnt_labels,
    mean_of,
)
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.statistics import features_of, logits_of, with_statistics_of
from ClaireDSALib.training.adaptation.support import change_bounds

WORSE = 0.02
"""Balanced accuracy a label with target labels may lose in the target's look before it keeps its parent's output."""
LOOK_ERROR = 0.08
"""By how much the gain of a label with the simulated look may exceed its true gain at the target, beyond the chance of
drawing patients: 1.645 times a standard deviation of 0.05, from simulated sites; see ``docs/adaptation.md``."""
NEEDED_GAIN = 0.02
"""Mean gain in the target's look below which the adaptation is not worth its risk."""
FORGOTTEN = 0.15
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
        Labels the bundle reads at the source.
    source_change, restyled_change : dict
        Label -> change of balanced accuracy on held-out source pictures, as they are and with the target's look.
    distance_before, distance_after : float
        Between the features of both sites.
    vanished : tuple of str
        Classes that are hardly predicted any more, label and words.
    restyled_low : dict
        Label -> lower bound of ``restyled_change``.
    source_before, target_before : dict
        Label -> the parent's balanced accuracy on held-out source runs and on labelled target runs.
    """

    learnt: tuple[str, ...]
    source_change: dict[str, float]
    restyled_change: dict[str, float]
    distance_before: float
    distance_after: float
    vanished: tuple[tuple[str, str], ...] = ()
    restyled_low: dict[str, float] = field(default_factory=dict)
    source_before: dict[str, float] = field(default_factory=dict)
    target_before: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Decision on one adaptation, with its reasons and figures.

    Parameters
    ----------
    accepted : bool
    reasons : tuple of str
    evidence : Evidence
    kept : dict
        Label -> why it keeps its parent's output.
    """

    accepted: bool
    reasons: tuple[str, ...]
    evidence: Evidence
    kept: dict[str, str] = field(default_factory=dict)

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
    labelled: Collection[str] = (),
) -> Verdict:
    """Compare a network before and after an adaptation, without target labels.

    Parameters
    ----------
    before, after : nn.Module
    domains : Domains
    restyled_validation : Prepared
        Source validation pictures with the target's look, in the same order.
    labelled : collection of str
        Labels of which target labels were trained on.

    Returns
    -------
    Verdict
    """
    labels, validation = domains.labels, domains.source_validation
    at_home = with_statistics_of(after, domains.source) if _has_norms(after) else after
    at_source = balanced_accuracies(before, validation, labels)
    first, second = (logits_of(n, restyled_validation) for n in (before, after))
    evidence = Evidence(
        learnt=learnt_labels(at_source, labels),
        source_change=_change(at_source, balanced_accuracies(at_home, validation, labels)),
        restyled_change=_change(*(accuracies_of(x, restyled_validation.targets, labels) for x in (first, second))),
        distance_before=feature_distance(features_of(before, domains.source), features_of(before, domains.unlabelled)),
        distance_after=feature_distance(features_of(at_home, domains.source), features_of(after, domains.unlabelled)),
        vanished=_vanished(before, after, domains.unlabelled, labels),
        restyled_low=change_bounds(first, second, restyled_validation, labels),
        source_before=at_source,
        target_before=balanced_accuracies(before, domains.labelled, labels) if len(domains.labelled) else {},
    )
    return decide(evidence, labels.names, labelled)


def decide(evidence: Evidence, names: Collection[str], labelled: Collection[str] = ()) -> Verdict:
    """Apply the rules.

    Parameters
    ----------
    evidence : Evidence
    names : collection of str
        All labels of the bundle.
    labelled : collection of str
        Labels of which target labels were trained on.
    """
    if not evidence.learnt:
        return Verdict(False, ("the bundle reads no label at the source well enough to judge",), evidence)
    said = {name: _why_kept(name, evidence, labelled) for name in names}
    kept = {name: words for name, words in said.items() if words}
    judged = [name for name in evidence.learnt if name not in kept]
    if not judged:
        words = "; ".join(f"{name}: {why}" for name, why in kept.items() if name in evidence.learnt)
        return Verdict(False, (f"of no label that the bundle reads is a gain supported ({words})",), evidence, kept)
    gain = mean_of({name: evidence.restyled_change[name] for name in judged})
    lost = -mean_of({name: evidence.source_change[name] for name in judged})
    # target labels speak for themselves: heads alone may change, and one head cannot always serve both looks
    taught = set(judged) <= set(labelled)
    closer = evidence.distance_after < evidence.distance_before
    rules = [
        (gain >= NEEDED_GAIN, f"with the target's look the mean gain is {gain:+.3f}, below {NEEDED_GAIN}"),
        (taught or lost <= FORGOTTEN, f"held-out source pictures lost {lost:.3f} in the mean"),
        (taught or closer, "the features of both sites did not come closer"),
    ]
    broken = tuple(words for holds, words in rules if not holds)
    figures = (
        f"mean balanced accuracy with the target's look {gain:+.3f}, on source {-lost:+.3f}, feature distance "
        f"{evidence.distance_before:.2f} to {evidence.distance_after:.2f}, over {', '.join(judged)}"
    )
    return Verdict(not broken, broken or (figures, *_kept_sentence(kept)), evidence, kept)


def _why_kept(name: str, evidence: Evidence, labelled: Collection[str]) -> str:
    """Why a label keeps its parent's output; empty when it is adapted."""
    change = evidence.restyled_change.get(name)
    supported = evidence.restyled_low.get(name, -np.inf) > LOOK_ERROR
    vanished = [words for label, words in evidence.vanished if label == name]
    if name in evidence.learnt and change is not None and vanished:
        return vanished[0]
    if name in labelled:
        if name in evidence.learnt and change is not None and change < -WORSE:
            return f"lost {-change:.3f} with the target's look"
        return "" if name not in evidence.learnt or supported else _read_well(name, evidence)
    if name not in evidence.learnt:
        return "hardly read at the source"
    if change is None:
        return "not among the source validation"
    low = evidence.restyled_low.get(name, -np.inf)
    return "" if supported else f"change {change:+.3f} with the target's look, lower bound {low:+.3f}"


def _read_well(name: str, evidence: Evidence) -> str:
    """Words when the parent reads a label on the labelled target runs as well as at the source."""
    here, there = evidence.source_before.get(name), evidence.target_before.get(name)
    if here is None or there is None or there < here - WORSE:
        return ""
    return f"balanced accuracy {there:.3f} on the labelled target runs as it is, {here:.3f} at the source"


def _kept_sentence(kept: dict[str, str]) -> tuple[str, ...]:
    words = "; ".join(f"{name} ({why})" for name, why in kept.items())
    return (f"as the parent reads them stay {words}",) if kept else ()


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
