"""The report in a Slicer scene; the only place where the library touches slicer and vtk.

Every function takes a *host* (see :class:`~ClaireDSALib.mrml.host.Host`): an object with ``.scene`` and
``.logic(name)``. The desktop module and the browser viewer each bring their own; nothing here knows qt,
trame or ``slicer.app``.

Typical use::

    host = CoreHost()                                  # desktop: ClaireDSA's own host
    nodes = show_series(host, series)                  # sequence + browser + proxy on true times
    results = show_result(host, run_report, arrays, nodes)
    legend = set_active_cam(host, results, "motion_artefact", "severe")
    save_scene(host, "case.mrb")

    host.scene.Clear(False)
    load_scene(host, "case.mrb")
    report = restore_case(host)                        # the very same CaseReport
    nodes, results = find_nodes(host, report.runs[0].run_id)

Names are loaded when first asked for, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "CoreHost": "host",
    "Host": "host",
    "SeriesNodes": "nodes",
    "ResultNodes": "nodes",
    "find_nodes": "nodes",
    "run_ids": "nodes",
    "show_series": "sequences",
    "show_pair": "sequences",
    "add_subtracted": "sequences",
    "select_frame": "sequences",
    "selected_frame": "sequences",
    "series_from_nodes": "foreign",
    "series_from_sequence": "foreign",
    "series_from_volume": "foreign",
    "show_result": "results",
    "show_result_in_steps": "results",
    "show_case": "case",
    "store_report": "case",
    "restore_case": "case",
    "restore_result": "case",
    "clear_case": "case",
    "set_active_cam": "overlay",
    "set_overlay": "overlay",
    "overlay_names": "overlay",
    "active_overlay": "overlay",
    "show_color_legend": "legend",
    "Legend": "overlay",
    "add_curve_plot": "plots",
    "add_phase_plot": "plots",
    "add_calibration_plot": "plots",
    "save_scene": "scene_file",
    "load_scene": "scene_file",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
