"""How well Tmax, the change of flow and the eTICI estimate follow the truth of simulated treatments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ClaireDSALib.dsa.exposure_drift import without_drift
from ClaireDSALib.dsa.perfusion import perfusion_maps
from ClaireDSALib.dsa.reperfusion import GRADES, Evidence, estimate_reperfusion, flow_change, grade_of
from ClaireDSALib.dsa.run_registration import register
from ClaireDSALib.dsa.small_run import SmallRun
from ClaireDSALib.pipeline.before_after import remaining_territory
from ClaireDSALib.training.metrics import Estimate
from ClaireDSALib.training.reperfusion_data import BeforeAfter, SimulatedRun

BLOCK_CELLS = 8
"""Side of the blocks, about 15 mm, over which Tmax and the true delay are compared."""

LEAST_LOST = 0.12
"""Share of the injected circulation lost before treatment from which eTICI is asked for: a proximal M2 and more."""

_LOSSES = (0.0, LEAST_LOST, 0.2, 0.3)
_GRID_STEP = 0.02
"""The estimate lives on a grid; 0 and 1 lie just outside it."""

_FEWEST_BLOCKS = 10
_LEAST_TISSUE = 0.4
_BOOT = 500

Territory = Callable[[SimulatedRun], npt.NDArray[np.floating] | None]
"""Map of missing territory 0 to 1 that a network reads off a run; None when it sees no thrombus."""


@dataclass(frozen=True)
class PerfusionFigures:
    """Rank correlations (Spearman) with 95 % intervals over patients.

    Attributes
    ----------
    tmax_per_run
        Median over runs before treatment of the correlation between Tmax and true delay over blocks of tissue.
    tmax_pooled
        The same over the blocks of all runs together.
    flow_ratio
        Measured prompt flow before over after against the true one; views averaged.
    fraction_view, fraction
        Estimated against true reperfused share, single views and both views together.
    grade_within_one
        Share of treatments whose estimated grade is at most one step from that of the true share.
    covered
        Share of treatments whose interval holds the true share.
    failures
        Sentences of the comparisons that were refused.
    """

    patients: int
    treatments: int
    tmax_per_run: Estimate
    tmax_pooled: Estimate
    flow_ratio: Estimate
    fraction_view: Estimate
    fraction: Estimate
    grade_within_one: float
    covered: float
    fraction_by_loss: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Least share lost before treatment -> correlation of the share estimated from both views, treatments."""
    by_view: dict[str, float] = field(default_factory=dict)
    """View -> correlation of the estimated share of that view alone."""
    failures: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Found:
    """What one patient gives."""

    truth: float
    lost: float
    true_ratio: float
    blocks: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Per run (2, N): Tmax and true delay."""
    views: list[tuple[str, float, float]] = field(default_factory=list)
    """View, flow ratio, estimated share."""
    fraction: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def evaluate(pairs: Iterable[BeforeAfter], territory: Territory | None = None) -> PerfusionFigures:
    """Measure everything on simulated runs before and after treatment.

    Parameters
    ----------
    pairs : iterable of BeforeAfter
        Sorted by patient; the two views of a patient are one treatment.
    territory : callable, optional
        Reads the missing territory off a run, see ``Territory``; without it the estimate rests on flow alone.

    Raises
    ------
    ValueError
        When nothing could be compared.
    """
    failures: list[str] = []
    found = [_patient(list(group), territory, failures) for _, group in groupby(pairs, key=lambda one: one.patient)]
    treated = [one for one in found if one.views and one.lost >= LEAST_LOST]
    if len(treated) < 3:
        msg = f"an evaluation needs at least three treatments that can be compared; got {len(treated)}"
        raise ValueError(msg)
    return PerfusionFigures(
        patients=len(found),
        treatments=len(treated),
        tmax_per_run=_over_patients(found, _median_over_runs),
        tmax_pooled=_over_patients(found, _pooled),
        flow_ratio=_over_patients([one for one in found if one.views], _ratio_correlation),
        fraction_view=_over_patients(treated, _view_correlation),
        fraction=_over_patients(treated, _fraction_correlation),
        grade_within_one=float(np.mean([_steps(one) <= 1 for one in treated])),
        covered=float(np.mean([_covers(one) for one in treated])),
        fraction_by_loss={f"{least:.0%}": _above(found, least) for least in _LOSSES},
        by_view={view: _view_correlation(treated, view) for view in _view_names(treated)},
        failures=tuple(failures),
    )


def _patient(pairs: Sequence[BeforeAfter], territory: Territory | None, failures: list[str]) -> _Found:
    first = pairs[0]
    lost = 1 - first.before.perfused_fraction
    found = _Found(first.reperfused_fraction, lost, _true_ratio(first))
    evidence = []
    for pair in pairs:
        runs = [_small(run) for run in (pair.before, pair.after)]
        found.blocks += _blocks(runs[0], pair.before, failures)
        try:
            placed = register(*runs, scale=pair.before.pixel_mm / pair.after.pixel_mm)
            change = flow_change(*runs, placed)
        except ValueError as problem:
            failures.append(f"{pair.patient} {pair.before.view}: {problem}")
            continue
        said = Evidence(change, _remaining(pair, territory))
        evidence.append(said)
        found.views.append((pair.before.view, change.ratio, estimate_reperfusion([said]).fraction))
    if evidence:
        both = estimate_reperfusion(evidence)
        found.fraction, found.low, found.high = both.fraction, both.low, both.high
    return found


def _true_ratio(pair: BeforeAfter) -> float:
    """Perfused share before over after; 1 where nothing is perfused in either run."""
    after = pair.after.perfused_fraction
    return pair.before.perfused_fraction / after if after > 0 else 1.0


def _small(run: SimulatedRun) -> SmallRun:
    return SmallRun(without_drift(run.opacity), run.times_s, background=run.background)


def _remaining(pair: BeforeAfter, territory: Territory | None) -> float | None:
    if territory is None:
        return None
    before, after = territory(pair.before), territory(pair.after)
    return None if before is None or after is None else remaining_territory(before, after)


def _blocks(small: SmallRun, run: SimulatedRun, failures: list[str]) -> list[npt.NDArray[np.float64]]:
    """Median Tmax and true delay of every block that shows enough tissue: one (2, N), or none."""
    try:
        tmax = perfusion_maps(small).tmax_s
    except ValueError as problem:
        failures.append(f"{run.view} {run.site}: {problem}")
        return []
    known = run.tissue & np.isfinite(run.delay_s) & np.isfinite(tmax)
    height, width = known.shape
    found = []
    for row in range(0, height, BLOCK_CELLS):
        for column in range(0, width, BLOCK_CELLS):
            part = np.s_[row : row + BLOCK_CELLS, column : column + BLOCK_CELLS]
            inside = known[part]
            if inside.mean() >= _LEAST_TISSUE:
                found.append([float(np.median(values[part][inside])) for values in (tmax, run.delay_s)])
    return [np.array(found).T] if len(found) >= _FEWEST_BLOCKS else []


def _median_over_runs(found: Sequence[_Found]) -> float:
    return float(np.nanmedian([_rank(*block) for one in found for block in one.blocks] or [np.nan]))


def _pooled(found: Sequence[_Found]) -> float:
    blocks = [block for one in found for block in one.blocks]
    return _rank(*np.concatenate(blocks, 1)) if blocks else float("nan")


def _ratio_correlation(found: Sequence[_Found]) -> float:
    return _rank([np.mean([r for _, r, _ in one.views]) for one in found], [one.true_ratio for one in found])


def _view_correlation(found: Sequence[_Found], view: str = "") -> float:
    rows = [(share, one.truth) for one in found for name, _, share in one.views if view in ("", name)]
    return _rank(*zip(*rows, strict=True)) if rows else float("nan")


def _covers(found: _Found) -> bool:
    return found.low - _GRID_STEP <= found.truth <= found.high + _GRID_STEP


def _fraction_correlation(found: Sequence[_Found]) -> float:
    return _rank([one.fraction for one in found], [one.truth for one in found])


def _above(found: Sequence[_Found], least: float) -> tuple[float, int]:
    some = [one for one in found if one.views and one.lost >= least]
    return _fraction_correlation(some), len(some)


def _view_names(found: Sequence[_Found]) -> list[str]:
    return sorted({name for one in found for name, _, _ in one.views})


def _steps(found: _Found) -> int:
    return abs(GRADES.index(grade_of(found.fraction)) - GRADES.index(grade_of(found.truth)))


def _rank(a: Sequence[float] | npt.NDArray[Any], b: Sequence[float] | npt.NDArray[Any]) -> float:
    """Spearman's correlation; NaN where either side does not vary."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def _over_patients(found: Sequence[_Found], figure: Callable[[Sequence[_Found]], float]) -> Estimate:
    """The figure with a percentile interval over patients drawn anew."""
    rng = np.random.default_rng(0)
    drawn = [figure([found[i] for i in rng.integers(len(found), size=len(found))]) for _ in range(_BOOT)]
    finite = [value for value in drawn if np.isfinite(value)]
    low, high = np.percentile(finite, (2.5, 97.5)) if finite else (float("nan"),) * 2
    return Estimate(figure(found), float(low), float(high))
