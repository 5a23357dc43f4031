"""How good a sequence network is on runs with known truth: single views, pairs, sites, phases; with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.phase_path import best_path
from ClaireDSALib.training.metrics import matthews
from ClaireDSALib.training.roc import auc
from ClaireDSALib.training.sequence_assessable import assessable
from ClaireDSALib.training.sequence_examples import SequenceExample
from ClaireDSALib.training.sequence_fit import SequenceOutputs

HIT_MM = 10.0
"""A site counts as found when the hottest cell lies within this distance in the plane of the view."""

PROXIMAL = ("ICA-T", "M1", "M2")

_POSTERIOR_CEREBRAL = ("P1", "P2")

AREAS_MM2 = (0.0, 300.0, 500.0, 1000.0, 2000.0, np.inf)
"""Limits between which missing territory is tabulated."""


@dataclass(frozen=True)
class SetFigures:
    """Figures of one set of pairs; 95 % intervals (low, high) follow the value where there are three numbers."""

    n_pairs: int
    n_open: int
    auc_pair: tuple[float, float, float]
    mcc_pair: float
    auc_single: tuple[float, float, float]
    mcc_single: float
    by_view: dict[str, tuple[float, float]]
    """View -> AUC and MCC of single views."""
    confusion_pair: tuple[int, int, int, int]
    """True negatives, false positives, false negatives, true positives."""
    sensitivity_at_90: float
    """Of pairs, at a specificity of at least 90 %."""
    auc_pair_maps: float
    auc_pair_frames: float
    """AUC of pairs by one branch alone."""


@dataclass(frozen=True)
class SequenceFigures:
    """Figures of a network on held-out patients.

    ``assessable`` leaves out the pairs whose clot takes nothing visible from the pictures, see
    :mod:`ClaireDSALib.training.sequence_assessable`; ``without_pca`` leaves out the posterior cerebral arteries too,
    which many heads fill from the carotid; ``all`` has every pair.
    """

    n_runs: int
    assessable: SetFigures
    without_pca: SetFigures
    all: SetFigures
    sensitivity_by_site: dict[str, tuple[float, int, float, int]]
    """Site -> share of assessable pairs found and their number, share of all pairs found and their number."""
    auc_by_site: dict[str, float]
    """Site -> AUC of its assessable pairs against all open ones; NaN without any."""
    sensitivity_by_area: dict[str, tuple[float, int]]
    """Missing territory in the better view, mm2 -> share of all pairs found, number of pairs."""
    site_hits: tuple[float, int]
    """Share of detected ICA-T, M1 and M2 occlusions found within 10 mm in the view, and the number of views."""
    site_median_mm: float
    phase_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: what could not be measured is None."""
        return _measured(asdict(self))


def _measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _measured(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_measured(one) for one in value)
    return None if isinstance(value, float) and np.isnan(value) else value


@dataclass(frozen=True)
class Pairs:
    """Pairs of views: truth, mean logit, site, missing territory of the better view, whether assessable."""

    truth: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.float64]
    sites: npt.NDArray[np.str_]
    missing_mm2: npt.NDArray[np.float64]
    assessable: npt.NDArray[np.bool_]


def evaluate(
    examples: Sequence[SequenceExample],
    outputs: SequenceOutputs,
    *,
    mix: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    temperature: float,
    threshold: float,
) -> SequenceFigures:
    """Compare outputs with the truth; single views and pairs share one threshold."""
    logits = outputs.mixed(mix) / temperature
    usable = assessable(examples)
    pairs = fuse_pairs(examples, logits, usable)
    cut = float(np.log(threshold / (1 - threshold)))
    elsewhere = np.array([e.site_name not in _POSTERIOR_CEREBRAL for e in examples])
    sites = sorted(set(pairs.sites.tolist()) - {"none"})
    return SequenceFigures(
        n_runs=len(examples),
        assessable=_set_figures(examples, outputs, logits, usable, cut),
        without_pca=_set_figures(examples, outputs, logits, usable & elsewhere, cut),
        all=_set_figures(examples, outputs, logits, np.ones(len(examples), bool), cut),
        sensitivity_by_site={
            site: (
                *_share(pairs.logits[(pairs.sites == site) & pairs.assessable] >= cut),
                *_share(pairs.logits[pairs.sites == site] >= cut),
            )
            for site in sites
        },
        auc_by_site={site: _site_area(pairs, site) for site in sites},
        sensitivity_by_area=_by_area(pairs, cut),
        **_sites(examples, outputs, usable & (logits >= cut)),
        phase_accuracy=_phase_accuracy(examples, outputs),
    )


def fuse_pairs(
    examples: Sequence[SequenceExample],
    logits: npt.NDArray[np.float64],
    usable: npt.NDArray[np.bool_] | None = None,
) -> Pairs:
    """Equal-weight mean of the logits of the views of a pair."""
    names = np.array([e.pair for e in examples])
    usable = np.ones(len(examples), bool) if usable is None else usable
    rows = []
    for name in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == name)
        some = [examples[i] for i in members]
        rows.append(
            (
                any(e.thrombus for e in some),
                float(logits[members].mean()),
                some[0].site_name,
                max(e.missing_mm2 for e in some),
                bool(usable[members].all()),
            )
        )
    columns = list(zip(*rows, strict=True))
    return Pairs(*(np.array(column) for column in columns))


