"""Figures an adaptation is judged by: balanced accuracy per label, and how far two sites' features lie apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.statistics import logits_of
from ClaireDSALib.training.metrics import balanced_accuracy

MIN_PER_CLASS = 2
LEARNT = 0.2
"""Balanced accuracy above chance, on held-out source pictures, from which a label counts as read. Changes of the others
are within the noise of a validation set, and a network that cannot read a label has nothing to lose."""


def balanced_accuracies(network: nn.Module, pictures: Prepared, labels: LabelSet) -> dict[str, float]:
    """Balanced accuracy per label; labels with fewer than two classes among the pictures are left out."""
    return accuracies_of(logits_of(network, pictures), pictures.targets, labels)


def accuracies_of(
    outputs: npt.NDArray[np.floating], targets: npt.NDArray[np.integer], labels: LabelSet
) -> dict[str, float]:
    """As :func:`balanced_accuracies`, from logits or probabilities ``(N, K)``."""
    found = {}
    for k, label in enumerate(labels.labels):
        known = targets[:, k] >= 0
        counts = np.bincount(targets[known, k], minlength=len(label.classes))
        if (counts >= MIN_PER_CLASS).sum() < 2:
            continue
        predicted = outputs[known][:, labels.slice_of(label.name)].argmax(axis=1)
        found[label.name] = balanced_accuracy(targets[known, k], predicted)
    return found


def learnt_labels(at_source: dict[str, float], labels: LabelSet) -> tuple[str, ...]:
    """Labels whose balanced accuracy at the source lies at least :data:`LEARNT` above chance."""
    return tuple(name for name, value in at_source.items() if value >= 1 / len(labels[name].classes) + LEARNT)


def mean_of(figures: dict[str, float]) -> float:
    """Mean over labels; NaN for none."""
    return float(np.mean(list(figures.values()))) if figures else float("nan")


def feature_distance(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Fréchet distance of two sets of features with diagonal covariances, per variance of the first.

    Zero for equal means and variances; one when the means differ by one standard deviation in every feature.
    """
    spread_a, spread_b = first.std(axis=0), second.std(axis=0)
    apart = (first.mean(axis=0) - second.mean(axis=0)) ** 2 + (spread_a - spread_b) ** 2
    return float(apart.sum() / max(float((spread_a**2).sum()), 1e-12))
