"""A series as two files, so that frames reach another process by memory map and not by pickle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.dsa.series import (
    ArrayFrames,
    DsaSeries,
    FrameRef,
    Geometry,
    Identity,
    Intensity,
    MaskOperation,
)

_VERSION = 1


def save_series(folder: str | Path, series: DsaSeries) -> Path:
    """Write ``frames.npy``, ``series.json`` and, when there is one, ``valid_region.npy``.

    Frames are decoded one at a time straight into the file, so memory stays at one frame.

    Parameters
    ----------
    folder : path
        Created when missing.
    series : DsaSeries

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = np.lib.format.open_memmap(
        folder / "frames.npy", mode="w+", dtype=series.frames.dtype, shape=series.frames.shape
    )
    for index in range(series.n_frames):
        frames[index] = series.frame(index)
    frames.flush()
    del frames
    if series.valid_region is not None:
        np.save(folder / "valid_region.npy", series.valid_region)
    (folder / "series.json").write_text(json.dumps(_to_dict(series), indent=1), encoding="utf-8")
    return folder


def load_series(folder: str | Path) -> DsaSeries:
    """Read what :func:`save_series` wrote; frames stay on disk until asked for.

    Raises
    ------
    ValueError
        When the folder was written by another version.
    OSError
        When a file is missing.
    """
    folder = Path(folder)
    data = json.loads((folder / "series.json").read_text(encoding="utf-8"))
    if data.get("version") != _VERSION:
        msg = f"{folder.name} holds a stored series of version {data.get('version')}; this program reads {_VERSION}"
        raise ValueError(msg)
    region = folder / "valid_region.npy"
    return DsaSeries(
        run_id=data["run_id"],
        frames=ArrayFrames(np.load(folder / "frames.npy", mmap_mode="r")),
        times_s=np.asarray(data["times_s"], np.float64),
        times_source=data["times_source"],
        frame_refs=tuple(FrameRef(**ref) for ref in data["frame_refs"]),
        identity=Identity(**data["identity"]),
        geometry=Geometry(**_tuples(data["geometry"])),
        intensity=Intensity(**_tuples(data["intensity"])),
        subtraction_state=data["subtraction_state"],
        subtraction_source=data["subtraction_source"],
        mask_operations=tuple(_mask_operation(op) for op in data["mask_operations"]),
        valid_region=np.load(region) if region.exists() else None,
        warnings=tuple(data["warnings"]),
    )


def _to_dict(series: DsaSeries) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "run_id": series.run_id,
        "times_s": series.times_s.tolist(),
        "times_source": series.times_source,
        "frame_refs": [dataclasses.asdict(ref) for ref in series.frame_refs],
        "identity": dataclasses.asdict(series.identity),
        "geometry": dataclasses.asdict(series.geometry),
        "intensity": dataclasses.asdict(series.intensity),
        "subtraction_state": series.subtraction_state,
        "subtraction_source": series.subtraction_source,
        "mask_operations": [dataclasses.asdict(op) for op in series.mask_operations],
        "warnings": list(series.warnings),
    }


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def _mask_operation(data: dict[str, Any]) -> MaskOperation:
    values = _tuples(data)
    values["applicable_frames"] = tuple((int(first), int(last)) for first, last in data["applicable_frames"])
    return MaskOperation(**values)
