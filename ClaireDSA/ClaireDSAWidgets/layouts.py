"""Our view layouts, and which node stands in which view."""

from __future__ import annotations

import enum
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

SEQUENCE, PROJECTION = "ClaireDSASequence", "ClaireDSAProjection"
_FIRST_LAYOUT_ID = 74051
"""Far above Slicer's own layouts and the 501-999 that its documentation hands out."""
_BLUE, _ROSE = "#6E8FB5", "#B5876E"


class Layout(enum.Enum):
    """Arrangements of the views."""

    SINGLE = 0
    BIPLANE = 1
    BEFORE_AFTER = 2

    def label(self) -> str:
        return {
            Layout.SINGLE: _("Single"),
            Layout.BIPLANE: _("Biplane"),
            Layout.BEFORE_AFTER: _("Before and after"),
        }[self]

    @property
    def layout_id(self) -> int:
        return _FIRST_LAYOUT_ID + self.value


def register() -> None:
    """Tell the layout manager our layouts; safe to call again."""
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for layout, xml in _DESCRIPTIONS.items():
        if not node.IsLayoutDescription(layout.layout_id):
            node.AddLayoutDescription(layout.layout_id, xml)


def show(layout: Layout) -> None:
    """Arrange the views; does nothing when they stand like that already, so that zoom is kept."""
    manager = slicer.app.layoutManager()
    if manager.layout != layout.layout_id:
        manager.setLayout(layout.layout_id)


def place(
    position: int, series: Any, projection: Any, overlay: Any, opacity: float, *, subtracted: bool = False
) -> None:
    """Put a run into view pair ``position`` (1 or 2); None empties it."""
    moving = series.proxy if series is not None else None
    if subtracted and series is not None and series.subtracted_proxy is not None:
        moving = series.subtracted_proxy
    _set(f"{SEQUENCE}{position}", moving, None, 0.0)
    _set(f"{PROJECTION}{position}", projection or moving, overlay, opacity)


def set_opacity(opacity: float) -> None:
    """Opacity of the overlay in both projections."""
    for position in (1, 2):
        widget = slicer.app.layoutManager().sliceWidget(f"{PROJECTION}{position}")
        if widget is not None:
            widget.mrmlSliceCompositeNode().SetForegroundOpacity(opacity)


def projection_view_id(position: int) -> str:
    """ID of the slice node of a projection view, empty before the layout was ever shown."""
    widget = slicer.app.layoutManager().sliceWidget(f"{PROJECTION}{position}")
    return widget.mrmlSliceNode().GetID() if widget is not None else ""


def only_in(node: Any, view_id: str, visible: bool) -> None:
    """Show a segmentation or markup in one view alone, so that the runs do not cover each other."""
    display = node.GetDisplayNode() if node is not None else None
    if display is None:
        return
    if list(display.GetViewNodeIDs() or ()) != [view_id]:
        display.RemoveAllViewNodeIDs()
        if view_id:
            display.AddViewNodeID(view_id)
    if bool(display.GetVisibility()) != (visible and bool(view_id)):
        display.SetVisibility(visible and bool(view_id))


def _set(view: str, background: Any, foreground: Any, opacity: float) -> None:
    widget = slicer.app.layoutManager().sliceWidget(view)
    if widget is None:
        return
    composite = widget.mrmlSliceCompositeNode()
    before = composite.GetBackgroundVolumeID()
    composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
    composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
    composite.SetLabelVolumeID(None)
    composite.SetForegroundOpacity(opacity)
    if background is not None and before != background.GetID():
        qt.QTimer.singleShot(0, lambda: widget.fitSliceToBackground())  # a view just made has its size only then


def _view(name: str, position: int, label: str, color: str) -> str:
    return (
        f'<view class="vtkMRMLSliceNode" singletontag="{name}{position}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{color}</property>'
        f'<property name="viewgroup" action="default">{position}</property></view>'
    )


def _row(*views: str) -> str:
    return '<layout type="horizontal" split="true">' + "".join(f"<item>{v}</item>" for v in views) + "</layout>"


_S1, _P1 = _view(SEQUENCE, 1, "R", _BLUE), _view(PROJECTION, 1, "P", _ROSE)
_S2, _P2 = _view(SEQUENCE, 2, "R2", _BLUE), _view(PROJECTION, 2, "P2", _ROSE)
_DESCRIPTIONS = {
    Layout.SINGLE: _row(_S1, _P1),
    Layout.BIPLANE: _row(_row(_S1, _P1), _row(_S2, _P2)).replace("horizontal", "vertical", 1),
    Layout.BEFORE_AFTER: _row(_P1, _P2),
}
