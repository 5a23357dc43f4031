"""What a run is known to hold: a JSON of facts and an NPZ of pictures."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.projection import minip
from ClaireDSALib.dsa.subtraction import subtracted_minip, to_display

from .as_series import series_of
from .case import Case, Run
from .iodine import Phase

PHASES: tuple[Phase, ...] = ("non_contrast", "arterial", "parenchymal", "venous")
"""Codes of ``phases`` in the NPZ."""

STACK_PX = 192
OPACITY_SPAN = 2.5
"""Opacity that is stored as 255 in ``opacity``."""

_MOTION_GRID = 16


def facts(case: Case, run: Run, split: str = "") -> dict[str, Any]:
    """Everything about a run that is not a picture, ready for JSON.

    Returns
    -------
    dict
        ``labels`` (the nine; null where the question has no answer), ``thrombus`` (null where none could be seen),
        ``quality``, ``relations``, ``parameters`` (all of the plan) and the seeds that make the run again.
    """
    plan, iodine = run.plan, run.iodine
    possible = plan.thrombus_possible and run.labels["contrast_fluid"] == "present"
    occluded = iodine.site_px is not None
    return {
        "simulated": True,
        "patient": case.anatomy.anatomy_id,
        "anatomy_id": case.anatomy.anatomy_id,
        "case_seed": case.seed,
        "run_id": run.run_id,
        "split": split,
        "vendor": plan.look.name,
        "labels": run.labels,
        "thrombus": occluded if possible else None,
        "thrombus_site": plan.occlusion.site if occluded else "none",
        "thrombus_degree": plan.occlusion.degree if occluded else "none",
        "site_px": None if iodine.site_px is None else [round(float(v), 2) for v in iodine.site_px],
        "site_in_picture": _inside(iodine.site_px, run.region),
        "perfused_fraction": round(float(iodine.perfused_fraction), 4),
        "injected_vessel": plan.injection.vessel,
        "injected_side": plan.injection.side,
        "body_part": plan.body_part,
        "times_s": [round(float(t), 6) for t in plan.times_s],
        "phases": list(iodine.phases) if plan.contrast else ["non_contrast"] * len(run.frames),
        "mask_frames": list(plan.mask_frames),
        "subtractable": run.subtractable,
        "devices": list(run.device_kinds),
        "quality": run.quality,
        "relations": run.relations,
        "pair": run.relations.get("biplane", ""),
        "pixel_spacing_mm": round(plan.view.isocentre_spacing_mm, 6),
        "parameters": plain(plan),
    }


def pictures(run: Run, *, stack_px: int = STACK_PX) -> dict[str, npt.NDArray[Any]]:
    """Arrays of one run.

    Returns
    -------
    dict
        ``minip`` (H, W) stored dtype, contrast dark; ``subtracted_minip`` (H, W) uint16 display scale where the run
        is subtracted or can be; ``valid_region``, ``arteries``, ``veins``, ``visible``, ``devices`` (H, W) bool;
        ``opacity`` (H, W) uint8, noise-free, 255 is ``OPACITY_SPAN``; ``territory_missing`` (H/4, W/4) uint8;
        ``stack`` (T, S, S) uint16 frames averaged down; ``times_s`` (T,); ``phases`` (T,) int8 index into ``PHASES``;
        ``site`` (2,) row and column, NaN without; ``centerline`` (K, 3) row, column, radius in pixels;
        ``motion_field`` (T, 2, 16, 16) float16 displacement in pixels.
    """
    series = series_of(run)
    names = facts_phases(run)
    stack_size = min(stack_px, run.frames.shape[1])
    arrays: dict[str, npt.NDArray[Any]] = {
        "minip": minip(series, workers=1),
        "valid_region": run.region,
        "arteries": run.iodine.artery_mask,
        "veins": run.iodine.vein_mask,
        "visible": run.visible,
        "devices": run.devices_shown,
        "opacity": np.round(np.clip(run.opacity / OPACITY_SPAN, 0, 1) * 255).astype(np.uint8),
        "territory_missing": np.round(np.clip(run.iodine.territory_missing[::4, ::4], 0, 1) * 255).astype(np.uint8),
        "stack": average_down(run.frames, stack_size),
        "times_s": np.asarray(run.plan.times_s, np.float64),
        "phases": np.array([PHASES.index(name) for name in names], np.int8),
        "site": np.array(run.iodine.site_px if run.iodine.site_px else (np.nan, np.nan), np.float32),
        "centerline": _centerline(run),
        "motion_field": motion_field(run),
    }
    if run.plan.delivery == "subtracted" or run.subtractable:
        arrays["subtracted_minip"] = to_display(subtracted_minip(series))
    return arrays


def facts_phases(run: Run) -> tuple[Phase, ...]:
    """Phase of every frame; all without contrast when none was given."""
    return run.iodine.phases if run.plan.contrast else ("non_contrast",) * len(run.frames)


def motion_field(run: Run, grid: int = _MOTION_GRID) -> npt.NDArray[np.float16]:
    """``(T, 2, grid, grid)`` displacement (down, right) in pixels."""
    frames = len(run.frames)
    field = np.zeros((frames, 2, grid, grid), np.float16)
    if run.motion is None:
        return field
    shape = run.plan.view.shape
    at = (np.arange(grid) * (shape[0] - 1) / (grid - 1)).astype(int)
    for number in range(frames):
        if np.abs(run.motion.shift_mm[number]).max() > 1e-6 or abs(run.motion.rotation_deg[number]) > 1e-6:
            whole = run.motion.field_px(number, shape, run.plan.view.isocentre_spacing_mm)
            field[number] = whole[:, at][:, :, at]
    return field


def save_npz(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write arrays like ``numpy.savez_compressed`` at the fastest level: noise compresses no better slowly."""
    temporary = path.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    temporary.replace(path)


def write_truth(folder: Path, stem: str, case: Case, run: Run) -> tuple[Path, Path]:
    """Write ``stem.truth.json`` and ``stem.truth.npz``."""
    table, arrays = folder / f"{stem}.truth.json", folder / f"{stem}.truth.npz"
    table.write_text(json.dumps(facts(case, run), indent=1) + "\n", encoding="utf-8")
    save_npz(arrays, pictures(run))
    return table, arrays


def average_down(frames: npt.NDArray[np.uint16], size: int) -> npt.NDArray[np.uint16]:
    """Block means ``(T, size, size)``; frames whose side is no multiple are cropped at the far edges."""
    step = max(1, frames.shape[1] // size)
    cut = frames[:, : size * step, : size * step]
    if step == 1:
        return cut
    total = cut[:, ::step].astype(np.uint32)
    for k in range(1, step):
        total += cut[:, k::step]
    sums = total[:, :, ::step].copy()
    for k in range(1, step):
        sums += total[:, :, k::step]
    return ((sums + step * step // 2) // (step * step)).astype(np.uint16)


def plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(item) for key, item in asdict(value).items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return round(float(value), 6)
    return int(value) if isinstance(value, np.integer) else value


def _inside(site_px: tuple[float, float] | None, region: npt.NDArray[np.bool_]) -> bool:
    if site_px is None:
        return False
    row, column = (round(float(v)) for v in site_px)
    return 0 <= row < region.shape[0] and 0 <= column < region.shape[1] and bool(region[row, column])


def _centerline(run: Run) -> npt.NDArray[np.float32]:
    pieces = [
        np.column_stack([line, radius])
        for line, radius in zip(run.iodine.centerlines, run.iodine.centerline_radius_px, strict=True)
        if len(line)
    ]
    return np.concatenate(pieces).astype(np.float32) if pieces else np.zeros((0, 3), np.float32)
