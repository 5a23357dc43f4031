"""A whole case in the scene, and back out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import hierarchy
from .nodes import find_nodes, remove_node, run_ids, tagged_nodes
from .results import result_arrays, show_result
from .sequences import show_pair, show_series

if TYPE_CHECKING:
    from ClaireDSALib.dsa.series import DsaSeries, Pair
    from ClaireDSALib.pipeline.report import CaseReport, CaseResult

    from .host import Host
    from .nodes import ResultNodes, SeriesNodes

CASE_REPORT_TAG = "ClaireDSACaseReport"
"""Singleton tag of the text node with the report of the case: one per scene."""


def show_case(
    host: Host, series: Sequence[DsaSeries], result: CaseResult | None = None, *, pairs: Sequence[Pair] = ()
) -> dict[str, tuple[SeriesNodes, ResultNodes | None]]:
    """Add all runs of a case with their results.

    Parameters
    ----------
    series : sequence of DsaSeries
    result : CaseResult, optional
        Results as far as there are; runs without a report are shown without.
    pairs : sequence of Pair
        Biplane runs of ``series``: both views share one browser.

    Returns
    -------
    dict
        ``run_id -> (SeriesNodes, ResultNodes or None)`` in the order of ``series``.
    """
    shown: dict[str, SeriesNodes] = {}
    for pair in pairs:
        for nodes in show_pair(host, pair):
            shown[nodes.run_id] = nodes
    for one in series:
        if one.run_id not in shown:
            shown[one.run_id] = show_series(host, one)
    reports = {r.run_id: r for r in result.report.runs} if result else {}
    results = {
        run_id: show_result(host, reports[run_id], result.arrays.get(run_id, {}), nodes)
        for run_id, nodes in shown.items()
        if result is not None and run_id in reports
    }
    if result is not None:
        store_report(host, result.report)
    return {s.run_id: (shown[s.run_id], results.get(s.run_id)) for s in series}


def store_report(host: Host, report: CaseReport) -> Any:
    """Write the report of the case into its text node; call again after each correction of the reviewer."""
    node = _report_node(host) or host.scene.AddNode(_new_report_node())
    node.SetText(report.to_json())
    return node


def restore_case(host: Host) -> CaseReport | None:
    """Report of the case in the scene, exactly as stored; None when the scene holds none.

    Raises
    ------
    ValueError
        When the stored report has a schema version that this program does not read.
    """
    from ClaireDSALib.pipeline.report import CaseReport

    node = _report_node(host)
    return CaseReport.from_json(node.GetText()) if node is not None and node.GetText() else None


def restore_result(host: Host) -> CaseResult | None:
    """Report and arrays of the case in the scene; None when the scene holds none."""
    from ClaireDSALib.pipeline.report import CaseResult

    report = restore_case(host)
    if report is None:
        return None
    arrays = {}
    for run_id in run_ids(host):
        nodes, results = find_nodes(host, run_id)
        if nodes is not None and results is not None:
            arrays[run_id] = result_arrays(results, nodes)
    return CaseResult(report, arrays)


def clear_case(host: Host) -> None:
    """Remove every node of CLAIRE-DSA; what the user brought himself stays."""
    for run_id in run_ids(host):
        for node in tagged_nodes(host, run_id).values():
            remove_node(host.scene, node)
        hierarchy.remove_run(host, run_id)
    if (node := _report_node(host)) is not None:
        remove_node(host.scene, node)


def _report_node(host: Host) -> Any:
    return host.scene.GetSingletonNode(CASE_REPORT_TAG, "vtkMRMLTextNode")


def _new_report_node() -> Any:
    import slicer

    node = slicer.vtkMRMLTextNode()
    node.SetName("CLAIRE-DSA report")
    node.SetSingletonTag(CASE_REPORT_TAG)
    node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
    return node
