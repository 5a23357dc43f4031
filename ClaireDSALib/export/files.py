"""A result on disk: per run a folder of pictures and arrays, one ``report.json``, one ``index.html``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.export import pictures
from ClaireDSALib.export.atomic import write_text, writing
from ClaireDSALib.export.perfusion_pictures import (
    PERFUSION_MAPS,
    perfusion_limits,
    write_perfusion_maps,
    write_reperfusion,
)
from ClaireDSALib.pipeline.report import CaseReport, CaseResult, LabelResult, RunReport

if TYPE_CHECKING:
    from ClaireDSALib.dsa.color_summary import Legend

Arrays = Mapping[str, npt.NDArray[Any]]

MAPS = {
    "time_to_peak": ("Time to peak", "s"),
    "arrival_time": ("Arrival time", "s"),
    "mean_transit_time": ("Mean transit time", "s"),
    "area_under_curve": ("Area under the curve", "s"),
    "peak_opacity": ("Peak opacity", ""),
}
"""Map -> title and unit."""

VESSEL_COLOR = (64, 200, 255)
ARTERY_COLOR, VEIN_COLOR = (255, 84, 84), (90, 130, 255)
_CAM_ALPHA = 0.65
_COARSE_PX = 64
"""Longest side of a map that tells where a network looked; finer ones mark pixels."""
_MARKED_LOGIT = 6.0
"""Logit from which a marked pixel is shown in full: what is marked is thin, and certain or not there."""


def write_run(folder: Path, series: DsaSeries, report: RunReport, arrays: Arrays) -> RunReport:
    """Write one run's files below ``folder/<run_id>`` and return the report that names them.

    Parameters
    ----------
    folder : Path
        The case's folder.
    series : DsaSeries
        For the cine; frames are decoded one at a time.
    report, arrays
        As :func:`analyze` gave them.
    """
    place = folder / series.run_id
    files: dict[str, Path] = {}
    base = arrays.get("subtracted_minip", arrays.get("minip"))
    if base is not None:
        files["minip.png"] = pictures.write_png(place / "minip.png", arrays["minip"])
        files["minip.tif"] = pictures.write_tiff(place / "minip.tif", arrays["minip"], series.geometry.pixel_spacing_mm)
        files["thumbnail.png"] = pictures.write_png(place / "thumbnail.png", _thumbnail(base))
        if "subtracted_minip" in arrays:
            files["subtracted_minip.png"] = pictures.write_png(
                place / "subtracted_minip.png", _subtracted_window(arrays["subtracted_minip"])
            )
            files["subtracted_minip.tif"] = pictures.write_tiff(
                place / "subtracted_minip.tif", arrays["subtracted_minip"], series.geometry.pixel_spacing_mm
            )
        files |= _overlays(place, report, arrays, base.shape)
        files |= _maps(place, arrays)
        files |= write_perfusion_maps(place, arrays, base.shape)
        if "arterial_minip" in arrays:
            shown = _subtracted_window(arrays["arterial_minip"])
            files["arterial_minip.png"] = pictures.write_png(place / "arterial_minip.png", shown)
        if "reperfusion_gain" in arrays:
            files["reperfusion.png"] = write_reperfusion(
                place / "reperfusion.png",
                _subtracted_window(arrays["subtracted_minip"]),
                arrays["reperfusion_gain"],
                arrays["reperfusion_late"],
            )
        files["cine.webp"] = write_cine(place / "cine.webp", series, subtracted="opacity" in arrays)
        files["arrays.npz"] = _write_arrays(place / "arrays.npz", arrays)
    names = {name: path.relative_to(folder).as_posix() for name, path in files.items()}
    limits = {name: map_limits(arrays[name]) for name in MAPS if name in arrays}
    limits |= {name: perfusion_limits(name, arrays[name]) for name in PERFUSION_MAPS if name in arrays}
    if "color_summary" in arrays:
        scale = _legend(arrays)
        limits["color_summary"] = (scale.first_s, scale.last_s)
    if report.labels:
        limits["cam"] = (0.0, _shared_cam_peak(report, arrays))
        limits |= {f"cam.{label.name}": (0.0, _MARKED_LOGIT) for label in report.labels if _marks(label, arrays)}
    return dataclasses.replace(report, files=names, map_limits=limits)


def write_case(folder: Path, series: Sequence[DsaSeries], result: CaseResult) -> CaseReport:
    """Write all runs, ``report.json`` and ``index.html``; return the report that names the files."""
    from ClaireDSALib.export.page import render_page

    by_id = {one.run_id: one for one in series}
    runs = tuple(write_run(folder, by_id[run.run_id], run, result.arrays[run.run_id]) for run in result.report.runs)
    report = dataclasses.replace(result.report, runs=runs)
    write_text(folder / "report.json", report.to_json())
    write_text(folder / "index.html", render_page(report))
    return report


def write_cine(path: Path, series: DsaSeries, *, subtracted: bool) -> Path:
    """Animated preview on true times: the subtraction where there is one, else the frames as acquired."""
    from ClaireDSALib.dsa import subtraction

    if subtracted:
        opacity = subtraction.subtract(series)
        shown = (_subtracted_window(subtraction.to_display(opacity.read(i))) for i in range(series.n_frames))
    else:
        first = series.frame(0).astype(np.float32)
        low, high = (float(v) for v in np.percentile(first, (0.3, 99.7)))
        shown = (pictures.window(frame, low, high) for frame in series)
    steps = np.diff(series.times_s, append=series.times_s[-1] + (0.8 if series.n_frames > 1 else 1.0))
    return pictures.write_cine(path, shown, [round(1000 * min(float(s), 2.0)) for s in steps])


def _subtracted_window(display: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Fixed window of the subtracted scale: opacity 1.2 is black, -0.2 is white; the same for every run."""
    from ClaireDSALib.dsa.subtraction import to_display

    dark, light = (float(to_display(np.asarray(v, np.float32))) for v in (1.2, -0.2))
    return pictures.window(display, dark, light)


