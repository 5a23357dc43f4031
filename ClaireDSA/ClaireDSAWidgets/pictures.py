"""Small pictures for buttons, tables and labels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import qt


def pixmap(rgb: np.ndarray) -> Any:
    """Turn ``(H, W)`` or ``(H, W, 3)`` uint8 into a QPixmap."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    picture = qt.QPixmap()
    picture.loadFromData(qt.QByteArray(buffer.getvalue()), "PNG")
    return picture


def thumbnail(sequence: Any, size_px: int = 96) -> np.ndarray:
    """Minimum over time of every frame of a sequence node, thinned to about ``size_px``: ``(h, w)`` uint8."""
    darkest = None
    for index in range(sequence.GetNumberOfDataNodes()):
        frame = _thinned(sequence.GetNthDataNode(index).GetImageData(), size_px)
        darkest = frame if darkest is None else np.minimum(darkest, frame)
    return _grey(darkest) if darkest is not None else np.zeros((size_px, size_px), np.uint8)


def volume_thumbnail(volume: Any, size_px: int = 96) -> np.ndarray:
    """A projection's volume node, thinned: ``(h, w)`` uint8."""
    return _grey(_thinned(volume.GetImageData(), size_px))


def _grey(picture: np.ndarray) -> np.ndarray:
    low, high = np.percentile(picture, (1, 99.5))
    return (255 * np.clip((picture - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)


def _thinned(image: Any, size_px: int) -> np.ndarray:
    from vtk.util.numpy_support import vtk_to_numpy

    columns, rows, _ = image.GetDimensions()
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[..., 0]
    step = max(1, max(rows, columns) // size_px)
    return array[::step, ::step].astype(np.float32)


PHASE_COLORS = {
    "non_contrast": (168, 168, 168),
    "arterial": (214, 84, 78),
    "parenchymal": (150, 110, 176),
    "venous": (76, 120, 196),
}
"""Grey, red, violet, blue: arteries red and veins blue, as radiologists draw them."""


def phase_strip(names: tuple[str, ...], times_s: tuple[float, ...], frame: int, width_px: int) -> np.ndarray:
    """Draw the phases of a run over its time with a mark at ``frame``: ``(26, width_px, 3)`` uint8."""
    strip = np.full((26, width_px, 3), 255, np.uint8)
    if not times_s:
        return strip
    n_frames, span_s = len(times_s), max(times_s[-1] - times_s[0], 1e-9)
    moments = times_s[0] + span_s * (np.arange(width_px) + 0.5) / width_px
    nearest = np.abs(moments[:, None] - np.asarray(times_s)).argmin(axis=1)
    colors = np.array([PHASE_COLORS.get(n, (220, 220, 220)) for n in names] or [(220, 220, 220)] * n_frames, np.uint8)
    strip[6:22] = colors[nearest]
    column = round((times_s[min(frame, n_frames - 1)] - times_s[0]) / span_s * (width_px - 1))
    strip[2:26, max(0, column - 1) : column + 2] = 0
    return strip


def legend_html(legend: Any) -> str:
    """Colour bar of an overlay as rich text: title, lowest value, colours, highest value, unit."""
    if legend is None:
        return ""
    cells = "".join(f'<td bgcolor="{c}">&nbsp;&nbsp;</td>' for c in legend.stops)
    ends = f"{legend.low:.3g}", f"{legend.high:.3g} {legend.unit}"
    return (
        f"<table cellspacing='0'><tr><td>{legend.title}&nbsp;&nbsp;</td><td>{ends[0]}&nbsp;</td>{cells}"
        f"<td>&nbsp;{ends[1]}</td></tr></table>"
    )
