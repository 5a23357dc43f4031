"""One foreground picture per run with soft alpha: a class-activation map, a time map or thrombus heat.

Colour tables of Slicer know no alpha between 0 and 1, hence the RGBA volume. Raw values stay untouched
in their own volumes; only the display range is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ClaireDSALib.export import ramps

from .images import add_volume, array_of_image, fill_volume
from .nodes import ResultNodes, tag

if TYPE_CHECKING:
    from .host import Host

ACTIVE_ATTRIBUTE = "ClaireDSA.active"
"""On the overlay volume: ``cam:<label>:<class>``, an array name, or empty."""

PERFUSION_MAPS = ("tmax", "cbf", "cbv", "mtt")
"""On a coarse grid that spans the image; NaN where nothing arrives."""

TIME_MAPS = ("time_to_peak", "arrival_time", "mean_transit_time", "tmax", "mtt")
AMOUNT_MAPS = ("peak_opacity", "area_under_curve", "opacity")
TITLES = {
    "time_to_peak": "Time to peak",
    "arrival_time": "Arrival time",
    "mean_transit_time": "Mean transit time",
    "peak_opacity": "Peak opacity",
    "area_under_curve": "Area under curve",
    "opacity": "Opacity",
    "tmax": "Tmax",
    "cbf": "Relative CBF",
    "cbv": "Relative CBV",
    "mtt": "MTT",
    "vessel_probability": "Vessel probability",
    "thrombus_heat": "Thrombus evidence",
    "color_summary": "Colour-coded flow",
}
UNITS = {
    "time_to_peak": "s",
    "arrival_time": "s",
    "mean_transit_time": "s",
    "area_under_curve": "s",
    "thrombus_heat": "logit",
    "tmax": "s",
    "cbf": "1/s",
    "mtt": "s",
}

_CAM_ALPHA = 0.85
"""Alpha of the strongest evidence; the anatomy must stay visible below it."""
_CAM_FLOOR = 0.15
"""Share of the range below which a class-activation map is fully transparent."""


@dataclass(frozen=True)
class Legend:
    """What an overlay's colours mean.

    ``low`` and ``high`` are in ``unit``; ``stops`` are CSS colours from low to high.
    """

    title: str
    unit: str
    low: float
    high: float
    stops: tuple[str, ...]


def overlay_names(results: ResultNodes) -> list[str]:
    """Names that :func:`set_overlay` accepts for this run."""
    return [name for name in TITLES if name in results.volumes]


def set_active_cam(host: Host, results: ResultNodes, label: str, predicted_class: str) -> Legend:  # noqa: ARG001 - every function here takes the host first
    """Show the class-activation map of one class of one label in the run's overlay volume.

    All classes of the label share one range, 0 to the largest evidence among them, so that switching
    between classes compares like with like. Negative evidence is transparent.

    Raises
    ------
    KeyError
        When the run has no such map.
    """
    key = (label, predicted_class)
    if key not in results.cams:
        msg = f"run {results.run_id} has no class-activation map {key}; it has {sorted(results.cams)}"
        raise KeyError(msg)
    raw = array_of_image(results.cams[key].GetImageData())
    high = max(_top(results.cams[k]) for k in results.cams if k[0] == label) or 1.0
    legend = Legend(f"{_words(label)}: {_words(predicted_class)}", "logit", 0.0, high, ramps.css_stops("heat"))
    _fill(results, _soft_heat(_over_image(raw, _shape(results)), high), f"cam:{label}:{predicted_class}", legend)
    return legend


def set_overlay(host: Host, results: ResultNodes, name: str) -> Legend | None:  # noqa: ARG001 - every function here takes the host first
    """Show a map by its array name, or nothing for an empty name.

    Time maps are opaque where there is contrast; amounts and thrombus heat fade out towards zero.

    Returns
    -------
    Legend or None
        None when the overlay was emptied or carries its own colours.

    Raises
    ------
    KeyError
        When the run has no such map.
    """
    if not name:
        _fill(results, np.zeros((*_shape(results), 4), np.uint8), "", None)
        return None
    if name not in results.volumes:
        msg = f"run {results.run_id} has no map {name!r}; it has {overlay_names(results)}"
        raise KeyError(msg)
    values = array_of_image(results.volumes[name].GetImageData())
    rgba, legend = _picture(name, values, _shape(results))
    _fill(results, rgba, name, legend)
    return legend


def active_overlay(results: ResultNodes) -> str:
    """``cam:<label>:<class>``, an array name, or empty."""
    return results.overlay.GetAttribute(ACTIVE_ATTRIBUTE) or ""


def add_overlay_volume(
    host: Host, run_id: str, shape: tuple[int, int], spacing_mm: tuple[float, float] | None, name: str
) -> Any:
    """Add the empty RGBA volume of a run."""
    volume = add_volume(host.scene, name, np.zeros((*shape, 4), np.uint8), spacing_mm)
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 255)  # identity: the colours are final
    volume.SetAttribute(ACTIVE_ATTRIBUTE, "")
    return tag(volume, run_id, "overlay")


def _picture(
    name: str, values: npt.NDArray[Any], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], Legend | None]:
    title, unit = TITLES[name], UNITS.get(name, "")
    if name == "color_summary":
        return _opaque(values), None
    if name in PERFUSION_MAPS:
        values = _over_image_with_gaps(values, shape)
    if name in TIME_MAPS:
        finite = values[np.isfinite(values)]
        low, high = (float(v) for v in np.percentile(finite, (2, 98))) if finite.size else (0.0, 1.0)
        high = max(high, low + 1e-3)
        return _colored(values, low, high, "time"), Legend(title, unit, low, high, ramps.css_stops("time"))
    if name == "thrombus_heat":
        high = float(np.nanmax(values, initial=0.0)) or 1.0
        heat = _soft_heat(_over_image(values, shape), high)
        return heat, Legend(title, unit, 0.0, high, ramps.css_stops("heat"))
    finite = values[np.isfinite(values)]
    high = 1.0 if name == "vessel_probability" else _high(name, finite) if finite.size else 1.0
    high = high or 1.0
    rgba = _colored(values, 0.0, high, "amount")
    strength = np.nan_to_num(np.clip(values / high, 0, 1))
    rgba[..., 3] = (255 * np.clip(strength * 3, 0, 1)).astype(np.uint8)
    return rgba, Legend(title, unit, 0.0, high, ramps.css_stops("amount"))


def _soft_heat(values: npt.NDArray[Any], high: float) -> npt.NDArray[np.uint8]:
    strength = np.clip(np.nan_to_num(values) / high, 0, 1)
    rgba = np.empty((*values.shape, 4), np.uint8)
    rgba[..., :3] = ramps.ramp("heat")[(strength * (ramps.N_COLORS - 1)).astype(int)]
    fade = np.clip((strength - _CAM_FLOOR) / (1 - _CAM_FLOOR), 0, 1)
    rgba[..., 3] = (255 * _CAM_ALPHA * np.sqrt(fade)).astype(np.uint8)
    return rgba


def _colored(values: npt.NDArray[Any], low: float, high: float, ramp: str) -> npt.NDArray[np.uint8]:
    known = np.isfinite(values)
    position = np.clip((np.where(known, values, low) - low) / (high - low), 0, 1)
    rgba = np.zeros((*values.shape, 4), np.uint8)
    rgba[..., :3] = ramps.ramp(ramp)[(position * (ramps.N_COLORS - 1)).astype(int)]
    rgba[..., 3] = np.where(known, 255, 0)
    return rgba


def _opaque(rgb: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.dstack([rgb[..., :3].astype(np.uint8), np.full(rgb.shape[:2], 255, np.uint8)])


def _over_image(coarse: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Linear interpolation of a coarse grid whose cells tile the full image."""
    if coarse.shape == shape:
        return coarse.astype(np.float32)
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, coarse.shape, strict=True))
    grid = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(np.nan_to_num(coarse).astype(np.float32), grid, order=1, mode="nearest")


