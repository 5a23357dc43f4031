"""``claire-dsa review``: read, analyse, write everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import typer

from ClaireDSALib.cli.console import (
    DONE,
    SOME_FAILED,
    analysis_bar,
    bar,
    complain,
    list_skipped,
    read_or_exit,
    say,
    say_json,
    title_of,
)
from ClaireDSALib.dsa.series import Skipped
from ClaireDSALib.dsa.strict_json import read_object
from ClaireDSALib.pipeline.report import CaseReport, RunReport
from ClaireDSALib.pipeline.settings import Settings
from ClaireDSALib.pipeline.suitability import load_rules

_SUFFIXES = frozenset({".dcm", ".ima", ".zip", ".txt", ".pdf", ".xml", ".json", ".jpg", ".png", ".html", ".exe"})
"""Endings that say something about a file and nothing about a patient."""


def run_review(
    path: Path, out: Path, *, settings_file: Path | None, overrides: dict[str, Any], identifiers: bool, as_json: bool
) -> int:
    """Write the review of ``path`` to ``out`` and return the exit code."""
    from ClaireDSALib.export.files import write_case
    from ClaireDSALib.pipeline.analyze import analyze

    settings = load_settings(settings_file, overrides)
    found = read_or_exit(path)
    with analysis_bar({series.run_id: title_of(series) for series in found.series}) as progress:
        skipped = found.skipped if identifiers else without_names(found.skipped)
        result = analyze(found.series, settings, pairs=found.pairs, skipped=skipped, progress=progress)
    with bar("writing") as tell:
        tell(0.1, "writing")
        report = write_case(out, found.series, result)
    if as_json:
        say_json(report.to_dict())
    else:
        _summarise(report, out)
        list_skipped(found.skipped)
    failed = found.skipped or any(run.error for run in report.runs)
    return SOME_FAILED if failed else DONE


def without_names(skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """Number the inputs that were not used: names of files and folders often name the patient.

    The numbers are those of the list on standard error.
    """
    return tuple(
        Skipped(f"input {number}{_known_suffix(one.source)}", one.reason) for number, one in enumerate(skipped, 1)
    )


def _known_suffix(source: str) -> str:
    suffix = PurePosixPath(source).suffix.lower()
    return f" ({suffix})" if suffix in _SUFFIXES else ""


def load_settings(path: Path | None, overrides: dict[str, Any]) -> Settings:
    """Settings from a JSON file and the command line, which wins; bad ones end with exit code 2."""
    try:
        data = read_object(path) if path is not None else {}
        settings = Settings.from_dict({**data, **overrides})
        load_rules(settings.suitability_preset)  # a preset that is none is bad usage, not a failure of each run
        return settings
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        complain(f"settings: {problem}")
        raise typer.Exit(2) from problem


def _summarise(report: CaseReport, out: Path) -> None:
    for run in report.runs:
        say(f"{run.run_id}  {describe_verdict(run)}")
    for fallback in report.provenance.fallbacks:
        say(f"note: {fallback}")
    say(f"{len(report.runs)} runs reviewed: {out / 'index.html'}")


def describe_verdict(run: RunReport) -> str:
    """One line for people: verdict, probability and the first reason."""
    if run.error:
        return f"failed: {run.error}"
    if run.suitability is None:
        return "no verdict (no label model)"
    verdict = run.suitability
    word = "suitable" if verdict.suitable else "not suitable"
    reason = f" - {verdict.reasons[0].text}" if verdict.reasons else ""
    thrombus = ""
    if run.thrombus is not None:
        thrombus = f"; thrombus {'likely' if run.thrombus.present else 'not seen'} ({run.thrombus.probability:.0%})"
    return f"{word} ({verdict.probability:.0%}){reason}{thrombus}"