def _thumbnail(base: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    shown = _subtracted_window(base) if base.dtype == np.uint16 and base.max() > 40000 else pictures.window(base)
    step = max(1, max(shown.shape) // 192)
    rows, columns = (side // step for side in shown.shape)
    blocks = shown[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return blocks.mean((1, 3)).astype(np.uint8)


def _overlays(place: Path, report: RunReport, arrays: Arrays, shape: tuple[int, int]) -> dict[str, Path]:
    files = {}
    for name, color in (("vessels", VESSEL_COLOR), ("arteries", ARTERY_COLOR), ("veins", VEIN_COLOR)):
        if name in arrays:
            files[f"{name}.png"] = pictures.write_png(place / f"{name}.png", pictures.outlined(arrays[name], color))
    if "centerline" in arrays:
        files["centerline.png"] = pictures.write_png(
            place / "centerline.png", pictures.outlined(arrays["centerline"], (255, 230, 90), fill=0.95)
        )
    shared = _shared_cam_peak(report, arrays)
    for label in report.labels:
        high = _MARKED_LOGIT if _marks(label, arrays) else shared
        for cls, name in label.cam_arrays.items():
            cam = pictures.enlarge(arrays[name], _cam_size(shape))
            strength = np.clip(cam / high, 0, 1)
            picture = pictures.rgba(pictures.heat(strength), _CAM_ALPHA * strength)
            files[f"{name}.png"] = pictures.write_png(place / "cam" / f"{label.name}.{cls}.png", picture)
    if "thrombus_heat" in arrays and report.thrombus is not None and report.thrombus.present:
        chance = pictures.enlarge(arrays["thrombus_heat"], _cam_size(shape))
        strength = np.clip(chance / max(float(chance.max()), 1e-9), 0, 1)
        picture = pictures.rgba(pictures.heat(strength), 0.8 * strength)
        files["thrombus.png"] = pictures.write_png(place / "thrombus.png", picture)
    return files


def _shared_cam_peak(report: RunReport, arrays: Arrays) -> float:
    """One display range for all labels of a run, so that weak evidence looks weak; not for maps that mark pixels."""
    labels = [label for label in report.labels if not _marks(label, arrays)]
    peaks = [float(arrays[name].max()) for label in labels for name in label.cam_arrays.values()]
    return max([*peaks, 1e-6])


def _marks(label: LabelResult, arrays: Arrays) -> bool:
    """Whether a label's maps mark things pixel by pixel, each with a logit of its own, instead of cell by cell."""
    return any(max(arrays[name].shape) > _COARSE_PX for name in label.cam_arrays.values())


def _cam_size(shape: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, 256 / max(shape))
    return (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))


def _maps(place: Path, arrays: Arrays) -> dict[str, Path]:
    files = {}
    for name in MAPS:
        if name not in arrays:
            continue
        values = arrays[name]
        limits = map_limits(values)
        color = pictures.colored(values, *limits, pictures.cool)
        color[~np.isfinite(values)] = 0
        shown = pictures.with_color_bar(color, pictures.cool, *limits, MAPS[name][1])
        files[f"{name}.png"] = pictures.write_png(place / "maps" / f"{name}.png", shown)
        files[f"{name}.tif"] = pictures.write_tiff(place / "maps" / f"{name}.tif", values)
    if "color_summary" in arrays:
        shown = color_summary_with_legend(arrays)
        files["color_summary.png"] = pictures.write_png(place / "maps" / "color_summary.png", shown)
    return files


def color_summary_with_legend(arrays: Arrays) -> pictures.Rgb:
    """The colour summary with the times its hues stand for."""
    scale = _legend(arrays)
    last = len(scale.colors) - 1
    return pictures.with_color_bar(
        arrays["color_summary"],
        lambda place: scale.colors[np.round(np.asarray(place) * last).astype(int)],
        scale.first_s,
        scale.last_s,
        "s",
    )


def _legend(arrays: Arrays) -> Legend:
    from ClaireDSALib.dsa.color_summary import legend
    from ClaireDSALib.dsa.maps import TemporalMaps

    return legend(
        TemporalMaps(
            arrays["time_to_peak"],
            arrays["arrival_time"],
            arrays["peak_opacity"],
            arrays["area_under_curve"],
            arrays["mean_transit_time"],
        )
    )


def map_limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Display limits of a map: 2nd and 98th percentile of what is finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (2, 98))
    return float(low), float(max(high, low + 1e-6))


def _write_arrays(path: Path, arrays: Arrays) -> Path:
    with writing(path) as temporary:
        kept: dict[str, Any] = {k: v for k, v in arrays.items() if k not in ("minip", "subtracted_minip")}
        np.savez_compressed(temporary, **kept)
    return path
