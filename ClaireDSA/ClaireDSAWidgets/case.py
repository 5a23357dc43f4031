"""The case in the scene: reading runs in, finding them, their files and their results. No widgets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from . import review
from .files import files_of
from .host import DesktopHost

Say = Callable[[str], None]


class Case:
    """Forwards between the scene and the library; the scene holds the truth, the report node above all."""

    def __init__(self) -> None:
        self.host = DesktopHost()
        self.report: Any = None
        """CaseReport of the scene, None before the first result."""
        self._series: dict[str, Any] = {}
        """Runs read from files in this session, pixels still on disk; paths are never written into the scene."""

    # ---- what is in the scene

    def run_ids(self) -> list[str]:
        """Runs whose sequence is in the scene, in the order of the examination."""
        from ClaireDSALib.mrml.nodes import ROLE_ATTRIBUTE, RUN_ATTRIBUTE

        scene = slicer.mrmlScene
        count = scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode")
        sequences = [scene.GetNthNodeByClass(i, "vtkMRMLSequenceNode") for i in range(count)]
        ours = [s for s in sequences if s.GetAttribute(ROLE_ATTRIBUTE) == "sequence"]
        return [s.GetAttribute(RUN_ATTRIBUTE) for s in sorted(ours, key=self._order)]

    def _order(self, sequence: Any) -> tuple[float, float, str]:
        about = _description(sequence).get("identity", {})
        numbers = (about.get("series_number"), about.get("instance_number"))
        return (*(float("inf") if n is None else n for n in numbers), about.get("acquired_at", ""))

    def nodes(self, run_id: str) -> tuple[Any, Any]:
        """``(SeriesNodes, ResultNodes)``; None for what is missing."""
        from ClaireDSALib import mrml

        return mrml.find_nodes(self.host, run_id) if run_id else (None, None)

    def run_report(self, run_id: str) -> Any:
        """RunReport or None."""
        return next((r for r in self.report.runs if r.run_id == run_id), None) if self.report is not None else None

    def description(self, nodes: Any) -> dict[str, Any]:
        """What the scene keeps of a run beside its pixels."""
        return _description(nodes.sequence)

    def partner(self, run_id: str) -> str:
        """The other view of a biplane run, empty when there is none."""
        nodes, _results = self.nodes(run_id)
        if nodes is None:
            return ""
        for other in self.run_ids():
            other_nodes, _results = self.nodes(other)
            if other != run_id and other_nodes.browser.GetID() == nodes.browser.GetID():
                return other
        return ""

    def restore(self) -> None:
        """Read the report back from the scene, after loading or clearing it."""
        from ClaireDSALib import mrml

        self.report = mrml.restore_case(self.host)

    # ---- reading in

    def add_folder(self, folder: Path, say: Say) -> tuple[list[str], list[str]]:
        """Read every run of a file or folder into the scene; returns run ids and sentences on what was left out."""
        from ClaireDSALib.dsa import read

        result = read(folder, progress=lambda done, total, what: say(f"{what} {done}/{total}"))
        added = self.add_series(result.series, result.pairs, say)
        return added, [f"{s.source}: {s.reason}" for s in result.skipped]

    def add_series(self, series: Any, pairs: Any, say: Say) -> list[str]:
        """Show series and biplane pairs; runs that are there already are left alone."""
        from ClaireDSALib import mrml

        present = set(self.run_ids())
        new = [s for s in series if s.run_id not in present]
        paired: set[str] = set()
        for pair in pairs:
            ids = {pair.ap.run_id, pair.lateral.run_id}
            if not ids & (present | paired):
                say(f"showing {pair.reason or 'a biplane run'}")
                mrml.show_pair(self.host, pair)
                paired |= ids
        for number, one in enumerate(new):
            if one.run_id not in paired:
                say(f"showing run {number + 1}/{len(new)}")
                mrml.show_series(self.host, one)
        for one in new:
            mrml.select_frame(self.nodes(one.run_id)[0], one.n_frames // 2)  # the first frames show no contrast
            if files_of(one):
                self._series[one.run_id] = one
        return [s.run_id for s in new]

    def adopt(self, sequence: Any) -> str:
        """Make a run of a sequence that another module loaded; returns its id."""
        from ClaireDSALib import mrml

        browser = self.host.logic("sequences").GetFirstBrowserNodeForSequenceNode(sequence)
        series = mrml.series_from_sequence(sequence, browser=browser)
        return (self.add_series([series], [], lambda _text: None) or [series.run_id])[0]

    def series(self, run_id: str) -> Any:
        """The run as DsaSeries: from its file when that is known, else from the scene."""
        from ClaireDSALib.mrml import series_from_nodes

        known = self._series.get(run_id)
        if known is not None and all(Path(f).is_file() for f in files_of(known)):
            return known
        return series_from_nodes(self.nodes(run_id)[0])

    def add_subtracted(self, nodes: Any, series: Any, frames: list[Any]) -> Any:
        """Add what :func:`subtracted_frames` gave to the browser of a run."""
        from ClaireDSALib.mrml import add_subtracted

        return add_subtracted(self.host, series, nodes, frames)

    def exported(self, folder: Path) -> tuple[list[Any], Any]:
        """Series and results of the reported runs, ready to be written.

        Raises
        ------
        ValueError
            When no folder was chosen or there is no report.
        """
        from ClaireDSALib import mrml

        if not folder.name:
            msg = _("choose a folder for the export first")
            raise ValueError(msg)
        result = mrml.restore_result(self.host)
        if result is None:
            msg = _("there is no report to export; analyse a run first")
            raise ValueError(msg)
        return [self.series(run.run_id) for run in result.report.runs], result

    # ---- jobs

    def groups(self, run_ids: list[str]) -> list[tuple[str, ...]]:
        """Runs that are analysed together: the two views of a pair, every other run alone."""
        found: list[tuple[str, ...]] = []
        taken: set[str] = set()
        for run_id in run_ids:
            if run_id not in taken:
                other = self.partner(run_id)
                group = (run_id, other) if other else (run_id,)
                taken.update(group)
                found.append(group)
        return found

    def analyze_job(
        self, run_ids: tuple[str, ...], settings: Any
    ) -> tuple[Any, tempfile.TemporaryDirectory[str] | None]:
        """Job for the worker: by files where they are known, else by frames written out of the scene."""
        from ClaireDSALib.pipeline.series_store import save_series
        from ClaireDSALib.pipeline.worker import AnalyzeJob

        files = [self._files(run_id) for run_id in run_ids]
        if all(files):
            paths = tuple(dict.fromkeys(f for group in files for f in group))
            return AnalyzeJob(paths=paths, run_ids=run_ids, settings=settings), None
        folder = tempfile.TemporaryDirectory(prefix="claire-dsa-", dir=slicer.app.temporaryPath)
        stored = [save_series(Path(folder.name) / r, self.series(r)) for r in run_ids]
        return AnalyzeJob(stored=tuple(str(s) for s in stored), run_ids=run_ids, settings=settings), folder

    def take_run(self, run: Any, arrays: Any) -> Iterator[None]:
        """Show the results of one run, in steps, and keep them in the report."""
        from ClaireDSALib import mrml
        from ClaireDSALib.pipeline.report import CaseReport

        nodes, _results = self.nodes(run.run_id)
        if nodes is None:
            return  # removed from the scene meanwhile
        for _step in mrml.show_result_in_steps(self.host, run, arrays, nodes):
            self._hide_until_placed(run.run_id)
            yield
        self.store(review.merged(self.report, CaseReport(runs=(run,))))

    def _hide_until_placed(self, run_id: str) -> None:
        """New vessels and sites would show in every view until the panel has said in which they belong."""
        from ClaireDSALib.mrml.nodes import tagged_nodes

        nodes = tagged_nodes(self.host, run_id)
        for role in ("segmentation", "site"):
            display = nodes[role].GetDisplayNode() if role in nodes else None
            if display is not None and display.GetVisibility():
                display.SetVisibility(False)

    def take_report(self, report: Any) -> None:
        """The job's whole report: pairs and provenance too."""
        present = set(self.run_ids())
        self.store(review.merged(self.report, report) if {r.run_id for r in report.runs} <= present else self.report)

    def store(self, report: Any) -> None:
        """Keep the report and write it into the scene."""
        from ClaireDSALib import mrml

        self.report = report
        if report is not None:
            mrml.store_report(self.host, report)

    def _files(self, run_id: str) -> list[str]:
        """Files of a run, from this session's memory or the DICOM database; empty when unknown or gone."""
        if run_id in self._series:
            found = files_of(self._series[run_id])
        else:
            nodes, _results = self.nodes(run_id)
            uids = dict.fromkeys(r["sop_instance_uid"] for r in self.description(nodes).get("frame_refs", []))
            database = getattr(slicer, "dicomDatabase", None)
            known = database is not None and database.isOpen
            found = [database.fileForInstance(uid) or "" for uid in uids] if known else []
        return found if all(f and Path(f).is_file() for f in found) else []


def _description(sequence: Any) -> dict[str, Any]:
    from ClaireDSALib.mrml.sequences import SERIES_ATTRIBUTE

    return json.loads(sequence.GetAttribute(SERIES_ATTRIBUTE) or "{}")


def subtracted_frames(series: Any) -> list[Any]:
    """Subtracted frames of a run on the display scale; touches neither Qt nor the scene.

    Raises
    ------
    ValueError
        When the run has no frame that can serve as mask.
    """
    from ClaireDSALib.dsa.subtraction import subtract, to_display

    return [to_display(frame) for frame in subtract(series)]
