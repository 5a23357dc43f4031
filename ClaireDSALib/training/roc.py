"""Areas under ROC curves with DeLong's confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Area:
    """Area under a ROC curve with a 95 % interval; NaN when a class is absent."""

    value: float
    low: float
    high: float
    variance: float = float("nan")


def auc(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> Area:
    """Area under the ROC curve, interval by DeLong on the logit scale.

    Parameters
    ----------
    positive : (N,) bool ndarray
    scores : (N,) float ndarray
        Higher means more likely positive.

    Returns
    -------
    Area

    Notes
    -----
    DeLong, DeLong and Clarke-Pearson, Biometrics 1988, with mid-ranks after Sun and Xu, IEEE Signal Process Lett
    2014. Where the area is one the variance is zero; the interval then is Hanley and Lippman-Hand's rule of three
    on the smaller class.
    """
    x, y = scores[positive], scores[~positive]
    if len(x) == 0 or len(y) == 0:
        return Area(float("nan"), float("nan"), float("nan"))
    value, v10, v01 = _structural_components(x, y)
    variance = float(v10.var(ddof=1) / len(x) if len(x) > 1 else 0) + float(
        v01.var(ddof=1) / len(y) if len(y) > 1 else 0
    )
    if variance <= 1e-12 or value in (0.0, 1.0):
        slack = 1 - 0.05 ** (1 / min(len(x), len(y)))
        return Area(value, max(0.0, value - slack), min(1.0, value + slack), variance)
    spread = Z_95 * np.sqrt(variance) / (value * (1 - value))
    center = special.logit(value)
    return Area(value, float(special.expit(center - spread)), float(special.expit(center + spread)), variance)


def compare(
    positive: npt.NDArray[np.bool_], first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]
) -> tuple[float, float, float, float]:
    """Difference of two paired areas (first minus second), its 95 % interval and two-sided p value (DeLong).

    Returns
    -------
    difference, low, high, p : float
    """
    a, a10, a01 = _structural_components(first[positive], first[~positive])
    b, b10, b01 = _structural_components(second[positive], second[~positive])
    variance = float((a10 - b10).var(ddof=1) / len(a10) + (a01 - b01).var(ddof=1) / len(a01))
    difference, error = a - b, np.sqrt(variance)
    p = 1.0 if error == 0 else float(2 * stats.norm.sf(abs(difference) / error))
    return difference, float(difference - Z_95 * error), float(difference + Z_95 * error), p


def macro_auc(
    targets: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating], *, n_boot: int = 400, seed: int = 0
) -> Area:
    """Mean one-versus-rest area over the classes that occur; interval by bootstrap over pictures.

    Two classes need no bootstrap: both areas are the same and DeLong's interval holds.
    """
    classes = np.unique(targets)
    if len(classes) < 2:
        return Area(float("nan"), float("nan"), float("nan"))
    if probabilities.shape[1] == 2:
        return auc(targets == 1, probabilities[:, 1])
    value = _macro(targets, probabilities)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(targets), len(targets)) for _ in range(n_boot)]
    values = [_macro(targets[d], probabilities[d]) for d in draws if len(np.unique(targets[d])) == len(classes)]
    low, high = np.percentile(values, (2.5, 97.5)) if values else (float("nan"),) * 2
    return Area(value, float(low), float(high), float(np.var(values)) if values else float("nan"))


def _macro(targets: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]) -> float:
    return float(np.mean([_area(targets == c, probabilities[:, c]) for c in np.unique(targets)]))


def _area(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> float:
    """Mann-Whitney form: probability that a positive scores higher, ties count half."""
    ranks = stats.rankdata(scores)
    n_pos, n_neg = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def _structural_components(
    x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]
) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Area and DeLong's components of every positive ``x`` and every negative ``y``."""
    m, n = len(x), len(y)
    together = stats.rankdata(np.concatenate([x, y]))
    v10 = (together[:m] - stats.rankdata(x)) / n
    v01 = 1 - (together[m:] - stats.rankdata(y)) / m
    return float(v10.mean()), v10, v01
