"""What verbs that write a case start from: an analysis, or a finished review, with a reviewer's corrections."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ClaireDSALib.cli.console import analysis_bar, title_of
from ClaireDSALib.dsa.strict_json import read_object

if TYPE_CHECKING:
    from ClaireDSALib.dsa.read import ReadResult
    from ClaireDSALib.pipeline.report import CaseResult, Override


def findings_of(
    found: ReadResult,
    *,
    review: Path | None = None,
    corrections: Path | None = None,
    settings: Path | None = None,
    device: str | None = None,
) -> CaseResult:
    """The result of what was read; corrections are added to those it holds.

    Raises
    ------
    ValueError
        When the review is none, or of other runs, or the corrections cannot be read.
    """
    said = read_corrections(corrections) if corrections is not None else {}
    if review is not None:
        from ClaireDSALib.export.review_folder import read_review

        result = read_review(review, found.series)
    else:
        result = _analysed(found, settings, device)
    runs = tuple(
        dataclasses.replace(run, overrides=tuple(dict.fromkeys((*run.overrides, *said.get(run.run_id, ())))))
        for run in result.report.runs
    )
    return dataclasses.replace(result, report=dataclasses.replace(result.report, runs=runs))


def read_corrections(path: Path) -> Mapping[str, Sequence[Override]]:
    """Run id -> verdicts, from a review file of the viewer, from a report, or from our DICOM reports of people.

    Raises
    ------
    ValueError
        When the file is none of these.
    """
    if path.suffix == ".dcm":
        from ClaireDSALib.export.dicom_reader import read_sr

        return {run.run_id: run.overrides for run in read_sr(path).runs}
    from ClaireDSALib.pipeline.report import CaseReport
    from ClaireDSALib.web.logic.review_book import FORMAT, ReviewBook

    try:
        content = read_object(path)
        if content.get("format") == FORMAT:
            book = ReviewBook.open(path)
            return {run_id: book.overrides(run_id) for run_id in content["runs"]}
        return {run.run_id: run.overrides for run in CaseReport.from_dict(content).runs}
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError) as error:
        msg = f"{path} holds no corrections: {error}"
        raise ValueError(msg) from error


def _analysed(found: ReadResult, settings: Path | None, device: str | None) -> CaseResult:
    from ClaireDSALib.cli.review import load_settings
    from ClaireDSALib.pipeline.analyze import analyze

    chosen = load_settings(settings, {} if device is None else {"device": device})
    with analysis_bar({series.run_id: title_of(series) for series in found.series}) as progress:
        return analyze(found.series, chosen, pairs=found.pairs, progress=progress)
