"""A run as sequence, browser and proxy volume on its true times."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import hierarchy
from .images import fill_volume, robust_range, scalar_volume_node, set_window
from .nodes import SeriesNodes, tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ClaireDSALib.dsa.series import DsaSeries, Pair

    from .host import Host

SERIES_ATTRIBUTE = "ClaireDSA.series"
"""JSON of everything in a ``DsaSeries`` that is not pixels; lets a loaded scene give the series back."""


def show_series(host: Host, series: DsaSeries, *, partner: SeriesNodes | None = None) -> SeriesNodes:
    """Add a run to the scene: sequence + browser + proxy volume.

    Frames keep their stored type; the index is the time in seconds. Each frame carries the attributes
    ``DICOM.instanceUIDs``, ``ClaireDSA.frame_number`` and ``ClaireDSA.time_s``; they survive saving.

    Parameters
    ----------
    host : Host
    series : DsaSeries
    partner : SeriesNodes, optional
        The other view of a biplane run that is in the scene already: this run joins its browser, so that
        both views always show the same moment. Show the run with more frames first.

    Returns
    -------
    SeriesNodes
    """
    name = series_title(series)
    sequence = _add_sequence(host.scene, name, series, series)
    sequence.SetAttribute(SERIES_ATTRIBUTE, _metadata_json(series))
    tag(sequence, series.run_id, "sequence")
    browser = _add_browser(host.scene, name, sequence, series) if partner is None else partner.browser
    proxy = _synchronise(host, browser, sequence, name)
    tag(proxy, series.run_id, "proxy")
    set_window(proxy, *_window(series))
    nodes = SeriesNodes(series.run_id, sequence, browser, proxy)
    hierarchy.place_series(host, series, nodes)
    return nodes


def show_pair(host: Host, pair: Pair) -> tuple[SeriesNodes, SeriesNodes]:
    """Add both views of a biplane run under one browser: ``(ap, lateral)``."""
    if pair.ap.n_frames >= pair.lateral.n_frames:
        ap = show_series(host, pair.ap)
        return ap, show_series(host, pair.lateral, partner=ap)
    lateral = show_series(host, pair.lateral)
    return show_series(host, pair.ap, partner=lateral), lateral


def add_subtracted(
    host: Host, series: DsaSeries, nodes: SeriesNodes, frames: Iterable[npt.NDArray[np.unsignedinteger]]
) -> SeriesNodes:
    """Add the subtracted frames as a second sequence of the same browser.

    Parameters
    ----------
    frames : iterable of (H, W) uint8 or uint16
        One per frame, display scale, contrast dark (see ``dsa.subtraction.to_display``).

    Returns
    -------
    SeriesNodes
        ``nodes`` with ``subtracted_sequence`` and ``subtracted_proxy`` filled in.
    """
    name = f"{series_title(series)}, subtracted"
    sequence = _add_sequence(host.scene, name, series, frames)
    tag(sequence, series.run_id, "subtracted_sequence")
    proxy = _synchronise(host, nodes.browser, sequence, name)
    tag(proxy, series.run_id, "subtracted_proxy")
    middle = sequence.GetNthDataNode(sequence.GetNumberOfDataNodes() // 2)
    from .images import array_of_image

    set_window(proxy, *robust_range(array_of_image(middle.GetImageData()), 0.1, 99.9))
    added = replace(nodes, subtracted_sequence=sequence, subtracted_proxy=proxy)
    hierarchy.place(host, series.run_id, [sequence, proxy])
    return added


def select_frame(nodes: SeriesNodes, index: int) -> None:
    """Show frame ``index`` (0-based) of this run; the partner of a pair follows in time.

    Raises
    ------
    IndexError
        When the run has no such frame.
    """
    n_frames = nodes.sequence.GetNumberOfDataNodes()
    if not 0 <= index < n_frames:
        msg = f"run {nodes.run_id} has frames 0 to {n_frames - 1}; got {index}"
        raise IndexError(msg)
    master = nodes.browser.GetMasterSequenceNode()
    if master.GetID() == nodes.sequence.GetID():
        nodes.browser.SetSelectedItemNumber(index)
    else:
        value = nodes.sequence.GetNthIndexValue(index)
        nodes.browser.SetSelectedItemNumber(master.GetItemNumberFromIndexValue(value, False))


def selected_frame(nodes: SeriesNodes) -> int:
    """0-based frame of this run that is shown."""
    master = nodes.browser.GetMasterSequenceNode()
    item = max(0, nodes.browser.GetSelectedItemNumber())
    if master.GetID() == nodes.sequence.GetID():
        return item
    return max(0, nodes.sequence.GetItemNumberFromIndexValue(master.GetNthIndexValue(item), False))


def series_title(series: DsaSeries) -> str:
    """Name for people, free of identifiers: ``Run 3 lateral``."""
    number = series.identity.series_number
    first = f"Run {number}" if number is not None else f"Run {series.run_id}"
    return first if series.geometry.view == "unknown" else f"{first} {series.geometry.view}"


def _add_sequence(scene: Any, name: str, series: DsaSeries, frames: Iterable[npt.NDArray[Any]]) -> Any:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    sequence.SetIndexTypeFromString("numeric")
    for index, frame in enumerate(frames):
        volume = scalar_volume_node()
        volume.SetName(name)
        fill_volume(volume, frame, series.geometry.pixel_spacing_mm)
        _describe_frame(volume, series, index)
        sequence.SetDataNodeAtValue(volume, index_value(series.times_s[index]))
    return sequence


def index_value(time_s: float) -> str:
    """Index value of a time: nanosecond text, so that no two frames collide."""
    return f"{float(time_s):.9f}".rstrip("0").rstrip(".")


def _describe_frame(volume: Any, series: DsaSeries, index: int) -> None:
    if series.frame_refs:
        ref = series.frame_refs[index]
        volume.SetAttribute("DICOM.instanceUIDs", ref.sop_instance_uid)
        volume.SetAttribute("ClaireDSA.frame_number", str(ref.frame_number))
    volume.SetAttribute("ClaireDSA.time_s", index_value(series.times_s[index]))


def _add_browser(scene: Any, name: str, sequence: Any, series: DsaSeries) -> Any:
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    if series.n_frames > 1:
        browser.SetPlaybackRateFps(1.0 / float(np.median(np.diff(series.times_s))))
    browser.SetPlaybackItemSkippingEnabled(False)
    tag(browser, series.run_id, "browser")
    return browser


def _synchronise(host: Host, browser: Any, sequence: Any, name: str) -> Any:
    if not browser.IsSynchronizedSequenceNode(sequence, True):
        browser.AddSynchronizedSequenceNode(sequence)
    browser.SetSaveChanges(sequence, False)
    browser.SetOverwriteProxyName(sequence, False)
    browser.SetSelectedItemNumber(max(0, browser.GetSelectedItemNumber()))
    host.logic("sequences").UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    proxy.SetName(name)
    return proxy


def _window(series: DsaSeries) -> tuple[float, float]:
    if series.intensity.window is not None and not series.intensity.inverted:
        centre, width = series.intensity.window
        if width > 1:
            return centre - width / 2, centre + width / 2
    return robust_range(series.frame(series.n_frames // 2), 0.1, 99.9)


def _metadata_json(series: DsaSeries) -> str:
    content = {
        "run_id": series.run_id,
        "times_s": [float(t) for t in series.times_s],
        "times_source": series.times_source,
        "frame_refs": [asdict(r) for r in series.frame_refs],
        "identity": asdict(series.identity),
        "geometry": asdict(series.geometry),
        "intensity": asdict(series.intensity),
        "subtraction_state": series.subtraction_state,
        "subtraction_source": series.subtraction_source,
        "mask_operations": [asdict(m) for m in series.mask_operations],
        "warnings": list(series.warnings),
    }
    return json.dumps(content, separators=(",", ":"))
