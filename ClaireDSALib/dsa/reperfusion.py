"""How much of the lost tissue a treatment gave back: two runs of one view, before and after.

What is measured is flow: the part of every cell's impulse response that comes promptly after the artery, summed over
the tissue that both runs show. Its ratio ``before / after`` needs no knowledge of the territory and no common scale,
because each run is measured against its own input function. The share of the *lost* tissue that came back also
needs to know how much was lost; where only the ratio is known, a wide prior stands in, and the interval says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.dsa.input_function import InputFunction
from ClaireDSALib.dsa.perfusion import SAMPLE_S, impulse_responses, input_function
from ClaireDSALib.dsa.run_registration import Registration
from ClaireDSALib.dsa.small_run import SmallRun

PROMPT_S = 1.75
"""Tissue whose response peaks later than this after the early tissue is fed late: by collaterals, or it is a vein."""

_WINDOW_S = 2.0
"""Flow counts when it comes no later than this after the early tissue."""

_EARLY_PERCENTILE = 30.0
_THIN = 0.3
"""A cell whose peak is by this share a fine structure shows a vessel, not tissue."""

_THIN_SIDE = 0.055
"""Side of the square that removes fine structures, as a share of the longer side of the grid."""

_BLOCKS = 16
"""Blocks per side that are drawn anew for the interval of the ratio: flow of neighbours is not independent."""

_DRAWS = 300
_LEAST_TISSUE = 0.015
"""Of the picture: prompt tissue of either run; less is noise or one run without a usable passage."""

_CLOSED = 0.02
"""Gaps that vessels leave in the tissue up to this share of the longer side are filled in the map of the gain."""

_JITTER = 0.008
"""Error of the registration that the interval allows for, as a share of the longer side."""

_MODEL_ERROR = 0.13
"""Of the logarithm of the ratio, beyond what the bootstrap sees: input functions, angles, overlap. From simulated
pairs; see docs/perfusion.md."""

_FLOOR = 0.04
"""Share of flow that noise and overlapping vessels leave when nothing is perfused."""

_REMAINING_ERROR = 0.3
"""Standard error of the share of the missing territory that a network still sees after treatment."""

_TYPICAL_LOSS = (0.5, 0.28)
"""Mean and spread of the share of the circulation lost before treatment: ICA-T all, M1 half, M2 a fifth."""

GRADES = ("0", "1", "2a", "2b50", "2b67", "2c", "3")
_LIMITS = (0.02, 0.1, 0.5, 0.67, 0.9, 0.99)
"""Liebeskind et al. (JNIS 2019) define 2a below 50 %, 2b50 to 66 %, 2b67 to 89 %, 2c to 99 %; grades 0 and 1 are
defined by what passes the clot, which a share cannot tell, so their limits of 2 and 10 % are ours."""


@dataclass(frozen=True)
class FlowChange:
    """Prompt flow of two runs of one view, on the grid of the earlier one.

    Attributes
    ----------
    ratio : float
        Flow before over flow after, 0 to about 1.
    ratio_interval : (low, high)
        95 % interval from blocks of tissue drawn anew and the registration moved.
    log_error : float
        Standard error of the logarithm of the ratio, with the model's own.
    gained : (h, w) float32 ndarray
        Share of the flow after treatment that was not there before, 0 to 1; NaN outside the tissue.
    late : (h, w) bool ndarray
        Tissue that is still fed late after treatment.
    tissue : (h, w) bool ndarray
        Prompt tissue of either run.
    late_share : float
        Of the tissue.
    """

    ratio: float
    ratio_interval: tuple[float, float]
    log_error: float
    gained: npt.NDArray[np.float32]
    late: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.bool_]
    late_share: float


@dataclass(frozen=True)
class Evidence:
    """What one view says: the change of flow, and how much of the missing territory a network still sees, if any.

    ``remaining`` is the missing territory after treatment over that before, 0 to about 1.
    """

    change: FlowChange
    remaining: float | None = None


@dataclass(frozen=True)
class Reperfusion:
    """Estimate of the reperfused share of the lost tissue, from one view or two.

    Attributes
    ----------
    fraction, low, high : float
        Median and 95 % interval, 0 to 1.
    lost : float
        Estimated share of the injected circulation that was lost before treatment.
    grade, grade_low, grade_high : str
        eTICI grade that the fraction and the ends of its interval would have; an estimate, not a reading.
    """

    fraction: float
    low: float
    high: float
    lost: float
    grade: str
    grade_low: str
    grade_high: str


def flow_change(
    before: SmallRun,
    after: SmallRun,
    registration: Registration,
    *,
    inputs: tuple[InputFunction | None, InputFunction | None] = (None, None),
    seed: int = 0,
) -> FlowChange:
    """Compare the prompt flow of two runs.

    Parameters
    ----------
    before, after : SmallRun
    registration : Registration
        Of ``after`` onto ``before``.
    inputs : pair of InputFunction or None
        Found in each run unless given.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        When a run has no input function, neither shows prompt tissue, or they show too little of it.
    """
    aifs = [given or input_function(run) for given, run in zip(inputs, (before, after), strict=True)]
    moved = SmallRun(registration.pull(after.opacity), after.times_s)
    field = registration.pull(np.ones(after.grid, np.float32)) > 0.9
    seen = [_seen(run, aif, field) for run, aif in zip((before, moved), aifs, strict=True)]
    early = [one.early_s for one in seen if one.early_s is not None]
    if not early:
        msg = "neither run shows tissue that is perfused, so there is nothing to compare"
        raise ValueError(msg)
    reference_s = min(early)
    flows = [one.flow(reference_s) for one in seen]
    prompt = [one.prompt(reference_s) for one in seen]
    tissue = ndimage.binary_opening(prompt[0] | prompt[1])
    if not tissue.any() or float(flows[1][tissue].sum()) <= 0:
        msg = "the run after treatment shows no prompt tissue, so the change cannot be measured"
        raise ValueError(msg)
    if tissue.mean() < _LEAST_TISSUE:
        msg = (
            f"the tissue that both runs can show covers {tissue.mean():.1%} of the picture, too little to compare "
            f"(at least {_LEAST_TISSUE:.0%} is needed); the input function may lie in a late vessel"
        )
        raise ValueError(msg)
    late = ndimage.binary_opening(seen[1].late(reference_s) & ~prompt[0], iterations=2)
    ratio = float(flows[0][tissue].sum() / flows[1][tissue].sum())
    logs = _bootstrap(flows, tissue, registration, seed)
    low, high = (max(float(np.exp(v)) - _FLOOR, 0.0) for v in np.percentile(logs, (2.5, 97.5)))
    return FlowChange(
        ratio=ratio,
        ratio_interval=(low, high),
        log_error=float(np.hypot(logs.std(), _MODEL_ERROR)),
        gained=_gained(flows, tissue),
        late=late,
        tissue=tissue,
        late_share=float(late.sum() / max((tissue | late).sum(), 1)),
    )


def estimate_reperfusion(views: Sequence[Evidence]) -> Reperfusion:
    """Combine what one or two views of the same treatment say.

    The unknowns are the shares of tissue perfused before and after, on a grid of hundredths; the evidence is the
    ratio of flows of every view, the tissue still seen late, and what a network read off each run. Their product is
    the posterior, whose median and 95 % range are the answer.

    Parameters
    ----------
    views : sequence of Evidence
        At least one.

    Raises
    ------
    ValueError
        When there is no view.
    """
    if not views:
        msg = "an estimate of reperfusion needs at least one view; got none"
        raise ValueError(msg)
    before, after = np.meshgrid(np.arange(0.005, 0.96, 0.01), np.arange(0.005, 1.0, 0.01), indexing="ij")
    score = np.where(after >= before - 0.1, 0.0, -50.0)
    score -= 0.5 * ((1 - before - _TYPICAL_LOSS[0]) / _TYPICAL_LOSS[1]) ** 2
    for view in views:
        score += _log_likelihood(view, before, after)
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    fraction = np.clip((after - before) / (1 - before), 0, 1).ravel()
    order = np.argsort(fraction)
    cumulative = np.cumsum(weight.ravel()[order])
    at = np.minimum(np.searchsorted(cumulative, _RANGE), order.size - 1)
    low, middle, high = (float(value) for value in fraction[order[at]])
    return Reperfusion(
        fraction=middle,
        low=low,
        high=high,
        lost=float(1 - (weight * before).sum()),
        grade=grade_of(middle),
        grade_low=grade_of(low),
        grade_high=grade_of(high),
    )


_RANGE = (0.025, 0.5, 0.975)


def fine_structure(peak: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Cells ``(h, w)`` whose peak opacity stands out of their surroundings: vessels, not tissue."""
    side = max(3, round(_THIN_SIDE * max(peak.shape)))
    return ndimage.white_tophat(peak, size=side) > _THIN * np.maximum(peak, 1e-3)


