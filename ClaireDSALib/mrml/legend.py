"""Colour legend of a run's overlay in slice views.

The overlay's colours are final RGBA values, so the legend cannot read its range from window and level as
Slicer's legends do. It gets a small table of its own instead: a few colours named by the values they stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from .nodes import tag, tagged_nodes

if TYPE_CHECKING:
    from .host import Host
    from .nodes import ResultNodes
    from .overlay import Legend

_STEPS = 6


def show_color_legend(host: Host, results: ResultNodes, legend: Legend | None) -> None:
    """Show what the overlay's colours mean beside the picture; None hides the legend.

    Parameters
    ----------
    legend : Legend or None
        As returned by ``set_active_cam`` or ``set_overlay``.
    """
    display = results.overlay.GetDisplayNode()
    node = tagged_nodes(host, results.run_id).get("legend")
    if legend is None:
        if node is not None:
            node.SetVisibility(False)
        return
    table = _table(host, results.run_id)
    _fill(table, legend)
    display.SetAndObserveColorNodeID(table.GetID())
    node = node or _new_legend(results.run_id, display)
    node.SetTitleText(f"{legend.title} [{legend.unit}]" if legend.unit else legend.title)
    node.SetVisibility(True)
    node.Modified()  # a legend made before its volume was in a view is not drawn otherwise


def _table(host: Host, run_id: str) -> Any:
    if (table := tagged_nodes(host, run_id).get("legend_table")) is not None:
        return table
    table = host.scene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{run_id} legend")
    table.SetTypeToUser()
    table.SetNumberOfColors(_STEPS)
    table.GetLookupTable().SetRange(0, _STEPS - 1)
    return tag(table, run_id, "legend_table")


def _fill(table: Any, legend: Legend) -> None:
    for i in range(_STEPS):
        share = i / (_STEPS - 1)
        red, green, blue = _color_at(legend.stops, share)
        value = legend.low + share * (legend.high - legend.low)
        table.SetColor(i, f"{value:.2f}", red, green, blue, 1.0)


def _color_at(stops: tuple[str, ...], share: float) -> tuple[float, float, float]:
    position = share * (len(stops) - 1)
    low = min(int(position), len(stops) - 2)
    pairs = [(int(stops[low][i : i + 2], 16), int(stops[low + 1][i : i + 2], 16)) for i in (1, 3, 5)]
    red, green, blue = ((a + (b - a) * (position - low)) / 255 for a, b in pairs)
    return red, green, blue


def _new_legend(run_id: str, display: Any) -> Any:
    node = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(display)
    node.SetUseColorNamesForLabels(True)
    node.SetMaxNumberOfColors(_STEPS)
    node.SetNumberOfLabels(_STEPS)
    node.SetSize(0.12, 0.5)
    node.SetPosition(0.95, 0.5)
    return tag(node, run_id, "legend")
