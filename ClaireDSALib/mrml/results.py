"""The results of one run as nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import colors, hierarchy, overlay, plots, segments, site, tables
from .images import add_volume, array_of_image, robust_range, set_window
from .nodes import ResultNodes, SeriesNodes, find_nodes, remove_node, tag, tagged_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ClaireDSALib.pipeline.report import RunReport

    from .host import Host

_PICTURES = ("minip", "subtracted_minip")
_HEAT = ("thrombus_heat",)
_COARSE = (*_HEAT, *overlay.PERFUSION_MAPS)
"""Arrays on a coarse grid that spans the image."""
_CAMS_PER_STEP = 4


def show_result(
    host: Host, report: RunReport, arrays: Mapping[str, npt.NDArray[Any]], nodes: SeriesNodes
) -> ResultNodes:
    """Add the results of one run: volumes, maps, segments, tables, plots, markup, report text.

    May be called again with a newer report of the same run; the earlier result nodes are replaced.

    Parameters
    ----------
    report : RunReport
    arrays : mapping of str to ndarray
        As named in ``CaseResult.arrays[run_id]``; missing ones are left out.
    nodes : SeriesNodes
        From :func:`~ClaireDSALib.mrml.show_series`.

    Returns
    -------
    ResultNodes
    """
    for _ in show_result_in_steps(host, report, arrays, nodes):
        pass
    results = find_nodes(host, report.run_id)[1]
    if results is None:
        msg = f"the results of run {report.run_id} did not arrive in the scene"
        raise RuntimeError(msg)
    return results


def show_result_in_steps(
    host: Host, report: RunReport, arrays: Mapping[str, npt.NDArray[Any]], nodes: SeriesNodes
) -> Iterator[None]:
    """Do what :func:`show_result` does in pieces of a few hundredths of a second.

    An application with windows lets its event loop run between the pieces, so that nothing freezes; the results are
    complete, and ``find_nodes`` gives them, when the iterator has ended.
    """
    remove_result(host, report.run_id)
    run_id, title = report.run_id, nodes.sequence.GetName()
    shape, spacing_mm = nodes.shape, nodes.spacing_mm
    yield
    for name in (*_PICTURES, *overlay.TITLES):
        if name in arrays:
            _add_volumes(host, report, {name: arrays[name]}, title, shape, spacing_mm)
            yield
    masks = {k: np.asarray(arrays[k]).astype(bool) for k in segments.SEGMENT_NAMES if k in arrays}
    overlay.add_overlay_volume(host, run_id, shape, spacing_mm, f"{title}: overlay")
    yield
    cams = [name for name in arrays if name.startswith("cam.")]
    for first in range(0, len(cams), _CAMS_PER_STEP):
        some = {name: arrays[name] for name in cams[first : first + _CAMS_PER_STEP]}
        _add_cams(host, report, some, title, shape, spacing_mm)
        yield
    segments.add_segmentation(host, run_id, f"{title}: vessels", masks, nodes.proxy)
    yield
    _add_tables(host, report, arrays, title)
    yield
    _add_charts(host, report, masks.get("vessels"), nodes, title)
    yield
    if report.thrombus:
        site.add_site(host, run_id, f"{title}: thrombus site", report.thrombus, shape, spacing_mm)
    # Last, because a run counts as analysed when its report is there.
    _add_report(host, report, title)
    yield
    # Charts bring their tables along: find_nodes sees them all, as after loading a scene.
    results = find_nodes(host, run_id)[1]
    if results is not None:
        hierarchy.place(host, run_id, _all_nodes(results))


def remove_result(host: Host, run_id: str) -> None:
    """Remove the result nodes of a run; its sequence stays."""
    keep = {"sequence", "subtracted_sequence", "proxy", "subtracted_proxy", "browser"}
    for role, node in tagged_nodes(host, run_id).items():
        if role not in keep:
            remove_node(host.scene, node)


def result_arrays(results: ResultNodes, nodes: SeriesNodes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a run as they were given to :func:`show_result`, also from a loaded scene."""
    arrays = {name: array_of_image(node.GetImageData()) for name, node in results.volumes.items()}
    arrays |= {f"cam.{label}.{c}": array_of_image(n.GetImageData()) for (label, c), n in results.cams.items()}
    if results.segmentation is not None:
        arrays |= segments.segment_masks(results.segmentation, nodes.proxy)
    if "motion_shifts" in results.tables:
        arrays["motion_shifts"] = tables.exact_shifts(results.tables["motion_shifts"])
    return arrays