def grade_of(fraction: float) -> str:
    """eTICI grade of a reperfused share 0 to 1."""
    return GRADES[int(np.searchsorted(_LIMITS, fraction, side="right"))]


@dataclass(frozen=True)
class _Seen:
    """Responses of one run on the common grid."""

    response: npt.NDArray[np.float32]
    peak_s: npt.NDArray[np.float32]
    tissue: npt.NDArray[np.bool_]
    coarse: npt.NDArray[np.bool_]

    @property
    def early_s(self) -> float | None:
        """When the response of the earlier tissue peaks."""
        times = self.peak_s[self.tissue & (self.peak_s > _AFTER_ARTERY_S) & (self.peak_s < _LATEST_EARLY_S)]
        return float(np.percentile(times, _EARLY_PERCENTILE)) if len(times) > _FEWEST_CELLS else None

    def prompt(self, reference_s: float) -> npt.NDArray[np.bool_]:
        return self.tissue & (self.peak_s > _AFTER_ARTERY_S) & (self.peak_s <= reference_s + PROMPT_S)

    def late(self, reference_s: float) -> npt.NDArray[np.bool_]:
        return self.tissue & (self.peak_s > reference_s + PROMPT_S)

    def flow(self, reference_s: float) -> npt.NDArray[np.float32]:
        samples = max(1, round((reference_s + _WINDOW_S) / SAMPLE_S))
        flow = SAMPLE_S * np.maximum(self.response[:samples], 0).sum(0)
        return np.where(self.coarse, flow, 0).astype(np.float32)


