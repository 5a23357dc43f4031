"""Coloured pictures of a run for viewers that show nothing but images: overlays, maps, evidence of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ClaireDSALib.export import pictures
from ClaireDSALib.export.files import (
    ARTERY_COLOR,
    MAPS,
    VEIN_COLOR,
    VESSEL_COLOR,
    color_summary_with_legend,
    map_limits,
)
from ClaireDSALib.export.perfusion_pictures import PERFUSION_MAPS, perfusion_picture
from ClaireDSALib.pipeline.report import RunReport

Arrays = Mapping[str, npt.NDArray[Any]]
Rgb = pictures.Rgb

_EVIDENCE_SIDE_PX = 512
"""Class-activation maps are coarse; larger frames would only be larger."""
_EVIDENCE_ALPHA, _HEAT_ALPHA = 0.65, 0.8
_SITE_COLOR = (255, 64, 220)


def subtracted_window() -> tuple[float, float]:
    """Limits in which subtracted projections are shown: opacity 1.2 is black, -0.2 is white, for every run."""
    from ClaireDSALib.dsa.subtraction import to_display

    dark, light = (float(to_display(np.asarray(v, np.float32))) for v in (1.2, -0.2))
    return dark, light


def overlays(report: RunReport, arrays: Arrays) -> dict[str, Rgb]:
    """Vessels, arteries and veins, and the thrombus on the projection: name -> ``(H, W, 3)`` uint8."""
    base = _base(arrays, "subtracted_minip")
    found: dict[str, Rgb] = {}
    if "vessels" in arrays:
        found["Vessels"] = _outlined(base, [(arrays["vessels"], VESSEL_COLOR)])
    if "arteries" in arrays and "veins" in arrays:
        found["Arteries red, veins blue"] = _outlined(
            base, [(arrays["veins"], VEIN_COLOR), (arrays["arteries"], ARTERY_COLOR)]
        )
    thrombus = report.thrombus
    if thrombus is not None and thrombus.present and "thrombus_heat" in arrays:
        chance = pictures.enlarge(arrays["thrombus_heat"], base.shape)
        strength = np.clip(chance / max(float(chance.max()), 1e-9), 0, 1)
        shown = pictures.over(base, pictures.heat(strength), _HEAT_ALPHA * strength)
        if thrombus.site_px is not None:
            shown = _ringed(shown, thrombus.site_px)
        found[f"Thrombus, probability {thrombus.probability:.0%}"] = shown
    return found


def maps(arrays: Arrays) -> dict[str, Rgb]:
    """Temporal maps with their colour bars, all of one size: title -> ``(H, W + bar, 3)`` uint8."""
    found = {}
    for name, (title, unit) in MAPS.items():
        if name in arrays:
            values = arrays[name]
            limits = map_limits(values)
            color = pictures.colored(values, *limits, pictures.cool)
            color[~np.isfinite(values)] = 0
            found[f"{title}, {unit}" if unit else title] = pictures.with_color_bar(color, pictures.cool, *limits, unit)
    found |= {
        f"{title}, {unit}" if unit else title: perfusion_picture(name, arrays, arrays["minip"].shape)
        for name, (title, unit) in PERFUSION_MAPS.items()
        if name in arrays
    }
    if "color_summary" in arrays:
        found["Colour-coded summary"] = color_summary_with_legend(arrays)
    return found


def evidence(report: RunReport, arrays: Arrays) -> dict[str, Rgb]:
    """Where each label's class was seen, over the picture it was read off, in one range for all labels."""
    shown = [
        (label, arrays[label.cam_arrays[label.predicted]])
        for label in report.labels
        if label.answered and label.cam_arrays.get(label.predicted) in arrays
    ]
    peak = max([1e-6, *(float(cam.max()) for _, cam in shown)])
    bases = {name: _small(_base(arrays, name)) for name in {label.picture for label, _ in shown}}
    found = {}
    for label, cam in shown:
        base = bases[label.picture]
        strength = np.clip(pictures.enlarge(cam, base.shape) / peak, 0, 1)
        name = f"{label.name}: {label.predicted} {max(label.probabilities):.0%}"
        found[name] = pictures.over(base, pictures.heat(strength), _EVIDENCE_ALPHA * strength)
    return found


def _base(arrays: Arrays, name: str) -> npt.NDArray[np.uint8]:
    """A projection in its usual window; the MinIP when the one asked for is not there."""
    if name == "subtracted_minip" and name in arrays:
        return pictures.window(arrays[name], *subtracted_window())
    return pictures.window(arrays.get(name, arrays["minip"]))


def _small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    grey = Image.fromarray(picture)
    grey.thumbnail((_EVIDENCE_SIDE_PX, _EVIDENCE_SIDE_PX), Image.Resampling.BOX)
    return np.asarray(grey)


def _outlined(base: npt.NDArray[np.uint8], masks: list[tuple[npt.NDArray[Any], tuple[int, int, int]]]) -> Rgb:
    shown = np.repeat(base[..., None], 3, axis=2)
    for mask, color in masks:
        layer = pictures.outlined(mask.astype(bool), color)
        weight = layer[..., 3:].astype(np.float32) / 255
        shown = np.round(shown * (1 - weight) + layer[..., :3] * weight).astype(np.uint8)
    return shown


def _ringed(picture: Rgb, site_px: tuple[float, float]) -> Rgb:
    image = Image.fromarray(picture)
    row, column = site_px
    radius = max(6.0, 0.03 * max(picture.shape[:2]))
    box = (column - radius, row - radius, column + radius, row + radius)
    ImageDraw.Draw(image).ellipse(box, outline=_SITE_COLOR, width=max(1, round(radius / 6)))
    return np.asarray(image)
