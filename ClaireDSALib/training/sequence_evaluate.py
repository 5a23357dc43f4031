"""How good a sequence network is on runs with known truth: single views, pairs, sites, phases; with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.phase_path import best_path
from ClaireDSALib.training.metrics import matthews
from ClaireDSALib.training.roc import auc
from ClaireDSALib.training.sequence_examples import SequenceExample
from ClaireDSALib.training.sequence_fit import SequenceOutputs

HIT_MM = 10.0
"""A site counts as found when the hottest cell lies within this distance in the plane of the view."""

PROXIMAL = ("ICA-T", "M1", "M2")


@dataclass(frozen=True)
class SequenceFigures:
    """Figures with 95 % intervals (low, high) where there are two numbers more."""

    n_runs: int
    n_pairs: int
    auc_single: tuple[float, float, float]
    auc_pair: tuple[float, float, float]
    mcc_single: float
    mcc_pair: float
    by_view: dict[str, float]
    """View -> AUC of single views."""
    sensitivity_by_site: dict[str, tuple[float, int]]
    """Site -> share of pairs found, number of pairs."""
    site_hits: tuple[float, int]
    """Share of detected ICA-T, M1 and M2 occlusions found within 10 mm, and their number."""
    phase_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    examples: Sequence[SequenceExample], outputs: SequenceOutputs, *, temperature: float, threshold: float
) -> SequenceFigures:
    """Compare outputs with the truth; single views and pairs share one threshold."""
    truth = np.array([e.thrombus for e in examples])
    logits = outputs.logits / temperature
    pair_truth, pair_logits, pair_sites = fuse_pairs(examples, logits)
    cut = float(np.log(threshold / (1 - threshold)))
    sites = {
        site: (float((pair_logits[pair_sites == site] >= cut).mean()), int((pair_sites == site).sum()))
        for site in sorted(set(pair_sites.tolist()) - {"none"})
    }
    return SequenceFigures(
        n_runs=len(examples),
        n_pairs=len(pair_truth),
        auc_single=_area(truth, logits),
        auc_pair=_area(pair_truth, pair_logits),
        mcc_single=mcc(truth, logits >= cut),
        mcc_pair=mcc(pair_truth, pair_logits >= cut),
        by_view={v: _area(truth[m], logits[m])[0] for v, m in _views(examples).items() if 0 < truth[m].sum() < m.sum()},
        sensitivity_by_site=sites,
        site_hits=_site_hits(examples, outputs, logits >= cut),
        phase_accuracy=_phase_accuracy(examples, outputs),
    )


def fuse_pairs(
    examples: Sequence[SequenceExample], logits: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    """Truth, mean logit and site of every pair."""
    names = np.array([e.pair for e in examples])
    truth, fused, sites = [], [], []
    for name in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == name)
        truth.append(any(examples[i].thrombus for i in members))
        fused.append(float(logits[members].mean()))
        sites.append(examples[members[0]].site_name)
    return np.array(truth), np.array(fused), np.array(sites)


def best_threshold(truth: npt.NDArray[np.bool_], logits: npt.NDArray[np.float64]) -> float:
    """Probability with the highest Matthews coefficient; the middle of a plateau."""
    cuts = np.unique(logits)
    scores = np.array([mcc(truth, logits >= cut) for cut in cuts])
    best = cuts[scores >= scores.max() - 1e-12]
    return float(1 / (1 + np.exp(-float(np.median(best)))))


def mcc(truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    """Matthews correlation of two binary vectors."""
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, (truth.astype(int), found.astype(int)), 1)
    return float(matthews(table))


def _area(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    area = auc(truth, scores)
    return (float(area.value), float(area.low), float(area.high))


def _views(examples: Sequence[SequenceExample]) -> dict[str, npt.NDArray[np.bool_]]:
    views = np.array([e.view for e in examples])
    return {str(view): views == view for view in np.unique(views)}


def _site_hits(
    examples: Sequence[SequenceExample], outputs: SequenceOutputs, found: npt.NDArray[np.bool_]
) -> tuple[float, int]:
    hits = [
        float(np.linalg.norm(np.asarray(e.site) - outputs.sites[i])) * e.pixel_mm <= HIT_MM
        for i, e in enumerate(examples)
        if found[i] and e.thrombus and e.site_name in PROXIMAL and np.isfinite(e.site[0])
    ]
    return (float(np.mean(hits)) if hits else float("nan"), len(hits))


def _phase_accuracy(examples: Sequence[SequenceExample], outputs: SequenceOutputs) -> float:
    right = [best_path(_log_softmax(p)) == e.phases for p, e in zip(outputs.phases, examples, strict=True)]
    return float(np.concatenate(right).mean())


def _log_softmax(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
