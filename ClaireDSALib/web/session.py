"""The open case: what was read, what was found, what is in the scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib import mrml
from ClaireDSALib.dsa.series import DsaSeries, Pair, Skipped
from ClaireDSALib.pipeline.report import CaseReport, PairReport, RunReport

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass
class Session:
    """One case at a time; emptied by :meth:`reset`.

    ``run_changed`` and ``result_changed`` are called with a run id, ``case_changed`` without.
    """

    host: Any
    source: Path | None = None
    series: dict[str, DsaSeries] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    reports: dict[str, RunReport] = field(default_factory=dict)
    arrays: dict[str, Arrays] = field(default_factory=dict)
    case_report: CaseReport | None = None
    nodes: dict[str, mrml.SeriesNodes] = field(default_factory=dict)
    results: dict[str, mrml.ResultNodes] = field(default_factory=dict)
    current: str = ""
    run_changed: list[Callable[[str], None]] = field(default_factory=list)
    result_changed: list[Callable[[str], None]] = field(default_factory=list)
    case_changed: list[Callable[[], None]] = field(default_factory=list)

    def reset(self, source: Path | None = None) -> None:
        """Close the case; the scene is emptied of it."""
        self.source = source
        self.current = ""
        self.pairs, self.skipped, self.case_report = (), (), None
        for store in (self.series, self.reports, self.arrays, self.nodes, self.results):
            store.clear()  # type: ignore[attr-defined]
        self.host.scene.Clear(False)

    def partner(self, run_id: str) -> str:
        """Run id of the other view of a biplane pair, empty when there is none."""
        for pair in self.pairs:
            ids = (pair.ap.run_id, pair.lateral.run_id)
            if run_id in ids:
                return ids[1 - ids.index(run_id)]
        return ""

    def counterpart(self, run_id: str) -> str:
        """Run of the same view to lay beside this one: the one before it, else the one after; empty for none.

        Runs stand in the order of their acquisition, so this is before and after treatment where both were taken.
        """
        view = self.series[run_id].geometry.view
        same = [one.run_id for one in self.series.values() if one.geometry.view == view]
        if view in ("unknown", "rotational") or len(same) < 2:
            return ""
        place = same.index(run_id)
        return same[place - 1] if place else same[1]

    def shown(self, run_id: str) -> mrml.SeriesNodes:
        """Nodes of a run, added to the scene when first asked for; a pair comes together."""
        if run_id not in self.nodes:
            pair = next((p for p in self.pairs if run_id in (p.ap.run_id, p.lateral.run_id)), None)
            shown = mrml.show_pair(self.host, pair) if pair else (mrml.show_series(self.host, self.series[run_id]),)
            self.nodes.update({n.run_id: n for n in shown})
        return self.nodes[run_id]

    def result(self, run_id: str) -> mrml.ResultNodes | None:
        """Result nodes of a run, added to the scene when first asked for; None before the analysis is done."""
        if run_id not in self.results and run_id in self.reports and run_id in self.series:
            report, arrays = self.reports[run_id], self.arrays.get(run_id, {})
            self.results[run_id] = mrml.show_result(self.host, report, arrays, self.shown(run_id))
        return self.results.get(run_id)

    def take_result(self, report: RunReport, arrays: Arrays) -> None:
        """Store what the analysis found for a run and tell everybody."""
        self.reports[report.run_id] = report
        self.arrays[report.run_id] = arrays
        self.results.pop(report.run_id, None)
        notify(self.result_changed, report.run_id)

    def report(self, overrides: Mapping[str, tuple[Any, ...]] | None = None) -> CaseReport:
        """The report as far as it goes, with the reviewer's corrections in it."""
        import dataclasses

        runs = [self.reports[r] for r in self.series if r in self.reports]
        corrected = tuple(dataclasses.replace(r, overrides=(overrides or {}).get(r.run_id, r.overrides)) for r in runs)
        base = self.case_report or CaseReport(runs=(), pairs=self._pair_reports())
        return dataclasses.replace(base, runs=corrected)

    def projection(self, run_id: str) -> npt.NDArray[Any] | None:
        """Picture of a run for its thumbnail, the best there is."""
        arrays = self.arrays.get(run_id, {})
        for name in ("subtracted_minip", "minip"):
            if name in arrays:
                return np.asarray(arrays[name])
        series = self.series.get(run_id)
        return None if series is None else series.frame(series.n_frames // 2)

    def _pair_reports(self) -> tuple[PairReport, ...]:
        return tuple(PairReport((p.ap.run_id, p.lateral.run_id), p.reason) for p in self.pairs)


def notify(listeners: list[Callable[..., None]], *values: Any) -> None:
    """Call each listener in turn."""
    for listener in list(listeners):
        listener(*values)
