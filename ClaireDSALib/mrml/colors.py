"""Colour ramps of overlays, as arrays and as colour table nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

N_COLORS = 256

_RAMPS: dict[str, tuple[str, ...]] = {
    # Dark violet over orange to pale yellow: lightness rises evenly and reads well on a grey angiogram.
    "heat": ("#2a0a4a", "#7a1f6c", "#c73e4c", "#f47d15", "#fbc53a", "#fdf5b2"),
    # Early is warm, late is cool: the order angiographers know from colour-coded DSA.
    "time": ("#e5322d", "#f58a1f", "#f4dd3b", "#58c26a", "#1fa3c9", "#3a4cc0"),
    # One hue, for amounts.
    "amount": ("#062a3a", "#0b5a73", "#1a93a8", "#62c9c0", "#d5f5e3"),
}

SEGMENT_COLORS: dict[str, tuple[float, float, float]] = {
    "vessels": (0.16, 0.78, 0.85),
    "arteries": (0.91, 0.32, 0.28),
    "veins": (0.32, 0.50, 0.95),
    "centerline": (1.0, 0.86, 0.35),
}


def ramp_names() -> tuple[str, ...]:
    return tuple(_RAMPS)


def ramp(name: str) -> npt.NDArray[np.uint8]:
    """``(256, 3)`` uint8 colours of a ramp: ``heat``, ``time`` or ``amount``."""
    stops = np.array([[int(s[i : i + 2], 16) for i in (1, 3, 5)] for s in _RAMPS[name]], float)
    at = np.linspace(0, len(stops) - 1, N_COLORS)
    return np.stack([np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def css_stops(name: str) -> tuple[str, ...]:
    """Colours of a ramp for a CSS gradient, low to high."""
    return _RAMPS[name]


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