def best_threshold(truth: npt.NDArray[np.bool_], logits: npt.NDArray[np.float64]) -> float:
    """Probability with the highest Matthews coefficient; the middle of a plateau between two scores."""
    scores = np.unique(logits)
    cuts = np.concatenate([[scores[0] - 1], (scores[1:] + scores[:-1]) / 2])
    values = np.array([mcc(truth, logits >= cut) for cut in cuts])
    best = cuts[values >= values.max() - 1e-12]
    return float(1 / (1 + np.exp(-float(np.median(best)))))


def mcc(truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    """Matthews correlation of two binary vectors."""
    return float(matthews(_table(truth, found)))


def sensitivity_at(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating], specificity: float) -> float:
    """Largest sensitivity of a cut on ``scores`` whose specificity is at least as asked; NaN without both classes."""
    if truth.all() or not truth.any():
        return float("nan")
    negatives = np.sort(scores[~truth])
    allowed = int(np.floor((1 - specificity) * len(negatives) + 1e-9))
    cut = negatives[len(negatives) - 1 - allowed] if allowed < len(negatives) else -np.inf
    return float((scores[truth] > cut).mean())


def _table(truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, (truth.astype(int), found.astype(int)), 1)
    return table


def _set_figures(
    examples: Sequence[SequenceExample],
    outputs: SequenceOutputs,
    logits: npt.NDArray[np.float64],
    chosen: npt.NDArray[np.bool_],
    cut: float,
) -> SetFigures:
    truth = np.array([e.thrombus for e in examples])
    kept = np.flatnonzero(chosen)
    some = [examples[i] for i in kept]
    pairs = fuse_pairs(some, logits[kept])
    views = np.array([e.view for e in examples])
    table = _table(pairs.truth, pairs.logits >= cut)
    both = {v: chosen & (views == v) for v in np.unique(views).tolist()}
    return SetFigures(
        n_pairs=len(pairs.truth),
        n_open=int((~pairs.truth).sum()),
        auc_pair=_area(pairs.truth, pairs.logits),
        mcc_pair=float(matthews(table)),
        auc_single=_area(truth[kept], logits[kept]),
        mcc_single=mcc(truth[kept], logits[kept] >= cut),
        by_view={
            v: (_area(truth[m], logits[m])[0], mcc(truth[m], logits[m] >= cut))
            for v, m in both.items()
            if 0 < truth[m].sum() < m.sum()
        },
        confusion_pair=(int(table[0, 0]), int(table[0, 1]), int(table[1, 0]), int(table[1, 1])),
        sensitivity_at_90=sensitivity_at(pairs.truth, pairs.logits, 0.9),
        auc_pair_maps=_area(pairs.truth, fuse_pairs(some, outputs.maps_logits[kept]).logits)[0],
        auc_pair_frames=_area(pairs.truth, fuse_pairs(some, outputs.frames_logits[kept]).logits)[0],
    )


def _site_area(pairs: Pairs, site: str) -> float:
    chosen = ~pairs.truth | ((pairs.sites == site) & pairs.assessable)
    truth = pairs.truth[chosen]
    return _area(truth, pairs.logits[chosen])[0] if truth.any() and not truth.all() else float("nan")


def _area(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    area = auc(truth, scores)
    return (float(area.value), float(area.low), float(area.high))


def _share(found: npt.NDArray[np.bool_]) -> tuple[float, int]:
    return (float(found.mean()) if len(found) else float("nan"), len(found))


def _by_area(pairs: Pairs, cut: float) -> dict[str, tuple[float, int]]:
    table = {}
    for low, high in pairwise(AREAS_MM2):
        inside = pairs.truth & (pairs.missing_mm2 >= low) & (pairs.missing_mm2 < high)
        name = f"{low:.0f} to {high:.0f}" if np.isfinite(high) else f"{low:.0f} or more"
        table[name] = _share(pairs.logits[inside] >= cut)
    return table


def _sites(
    examples: Sequence[SequenceExample], outputs: SequenceOutputs, found: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    away = np.array(
        [
            float(np.linalg.norm(np.asarray(e.site) - outputs.sites[i])) * e.pixel_mm
            for i, e in enumerate(examples)
            if found[i] and e.thrombus and e.site_name in PROXIMAL and np.isfinite(e.site[0])
        ]
    )
    return {
        "site_hits": _share(away <= HIT_MM),
        "site_median_mm": float(np.median(away)) if len(away) else float("nan"),
    }


def _phase_accuracy(examples: Sequence[SequenceExample], outputs: SequenceOutputs) -> float:
    right = [best_path(_log_softmax(p)) == e.phases for p, e in zip(outputs.phases, examples, strict=True)]
    return float(np.concatenate(right).mean())


def _log_softmax(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
