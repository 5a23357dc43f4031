"""Class shares of unlabelled pictures, estimated two ways, and predictions corrected for them.

EM: Saerens, Latinne, Decaestecker, Neural Comput 2002. BBSE: Lipton, Wang, Smola, ICML 2018. Both assume that only
the shares of the classes differ between two sites, not how a class looks; under a new look they are estimates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
FLOOR = 0.01
"""Smallest share of a class; an estimate of none at all would forbid the class for ever."""


def shares(targets: npt.NDArray[np.integer], n_classes: int) -> FloatArray:
    """Class shares ``(K,)`` of known targets, with half a picture added to each class."""
    counts = np.bincount(targets[targets >= 0], minlength=n_classes) + 0.5
    return counts / counts.sum()


def em_shares(
    probabilities: npt.NDArray[np.floating],
    source_shares: npt.NDArray[np.floating],
    *,
    steps: int = 500,
    tolerance: float = 1e-7,
) -> FloatArray:
    """Target shares by expectation maximisation.

    Parameters
    ----------
    probabilities : (N, K) float ndarray
        Calibrated outputs on target pictures.
    source_shares : (K,) float ndarray
        Shares on which the classifier was calibrated.
    """
    found = np.asarray(source_shares, float).copy()
    for _ in range(steps):
        new = corrected(probabilities, source_shares, found).mean(axis=0)
        if np.abs(new - found).max() < tolerance:
            break
        found = new
    return _proper(found)


def bbse_shares(
    predicted: npt.NDArray[np.integer],
    source_targets: npt.NDArray[np.integer],
    source_predicted: npt.NDArray[np.integer],
    n_classes: int,
) -> FloatArray | None:
    """Target shares from the confusion on source; None when the confusion cannot be inverted.

    Parameters
    ----------
    predicted : (N,) int ndarray
        Predicted classes of target pictures.
    source_targets, source_predicted : (M,) int ndarray
        Truth and prediction of held-out source pictures.
    """
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (source_predicted, source_targets), 1 / max(len(source_targets), 1))
    if np.linalg.svd(joint, compute_uv=False)[-1] < 0.02:  # nearly chance: the solution would be noise
        return None
    seen = np.bincount(predicted, minlength=n_classes) / max(len(predicted), 1)
    weights = np.clip(np.linalg.solve(joint, seen), 0, None)
    return _proper(weights * np.bincount(source_targets, minlength=n_classes) / max(len(source_targets), 1))


def corrected(
    probabilities: npt.NDArray[np.floating],
    source_shares: npt.NDArray[np.floating],
    target_shares: npt.NDArray[np.floating],
) -> FloatArray:
    """Probabilities ``(N, K)`` as they would be had the classifier learnt the target's shares."""
    weighted = probabilities * (np.asarray(target_shares, float) / np.asarray(source_shares, float))
    return weighted / weighted.sum(axis=1, keepdims=True)


def importance(
    targets: npt.NDArray[np.integer],
    source_shares: list[FloatArray],
    target_shares: list[FloatArray],
    *,
    limit: float = 4.0,
) -> FloatArray:
    """Weight ``(N,)`` of each source picture that makes its domain's shares those of the target.

    Labels are taken as independent; an unknown label weighs one. Weights lie within ``1/limit`` and ``limit`` before
    they are scaled to a mean of one, so that no picture speaks for a hundred others.
    """
    log_weight = np.zeros(len(targets))
    for k, (source, target) in enumerate(zip(source_shares, target_shares, strict=True)):
        known = targets[:, k] >= 0
        log_weight[known] += np.log(target / source)[targets[known, k]]
    weight = np.exp(np.clip(log_weight, -np.log(limit), np.log(limit)))
    return weight / weight.mean()


def _proper(values: FloatArray) -> FloatArray:
    floored = np.maximum(values, FLOOR)
    return floored / floored.sum()
