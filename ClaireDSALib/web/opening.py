"""What a path holds: DICOM, a saved scene, or a review written earlier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, FrameSource, Geometry, Identity, Intensity, Pair, Skipped
from ClaireDSALib.pipeline.report import CaseReport, RunReport

REPORT_FILE = "report.json"
_PREVIEW_BITS = 16


@dataclass(frozen=True)
class Opened:
    """What was found. ``paths`` is what the analysis still has to read, empty when results are there already."""

    series: tuple[DsaSeries, ...] = ()
    pairs: tuple[Pair, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    report: CaseReport | None = None
    arrays: dict[str, dict[str, Any]] | None = None
    scene: Path | None = None
    paths: tuple[str, ...] = ()


def open_path(path: Path, progress: Callable[[int, int, str], None] | None = None) -> Opened:
    """Find out what a path holds and read it.

    Parameters
    ----------
    path : Path
        Folder, zip or file of DICOM; ``.mrb`` or ``.mrml``; or a folder with ``report.json`` of ``claire-dsa review``.

    Raises
    ------
    FileNotFoundError
        When there is nothing.
    ValueError
        When nothing in it can be used; the message says why.
    """
    if not path.exists():
        msg = f"there is no file or folder {path.name!r}"
        raise FileNotFoundError(msg)
    if path.suffix.lower() in (".mrb", ".mrml"):
        return Opened(scene=path)
    report = path if path.name == REPORT_FILE else path / REPORT_FILE
    if report.is_file():
        return _open_review(report)
    return _open_dicom(path, progress)


def _open_dicom(path: Path, progress: Callable[[int, int, str], None] | None) -> Opened:
    from ClaireDSALib.dsa.read import read

    found = read(path, progress=progress)
    if not found.series:
        reasons = "; ".join(dict.fromkeys(s.reason for s in found.skipped)) or "it holds no DICOM files"
        msg = f"no angiographic run in {path.name!r}: {reasons}"
        raise ValueError(msg)
    return Opened(tuple(found.series), tuple(found.pairs), tuple(found.skipped), paths=(str(path),))


def _open_review(report_file: Path) -> Opened:
    """A review holds results but no frames: each run is shown as its projection."""
    report = CaseReport.from_json(report_file.read_text(encoding="utf-8"))
    arrays = {run.run_id: _arrays(report_file.parent, run) for run in report.runs}
    series = {run.run_id: _picture_series(run, arrays[run.run_id]) for run in report.runs if arrays[run.run_id]}
    if not series:
        msg = f"{report_file.name} is there but none of its pictures; open the folder that 'claire-dsa review' wrote"
        raise ValueError(msg)
    pairs = tuple(
        Pair(series[p.run_ids[0]], series[p.run_ids[1]], p.reason)
        for p in report.pairs
        if all(r in series for r in p.run_ids)
    )
    skipped = tuple(Skipped(s.source, s.reason) for s in report.skipped)
    return Opened(tuple(series.values()), pairs, skipped, report=report, arrays=arrays)


def _arrays(folder: Path, run: RunReport) -> dict[str, Any]:
    """Pictures as 16-bit TIFF, everything else in one compressed file; nothing outside the folder is read."""
    import tifffile

    arrays: dict[str, Any] = {}
    for name in ("minip", "subtracted_minip"):
        if (picture := _inside(folder, run.files.get(f"{name}.tif", ""))) is not None:
            arrays[name] = tifffile.imread(picture)
    if arrays and (rest := _inside(folder, run.files.get("arrays.npz", ""))) is not None:
        with np.load(rest, allow_pickle=False) as stored:
            arrays |= {name: stored[name] for name in stored.files}
    return arrays


def _inside(folder: Path, name: str) -> Path | None:
    file = folder / name
    return file if name and file.resolve().is_relative_to(folder.resolve()) and file.is_file() else None


def _picture_series(run: RunReport, arrays: dict[str, Any]) -> DsaSeries:
    picture = arrays["minip"] if "minip" in arrays else arrays["subtracted_minip"]
    acquisition = run.acquisition
    frames: FrameSource = ArrayFrames(np.asarray(picture)[None])
    known = {k: v for k, v in run.identity.items() if k in Identity.__dataclass_fields__}
    return DsaSeries(
        run_id=run.run_id,
        frames=frames,
        times_s=np.zeros(1),
        identity=Identity(**known),
        geometry=Geometry(
            pixel_spacing_mm=acquisition.pixel_spacing_mm,
            primary_angle_deg=acquisition.primary_angle_deg,
            secondary_angle_deg=acquisition.secondary_angle_deg,
            view=acquisition.view,  # type: ignore[arg-type]
        ),
        intensity=Intensity(bits_stored=min(acquisition.bits_stored, _PREVIEW_BITS)),
        warnings=("This is a stored review: the projection is shown, the frames are not part of it.",),
    )