def _over_image_with_gaps(coarse: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The same for a grid with unknown cells, which stay unknown and do not bleed."""
    known = np.isfinite(coarse)
    weight = _over_image(known.astype(np.float32), shape)
    values = _over_image(np.where(known, coarse, 0), shape)
    return np.where(weight > 0.5, values / np.maximum(weight, 0.5), np.nan).astype(np.float32)


def _high(name: str, finite: npt.NDArray[Any]) -> float:
    """Top of the range: what tissue reaches in perfusion maps, where vessels are many times brighter."""
    return float(2 * np.percentile(finite, 60) if name in PERFUSION_MAPS else np.percentile(finite, 99.5))


def _fill(results: ResultNodes, rgba: npt.NDArray[np.uint8], active: str, legend: Legend | None) -> None:
    spacing_mm = _spacing(results.overlay)
    fill_volume(results.overlay, rgba, spacing_mm)
    results.overlay.SetAttribute(ACTIVE_ATTRIBUTE, active)
    text = "" if legend is None else f"{legend.title} [{legend.unit}] {legend.low:.6g} to {legend.high:.6g}"
    results.overlay.SetDescription(text)


def _shape(results: ResultNodes) -> tuple[int, int]:
    columns, rows, _ = results.overlay.GetImageData().GetDimensions()
    return rows, columns


def _spacing(volume: Any) -> tuple[float, float] | None:
    if volume.GetAttribute("ClaireDSA.spacing") == "unknown":
        return None
    column, row, _ = volume.GetSpacing()
    return row, column


def _top(volume: Any) -> float:
    return float(np.nanmax(array_of_image(volume.GetImageData()), initial=0.0))


def _words(name: str) -> str:
    return name.replace("_", " ")
