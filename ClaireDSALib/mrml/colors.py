"""Colours of segments, and ramps as colour table nodes."""

from __future__ import annotations

from typing import Any

from ClaireDSALib.export.ramps import N_COLORS, ramp

SEGMENT_COLORS: dict[str, tuple[float, float, float]] = {
    "vessels": (0.16, 0.78, 0.85),
    "arteries": (0.91, 0.32, 0.28),
    "veins": (0.32, 0.50, 0.95),
    "centerline": (1.0, 0.86, 0.35),
}


def color_table(scene: Any, name: str) -> Any:
    """Colour table node of a ramp; made once per scene and saved with it.

    slicer-core ships neither inferno nor viridis, and procedural nodes that are hidden are not saved.
    """
    title = f"CLAIRE-DSA {name}"
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode")):
        node = scene.GetNthNodeByClass(i, "vtkMRMLColorTableNode")
        if node.GetName() == title:
            return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", title)
    node.SetTypeToUser()
    node.SetNumberOfColors(N_COLORS)
    for i, (red, green, blue) in enumerate(ramp(name) / 255.0):
        node.SetColor(i, f"{i}", float(red), float(green), float(blue), 1.0)
    node.GetLookupTable().SetRange(0, N_COLORS - 1)
    node.SetSaveWithScene(True)
    node.SetHideFromEditors(False)
    return node
