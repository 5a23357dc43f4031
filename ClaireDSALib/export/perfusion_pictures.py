"""Pictures of coarse maps: perfusion with a colour bar, and what a treatment gave back over the run before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.export import pictures

PERFUSION_MAPS = {
    "tmax": ("Tmax", "s"),
    "cbf": ("Relative CBF", "1/s"),
    "cbv": ("Relative CBV", ""),
    "mtt": ("MTT", "s"),
}
"""Map -> title and unit."""

_TIMES = ("tmax", "mtt")
_GAIN_COLOR, _LATE_COLOR = (60, 215, 120), (255, 150, 40)
_INPUT_COLOR = (255, 60, 90)
_LEAST_GAIN = 0.15
"""Share below which the change of flow is within its error and not shown."""


def write_perfusion_maps(
    place: Path, arrays: Mapping[str, npt.NDArray[Any]], shape: tuple[int, int]
) -> dict[str, Path]:
    """Write the perfusion maps as pictures with a colour bar and as 32-bit TIFF on their own grid.

    Parameters
    ----------
    place : Path
        Folder of the run.
    arrays : mapping of str to ndarray
        Of the run; maps that are missing are left out.
    shape : (H, W)
        Of the run.
    """
    files = {}
    for name in PERFUSION_MAPS:
        if name not in arrays:
            continue
        shown = perfusion_picture(name, arrays, shape)
        files[f"{name}.png"] = pictures.write_png(place / "maps" / f"{name}.png", shown)
        files[f"{name}.tif"] = pictures.write_tiff(place / "maps" / f"{name}.tif", arrays[name])
    return files


def perfusion_picture(name: str, arrays: Mapping[str, npt.NDArray[Any]], shape: tuple[int, int]) -> pictures.Rgb:
    """One perfusion map over the whole run ``(H, W)``, with its colour bar and the rim of the input region."""
    limits = perfusion_limits(name, arrays[name])
    values = spread(arrays[name], shape)
    color = pictures.colored(values, *limits, pictures.cool)
    color[~np.isfinite(values)] = 0
    if "input_region" in arrays:
        color = _with_input(color, arrays["input_region"], shape)
    return pictures.with_color_bar(color, pictures.cool, *limits, PERFUSION_MAPS[name][1])


def perfusion_limits(name: str, values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Display limits: from zero to where tissue ends; vessels, many times brighter, saturate."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    high = np.percentile(finite, 95) if name in _TIMES else 2.0 * np.percentile(finite, 60)
    return 0.0, float(max(high, 1e-6))


def write_reperfusion(
    path: Path, base: npt.NDArray[np.uint8], gain: npt.NDArray[np.floating], late: npt.NDArray[np.bool_]
) -> Path:
    """Draw new flow in green and tissue still late in orange over the run before treatment ``(H, W)`` uint8."""
    share = np.nan_to_num(spread(gain, base.shape), nan=0.0)
    strength = np.clip((share - _LEAST_GAIN) / (1 - _LEAST_GAIN), 0, 1)
    still = np.clip(pictures.enlarge(late.astype(np.float32), base.shape), 0, 1)
    color = np.empty((*base.shape, 3), np.uint8)
    color[:] = np.where((still > 0.5)[..., None], _LATE_COLOR, _GAIN_COLOR)
    alpha = np.where(still > 0.5, 0.65, 0.75 * strength)
    return pictures.write_png(path, pictures.over(base, color, alpha))


def spread(values: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A coarse map ``(h, w)`` over the whole image ``(H, W)``, smoothly; NaN stays NaN and does not bleed."""
    known = np.isfinite(values)
    weight = pictures.enlarge(known.astype(np.float32), shape)
    filled = pictures.enlarge(np.where(known, values, 0).astype(np.float32), shape)
    return np.where(weight > 0.5, filled / np.maximum(weight, 0.5), np.nan).astype(np.float32)


def _with_input(
    color: npt.NDArray[np.uint8], region: npt.NDArray[np.bool_], shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """The rim of the input region, so that one can see what the maps are relative to."""
    inside = pictures.enlarge(region.astype(np.float32), shape) > 0.5
    thickness = max(1, round(max(shape) / 400))
    color[ndimage.binary_dilation(inside, iterations=thickness) & ~inside] = _INPUT_COLOR
    return color