_AFTER_ARTERY_S = 0.75
"""Tissue peaks at least this long after the artery; earlier cells are arteries."""

_LATEST_EARLY_S = 6.0
_FEWEST_CELLS = 50


def _seen(run: SmallRun, aif: InputFunction, field: npt.NDArray[np.bool_]) -> _Seen:
    response, perfused = impulse_responses(run, aif)
    coarse = ~fine_structure(run.smoothed(1.0).max(0)) & field
    return _Seen(response, np.float32(SAMPLE_S) * response.argmax(0), perfused & coarse, coarse)


def _gained(flows: list[npt.NDArray[np.float32]], tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    sigma = 0.02 * max(tissue.shape)
    before, after = (ndimage.gaussian_filter(flow * tissue, sigma) for flow in flows)
    share = 1 - before / np.maximum(after, 1e-6)
    shown = ndimage.binary_closing(tissue, iterations=max(1, round(_CLOSED * max(tissue.shape))))
    return np.where(shown, np.clip(share, 0, 1), np.nan).astype(np.float32)


def _bootstrap(
    flows: list[npt.NDArray[np.float32]], tissue: npt.NDArray[np.bool_], registration: Registration, seed: int
) -> npt.NDArray[np.float64]:
    """Logarithms of the ratio when blocks of tissue are drawn anew and the registration is a little off."""
    rng = np.random.default_rng(seed)
    reach = max(1, round(_JITTER * max(registration.grid)))
    sums = []
    for row in (-reach, 0, reach):
        for column in (-reach, 0, reach):
            moved = np.roll(flows[1], (row, column), (0, 1))
            sums.append([_block_sums(flows[0] * tissue), _block_sums(moved * tissue)])
    table = np.array(sums)  # (jitters, 2, blocks)
    table = table[:, :, table.sum((0, 1)) > 0]
    picked = rng.integers(table.shape[2], size=(_DRAWS, table.shape[2]))
    jitter = rng.integers(len(table), size=_DRAWS)
    drawn = np.array([table[j][:, p].sum(1) for j, p in zip(jitter, picked, strict=True)])
    return np.log(np.maximum(drawn[:, 0], 1e-6) / np.maximum(drawn[:, 1], 1e-6) + _FLOOR)


def _block_sums(picture: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    rows = np.minimum(np.arange(picture.shape[0]) * _BLOCKS // picture.shape[0], _BLOCKS - 1)
    columns = np.minimum(np.arange(picture.shape[1]) * _BLOCKS // picture.shape[1], _BLOCKS - 1)
    index = rows[:, None] * _BLOCKS + columns[None]
    return np.bincount(index.ravel(), weights=picture.ravel(), minlength=_BLOCKS**2).astype(np.float64)


def _log_likelihood(
    view: Evidence, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    change = view.change
    expected = np.log(before / np.maximum(after, before) + _FLOOR)
    score = -0.5 * ((np.log(min(change.ratio, 1.0) + _FLOOR) - expected) / change.log_error) ** 2
    excess = np.maximum(change.late_share - _LATE_IS_NORMAL - (1 - after), 0)
    score -= 0.5 * (excess / _LATE_ERROR) ** 2
    if view.remaining is not None:
        score -= 0.5 * ((min(view.remaining, 1.0) - (1 - after) / (1 - before)) / _REMAINING_ERROR) ** 2
    return score


_LATE_IS_NORMAL = 0.05
"""Border zones and venous blush that are late in an open tree."""

_LATE_ERROR = 0.06
