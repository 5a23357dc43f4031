"""``claire-dsa info``: what is in a folder, without decoding more than the headers need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ClaireDSALib.cli.console import (
    DONE,
    NOTHING_USABLE,
    SOME_FAILED,
    list_skipped,
    read_or_exit,
    read_with_bar,
    say,
    say_json,
)
from ClaireDSALib.dsa.series import DsaSeries


def show_info(path: Path, *, as_json: bool) -> int:
    """Print a table, or JSON, and return the exit code."""
    found = read_with_bar(path) if as_json else read_or_exit(path)
    pairs = [(pair.ap.run_id, pair.lateral.run_id, pair.reason) for pair in found.pairs]
    if as_json:
        say_json(
            {
                "runs": [describe(series) for series in found.series],
                "pairs": [{"ap": a, "lateral": b, "reason": reason} for a, b, reason in pairs],
                "skipped": [{"source": s.source, "reason": s.reason} for s in found.skipped],
            }
        )
    else:
        _table(found.series)
        for a, b, reason in pairs:
            say(f"pair {a} + {b}: {reason}")
        list_skipped(found.skipped)
    if not found.series:
        return NOTHING_USABLE
    return SOME_FAILED if found.skipped else DONE


def describe(series: DsaSeries) -> dict[str, Any]:
    """One run as plain values; no identifier of the patient."""
    import dataclasses

    from ClaireDSALib.pipeline.steps import describe_acquisition

    return {
        "run_id": series.run_id,
        "identity": dataclasses.asdict(series.identity),
        **dataclasses.asdict(describe_acquisition(series)),
        "warnings": list(series.warnings),
    }


def _table(runs: tuple[DsaSeries, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("run", "series", "view", "frames", "size", "seconds", "spacing", "pixels", "state"):
        table.add_column(name)
    for series in runs:
        table.add_row(*_row(series))
    Console(width=None if Console().is_terminal else 160).print(table)
    for series in runs:
        for warning in series.warnings:
            say(f"  {series.run_id}: {warning}")


def _row(series: DsaSeries) -> tuple[str, ...]:
    geometry = series.geometry
    spacing = geometry.pixel_spacing_mm
    return (
        series.run_id,
        "" if series.identity.series_number is None else str(series.identity.series_number),
        geometry.view,
        str(series.n_frames),
        f"{series.shape[0]}x{series.shape[1]}",
        f"{series.times_s[-1]:.1f} ({series.times_source})",
        "unknown" if spacing is None else f"{spacing[0]:.3f} mm ({geometry.spacing_source})",
        f"{series.intensity.bits_stored} bit {series.intensity.relation}",
        f"{series.subtraction_state} ({series.subtraction_source})",
    )
