"""Pictures of a filtering evaluation: success rates, risk against coverage, and which reasons come together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ClaireDSALib.training.filtering import RunOutcome
from ClaireDSALib.training.filtering_reasons import Combination, combinations, reason_table
from ClaireDSALib.training.filtering_statistics import FilteringFigures, risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER_UNFILTERED, PAPER_FILTERED = 0.42, 0.69
"""Segmentation success of the CLAIRE-DSA paper, real runs, before and after filtering (p < 0.001)."""

_GOOD, _BAD, _INK, _FAINT = "#2a7f62", "#c4542d", "#1d2733", "#d8dee6"
_PAPER = "#7d8794"
_MOST_COMBINATIONS = 14


def success_figure(figures: FilteringFigures) -> Figure:
    """Success rate before and after, with Wilson intervals, the paper's beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.6), layout="constrained")
    axis = figure.add_subplot()
    ours = [figures.unfiltered, figures.filtered]
    values = np.array([e.value for e in ours])
    errors = np.array([[e.value - e.low, e.high - e.value] for e in ours]).T
    axis.bar([0, 1], values, 0.55, yerr=errors, capsize=5, color=[_BAD, _GOOD], ecolor=_INK)
    axis.bar([2.4, 3.4], [PAPER_UNFILTERED, PAPER_FILTERED], 0.55, color=_PAPER)
    for x, value in zip([0, 1, 2.4, 3.4], [*values, PAPER_UNFILTERED, PAPER_FILTERED], strict=True):
        axis.text(x, 0.03, f"{value:.0%}", ha="center", color="white", fontweight="bold")
    counts = [f"all\n{figures.n_runs} runs", f"kept\n{figures.n_kept} runs"]
    axis.set_xticks([0, 1, 2.4, 3.4], [*counts, "paper\nall", "paper\nkept"])
    axis.set(ylim=(0, 1), ylabel="successful segmentations")
    _bare(axis)
    return figure


def risk_figure(outcomes: Sequence[RunOutcome], figures: FilteringFigures) -> Figure:
    """Share of failures among the runs kept, against the share kept, by predicted suitability."""
    from matplotlib.figure import Figure

    success = np.array([o.success for o in outcomes])
    coverage, risk = risk_coverage(success, np.array([o.score for o in outcomes]))
    _, best = risk_coverage(success, success.astype(float))
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(coverage, best, color=_PAPER, lw=1, ls=":", label=f"perfect order, area {figures.aurc_best:.3f}")
    axis.axhline(figures.aurc_random, color=_PAPER, lw=1, ls="--", label=f"random, area {figures.aurc_random:.3f}")
    axis.plot(coverage, risk, color=_INK, lw=2, label=f"predicted suitability, area {figures.aurc:.3f}")
    at = (figures.n_kept / figures.n_runs, 1 - figures.filtered.value)
    axis.plot(*at, "o", ms=9, color=_GOOD, label=f"the rules as shipped: {at[0]:.0%} kept, {at[1]:.0%} of them fail")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of runs kept", ylabel="failures among the kept")
    figure.legend(fontsize=8, frameon=False, loc="outside lower left", ncols=2)
    _bare(axis)
    return figure


def reasons_figure(outcomes: Sequence[RunOutcome]) -> Figure:
    """Which reasons come together: a matrix of sets with the number of runs above, split by what succeeded."""
    from matplotlib.figure import Figure

    rows = [row.reason for row in reason_table(outcomes)]
    shown = combinations(outcomes)[:_MOST_COMBINATIONS]
    figure = Figure(figsize=(max(6.0, 1.8 + 0.52 * len(shown)), 3.0 + 0.3 * len(rows)), layout="constrained")
    bars, matrix = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 0.35 * max(2, len(rows))])
    _bars(bars, shown)
    _matrix(matrix, shown, rows, outcomes)
    return figure


def _bars(axis: Axes, shown: Sequence[Combination]) -> None:
    x = np.arange(len(shown))
    good = np.array([c.n_success for c in shown])
    total = np.array([c.n for c in shown])
    axis.bar(x, good, 0.62, color=_GOOD, label="segmentation succeeded")
    axis.bar(x, total - good, 0.62, bottom=good, color=_BAD, label="segmentation failed")
    for place, count in zip(x, total, strict=True):
        axis.text(place, count, f" {count}", ha="center", va="bottom", fontsize=8)
    axis.set(ylabel="runs", ylim=(0, 1.12 * total.max()))
    axis.legend(fontsize=8, frameon=False)
    _bare(axis)
    axis.tick_params(bottom=False)


def _matrix(axis: Axes, shown: Sequence[Combination], rows: Sequence[str], outcomes: Sequence[RunOutcome]) -> None:
    totals = {row.reason: row.n for row in reason_table(outcomes)}
    for y in range(0, len(rows), 2):
        axis.axhspan(y - 0.5, y + 0.5, color="#f3f5f8", zorder=0)
    for x, one in enumerate(shown):
        axis.scatter([x] * len(rows), range(len(rows)), s=42, color=_FAINT, zorder=1)
        marked = [rows.index(reason) for reason in one.reasons]
        if marked:
            axis.plot([x, x], [min(marked), max(marked)], color=_INK, lw=1.6, zorder=2)
            axis.scatter([x] * len(marked), marked, s=52, color=_INK, zorder=3)
    axis.set_yticks(range(len(rows)), [f"{row.replace('_', ' ')} ({totals[row]})" for row in rows])
    ticks = ["kept" if not one.reasons else "" for one in shown]
    axis.set_xticks(range(len(shown)), ticks)
    axis.set(xlim=(-0.6, len(shown) - 0.4), ylim=(len(rows) - 0.5, -0.5))
    for side in axis.spines.values():
        side.set_visible(False)
    axis.tick_params(length=0)


def _bare(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
