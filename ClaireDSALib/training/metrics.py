"""Figures of merit of one label, each with a 95 % confidence interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.training.roc import Area, auc, macro_auc

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; NaN when it cannot be computed."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, area: Area) -> Estimate:
        return cls(area.value, area.low, area.high)


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest."""

    name: str
    n: int
    auc: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class LabelMetrics:
    """One label."""

    name: str
    n: int
    macro_auc: Estimate
    balanced_accuracy: Estimate
    mcc: Estimate
    ece: Estimate
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: truth; columns: prediction."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def label_metrics(
    name: str,
    classes: tuple[str, ...],
    targets: IntArray,
    probabilities: FloatArray,
    *,
    n_boot: int = 400,
    seed: int = 0,
) -> LabelMetrics:
    """All figures of one label.

    Parameters
    ----------
    name : str
    classes : tuple of str
    targets : (N,) int ndarray
        Class indices, all known.
    probabilities : (N, K) float ndarray
    n_boot : int
        Bootstrap samples of pictures for everything but two-class areas.
    """
    predicted = probabilities.argmax(axis=1)
    k = len(classes)

    def boot(figure: Callable[[IntArray, IntArray], float]) -> Estimate:
        return bootstrap(figure, targets, predicted, n_boot=n_boot, seed=seed)

    per_class = []
    for c, cls in enumerate(classes):
        per_class.append(
            ClassMetrics(
                name=cls,
                n=int((targets == c).sum()),
                auc=Estimate.of(auc(targets == c, probabilities[:, c])),
                precision=boot(lambda t, p, c=c: _ratio(((t == c) & (p == c)).sum(), (p == c).sum())),
                recall=boot(lambda t, p, c=c: _ratio(((t == c) & (p == c)).sum(), (t == c).sum())),
                f1=boot(lambda t, p, c=c: _ratio(2 * ((t == c) & (p == c)).sum(), (t == c).sum() + (p == c).sum())),
            )
        )
    matrix = confusion_matrix(targets, predicted, k)
    return LabelMetrics(
        name=name,
        n=len(targets),
        macro_auc=Estimate.of(macro_auc(targets, probabilities, n_boot=n_boot, seed=seed)),
        balanced_accuracy=boot(lambda t, p: balanced_accuracy(t, p)),
        mcc=boot(lambda t, p: matthews(confusion_matrix(t, p, k))),
        ece=bootstrap(expected_calibration_error, targets, probabilities, n_boot=n_boot, seed=seed),
        classes=tuple(per_class),
        confusion=tuple(tuple(int(v) for v in row) for row in matrix),
    )


def confusion_matrix(targets: IntArray, predicted: IntArray, n_classes: int) -> npt.NDArray[np.int64]:
    """Counts ``(K, K)``; rows are the truth."""
    matrix = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(matrix, (targets, predicted), 1)
    return matrix


def balanced_accuracy(targets: IntArray, predicted: IntArray) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(predicted[targets == c] == c).mean() for c in np.unique(targets)]))


def matthews(confusion: npt.NDArray[np.integer]) -> float:
    """Matthews' correlation for any number of classes (Gorodkin, Comput Biol Chem 2004); 0 when undefined."""
    total, hits = confusion.sum(), np.trace(confusion)
    truth, found = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
    scale = np.sqrt((total**2 - (found**2).sum()) * (total**2 - (truth**2).sum()))
    return float((hits * total - (truth * found).sum()) / scale) if scale > 0 else 0.0


def expected_calibration_error(targets: IntArray, probabilities: FloatArray, n_bins: int = 10) -> float:
    """Mean gap between confidence and accuracy of the predicted class (Guo et al., ICML 2017), equal-width bins."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


def reliability(targets: IntArray, probabilities: FloatArray, n_bins: int = 10) -> list[tuple[float, float, int]]:
    """``(mean confidence, accuracy, count)`` per bin that is not empty."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return [
        (float(confidence[bins == b].mean()), float(correct[bins == b].mean()), int((bins == b).sum()))
        for b in np.unique(bins)
    ]


def bootstrap(
    figure: Callable[[Any, Any], float], targets: IntArray, outputs: Any, *, n_boot: int = 400, seed: int = 0
) -> Estimate:
    """A figure with its percentile interval over resampled pictures."""
    rng = np.random.default_rng(seed)
    n = len(targets)
    draws = (rng.integers(0, n, n) for _ in range(n_boot))
    values = [figure(targets[d], outputs[d]) for d in draws]
    finite = [v for v in values if np.isfinite(v)]
    low, high = np.percentile(finite, (2.5, 97.5)) if finite else (float("nan"),) * 2
    return Estimate(figure(targets, outputs), float(low), float(high))


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else float("nan")