def _add_volumes(
    host: Host,
    report: RunReport,
    arrays: Mapping[str, npt.NDArray[Any]],
    title: str,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
) -> dict[str, Any]:
    volumes = {}
    for name in (*_PICTURES, *overlay.TITLES):
        if name not in arrays:
            continue
        values = np.asarray(arrays[name])
        label = "MinIP" if name == "minip" else "subtracted MinIP" if name in _PICTURES else overlay.TITLES[name]
        image_shape = shape if name in _COARSE else None
        volume = add_volume(
            host.scene,
            f"{title}: {label}",
            values,
            spacing_mm,
            image_shape=image_shape,
            unit=overlay.UNITS.get(name, ""),
        )
        _dress(host, volume, name, values)
        volumes[name] = tag(volume, report.run_id, f"volume:{name}")
    return volumes


def _dress(host: Host, volume: Any, name: str, values: npt.NDArray[Any]) -> None:
    if values.ndim == 3:
        return
    if name in _PICTURES:
        set_window(volume, *robust_range(values, 0.1, 99.9))
        return
    ramp = "time" if name in overlay.TIME_MAPS else "heat" if name in _HEAT else "amount"
    low, high = robust_range(values, 2, 98)
    set_window(volume, low if ramp == "time" else min(low, 0.0), high)
    display = volume.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.color_table(host.scene, ramp).GetID())
    display.SetInterpolate(ramp == "heat")


def _add_cams(
    host: Host,
    report: RunReport,
    arrays: Mapping[str, npt.NDArray[Any]],
    title: str,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
) -> dict[tuple[str, str], Any]:
    cams = {}
    for name, values in arrays.items():
        prefix, _, rest = name.partition(".")
        label, _, label_class = rest.partition(".")
        if prefix != "cam" or not label_class:
            continue
        raw = np.asarray(values)
        text = f"{title}: CAM {label} {label_class}"
        volume = add_volume(host.scene, text, raw, spacing_mm, image_shape=shape, unit="logit")
        volume.GetDisplayNode().SetAndObserveColorNodeID(colors.color_table(host.scene, "heat").GetID())
        set_window(volume, 0.0, float(np.nanmax(raw, initial=0.0)) or 1.0)
        cams[label, label_class] = tag(volume, report.run_id, f"cam:{label}:{label_class}")
    return cams


def _add_tables(host: Host, report: RunReport, arrays: Mapping[str, npt.NDArray[Any]], title: str) -> dict[str, Any]:
    found = tables.add_report_tables(host, report, title)
    if "motion_shifts" in arrays:
        shifts = np.asarray(arrays["motion_shifts"])
        found["motion_shifts"] = tables.add_shift_table(host, report.run_id, title, shifts)
    return found


def _add_charts(
    host: Host, report: RunReport, vessels: npt.NDArray[np.bool_] | None, nodes: SeriesNodes, title: str
) -> dict[str, Any]:
    sequence = nodes.subtracted_sequence or nodes.sequence
    n_frames = sequence.GetNumberOfDataNodes()
    times_s = report.acquisition.times_s
    charts = {}
    if n_frames == len(times_s) and n_frames > 1:
        frames = [array_of_image(sequence.GetNthDataNode(i).GetImageData()) for i in range(n_frames)]
        region = vessels if vessels is not None and vessels.any() else None
        curve = plots.contrast_curve(frames, region)
        name = "vessels" if region is not None else "whole image"
        charts["curve"] = plots.add_curve_plot(
            host, report.run_id, f"{title}: contrast over time", times_s, {name: curve}, "stored values"
        )
    if report.phases and len(report.phases.names) == len(times_s):
        charts["phases"] = plots.add_phase_plot(host, report.run_id, f"{title}: phases", times_s, report.phases.names)
    return charts


def _add_report(host: Host, report: RunReport, title: str) -> Any:
    from ClaireDSALib.pipeline.report import CaseReport

    node = host.scene.AddNewNodeByClass("vtkMRMLTextNode", f"{title}: report")
    plain = CaseReport(runs=(report,)).to_dict()["runs"][0]
    node.SetText(json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False))
    node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
    return tag(node, report.run_id, "report")


def _all_nodes(results: ResultNodes) -> list[Any]:
    nodes = [*results.volumes.values(), *results.cams.values(), results.overlay, results.report]
    nodes += [*results.tables.values(), *results.charts.values()]
    return [*nodes, *(n for n in (results.segmentation, results.site) if n is not None)]
