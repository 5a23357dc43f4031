"""Temperature scaling, one temperature per label, on validation patients (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from ClaireDSALib.models.labels import LabelSet

RANGE = (0.25, 8.0)
"""Temperatures outside say that the validation set is too small, not that the network is that badly calibrated."""


def fit_temperature(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.integer]) -> float:
    """Temperature that minimises the negative log likelihood.

    Parameters
    ----------
    logits : (N, K) float ndarray
    targets : (N,) int ndarray
        Known classes; with none the temperature is one.
    """
    if len(targets) == 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = special.log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(targets)), targets].mean())

    best = optimize.minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded")
    return float(np.exp(best.x))


def fit_temperatures(
    logits: npt.NDArray[np.floating], targets: npt.NDArray[np.integer], labels: LabelSet
) -> tuple[float, ...]:
    """One temperature per label; ``logits (N, K)`` over all labels, ``targets (N, L)`` with -1 for unknown."""
    temperatures = []
    for position, label in enumerate(labels.labels):
        known = targets[:, position] >= 0
        part = logits[known][:, labels.slice_of(label.name)]
        temperatures.append(fit_temperature(part, targets[known, position]))
    return tuple(temperatures)
