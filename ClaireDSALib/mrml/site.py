"""The thrombus site as a point markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .images import pixel_of_ras, ras_of_pixel
from .nodes import tag

if TYPE_CHECKING:
    from ClaireDSALib.pipeline.report import Thrombus

    from .host import Host

_SITE_COLOR = (1.0, 0.36, 0.12)


def add_site(
    host: Host,
    run_id: str,
    name: str,
    thrombus: Thrombus,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
) -> Any | None:
    """Mark the hottest point of the thrombus evidence; None when the report names none."""
    if thrombus.site_px is None:
        return None
    node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    position = ras_of_pixel(thrombus.site_px, shape, spacing_mm)
    node.AddControlPoint(*position, f"thrombus? {thrombus.probability:.0%}")
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetSelectedColor(*_SITE_COLOR)
    display.SetGlyphType(display.CrossDot2D)
    display.SetGlyphScale(5.0)
    display.SetTextScale(2.5)
    display.SetOpacity(1.0 if thrombus.present else 0.5)
    return tag(node, run_id, "site")


def site_pixel(node: Any, shape: tuple[int, int], spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    """``(row, column)`` of the marked site."""
    position = [0.0, 0.0, 0.0]
    node.GetNthControlPointPosition(0, position)
    return pixel_of_ras((position[0], position[1], position[2]), shape, spacing_mm)
