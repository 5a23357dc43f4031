"""``claire-dsa minip``: projections as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ClaireDSALib.cli.console import (
    DONE,
    NOTHING_USABLE,
    SOME_FAILED,
    bar,
    complain,
    list_skipped,
    read_or_exit,
    say,
    say_json,
    title_of,
)
from ClaireDSALib.dsa.series import DsaSeries


def write_minips(path: Path, out: Path, *, subtracted: bool, as_json: bool) -> int:
    """Write ``<run>_minip.png`` and ``.tif`` per run and return the exit code."""
    found = read_or_exit(path)
    written: list[dict[str, Any]] = []
    failed = [(s.source, s.reason) for s in found.skipped]
    with bar("projecting") as tell:
        for number, series in enumerate(found.series):
            tell(number / len(found.series), title_of(series))
            try:
                written.append({"run_id": series.run_id, "files": _write(series, out, subtracted=subtracted)})
            except (ValueError, OSError) as problem:
                failed.append((series.run_id, str(problem)))
    if as_json:
        say_json({"written": written, "failed": [{"source": s, "reason": r} for s, r in failed]})
    else:
        for one in written:
            say("\n".join(one["files"]))
        list_skipped(found.skipped)
        for source, reason in failed[len(found.skipped) :]:
            complain(f"  {source}: {reason}")
    if not written:
        return NOTHING_USABLE
    return SOME_FAILED if failed else DONE


def _write(series: DsaSeries, out: Path, *, subtracted: bool) -> list[str]:
    from ClaireDSALib.dsa import subtraction
    from ClaireDSALib.dsa.projection import minip
    from ClaireDSALib.export.pictures import write_png, write_tiff

    pictures = {"minip": minip(series)}
    mask = subtraction.choose_mask(series) if subtracted else None
    if mask is not None or (subtracted and series.subtraction_state == "subtracted"):
        pictures["subtracted"] = subtraction.to_display(subtraction.subtracted_minip(series, mask))
    files = []
    for name, picture in pictures.items():
        stem = out / f"{series.run_id}_{name}"
        files.append(str(write_png(stem.with_suffix(".png"), picture)))
        files.append(str(write_tiff(stem.with_suffix(".tif"), picture, series.geometry.pixel_spacing_mm)))
    return files
