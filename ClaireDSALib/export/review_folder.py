"""A finished review read back from its folder: the report, and the arrays it names."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.pipeline.report import CaseReport, CaseResult, RunReport

_MAX_ARRAY_BYTES = 8 * 2**30
_MAX_REPORT_BYTES = 256 * 2**20


def read_review(folder: str | Path, series: Sequence[DsaSeries]) -> CaseResult:
    """Read what :func:`ClaireDSALib.export.files.write_case` wrote, without analysing again.

    Parameters
    ----------
    folder : path
        Holds ``report.json`` and a folder per run.
    series : sequence of DsaSeries
        The runs the review was made from; projections are made from them again.

    Returns
    -------
    CaseResult

    Raises
    ------
    ValueError
        When the folder holds no review, a damaged one, or one of other runs.
    OSError
        When a file cannot be read.
    """
    folder = Path(folder)
    report = _report(folder / "report.json")
    by_id = {one.run_id: one for one in series}
    if missing := [run.run_id for run in report.runs if run.run_id not in by_id]:
        msg = f"the review is of other runs than the input: {missing} are not there; name the input it was made from"
        raise ValueError(msg)
    arrays = {run.run_id: _arrays(folder, run, by_id[run.run_id]) for run in report.runs}
    return CaseResult(report, arrays)


def _report(path: Path) -> CaseReport:
    if not path.is_file():
        msg = f"{path.parent} is no review: it has no {path.name}"
        raise ValueError(msg)
    if path.stat().st_size > _MAX_REPORT_BYTES:
        msg = f"{path} is larger than any report ({_MAX_REPORT_BYTES >> 20} MiB)"
        raise ValueError(msg)
    try:
        return CaseReport.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"{path} is no report: {error}"
        raise ValueError(msg) from error


def _arrays(folder: Path, run: RunReport, series: DsaSeries) -> dict[str, npt.NDArray[Any]]:
    if run.error or "minip" not in run.arrays:
        return {}
    from ClaireDSALib.dsa.projection import minip
    from ClaireDSALib.dsa.subtraction import to_display

    found: dict[str, npt.NDArray[Any]] = {"minip": minip(series)}
    path = folder / series.run_id / "arrays.npz"
    if path.is_file():
        found |= _stored(path, run)
    for name in ("opacity", "vessels", "arteries", "veins", "centerline"):
        if name in found and found[name].shape != series.shape:
            msg = f"{name} of run {run.run_id} has shape {found[name].shape}; its frames have {series.shape}"
            raise ValueError(msg)
    if "opacity" in found:
        found["subtracted_minip"] = to_display(found["opacity"])
    return found


def _stored(path: Path, run: RunReport) -> dict[str, npt.NDArray[Any]]:
    """Only arrays the report names, and nothing that needs unpickling."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > _MAX_ARRAY_BYTES:
            msg = f"{path} unpacks to {size / 2**30:.0f} GiB; the limit is {_MAX_ARRAY_BYTES >> 30} GiB"
            raise ValueError(msg)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if name in run.arrays}
    except (zipfile.BadZipFile, EOFError, KeyError) as error:
        msg = f"{path} is damaged: {error}"
        raise ValueError(msg) from error
