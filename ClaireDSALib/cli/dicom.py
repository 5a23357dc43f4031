"""``claire-dsa dicom``: a case as DICOM objects for the archive."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import (
    BAD_USAGE,
    DONE,
    NOTHING_USABLE,
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

if TYPE_CHECKING:
    from ClaireDSALib.dsa.read import ReadResult
    from ClaireDSALib.export.dicom_objects import Corrections
    from ClaireDSALib.pipeline.report import CaseResult

if importlib.util.find_spec("highdicom") is None:  # found out here, where the command line says what to install
    _MISSING = "highdicom is not installed"
    raise ModuleNotFoundError(_MISSING, name="highdicom")

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def dicom(
    path: Annotated[Path, typer.Argument(help="DICOM file, folder, zip or DICOMDIR with the runs.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the objects; one sub-folder per study.")],
    review: Annotated[
        Path | None, typer.Option(help="A finished review of these runs; they are not analysed again.")
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="File of corrections from 'claire-dsa view', or a report that has some.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="JSON file with analysis settings.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Projections, overlays, segments and a structured report, for the same patient and study."""
    from ClaireDSALib.export.dicom_objects import write_dicom_objects

    try:
        said = read_corrections(corrections) if corrections is not None else None
        found = read_or_exit(path)
        result = _finished(review, found) if review is not None else _analysed(found, settings, device)
        with bar("writing") as tell:
            tell(0.1, "writing")
            written = write_dicom_objects(result, found.series, out, corrections=said)
    except ValueError as problem:
        complain(str(problem))
        raise typer.Exit(BAD_USAGE if corrections or review else NOTHING_USABLE) from problem
    if as_json:
        say_json({"written": [str(one) for one in written], "failed": [[s.source, s.reason] for s in found.skipped]})
    else:
        for one in written:
            say(str(one))
        list_skipped(found.skipped)
    failed = found.skipped or any(run.error for run in result.report.runs)
    raise typer.Exit(SOME_FAILED if failed else DONE)


def read_corrections(path: Path) -> Corrections:
    """Run id -> verdicts, from a review file of the viewer or from a report.

    Raises
    ------
    ValueError
        When the file is neither.
    """
    import json

    from ClaireDSALib.pipeline.report import CaseReport
    from ClaireDSALib.web.logic.review_book import FORMAT, ReviewBook

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("format") == FORMAT:
            book = ReviewBook.open(path)
            return {run_id: book.overrides(run_id) for run_id in content["runs"]}
        return {run.run_id: run.overrides for run in CaseReport.from_dict(content).runs}
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError) as error:
        msg = f"{path} holds no corrections: {error}"
        raise ValueError(msg) from error


def _finished(review: Path, found: ReadResult) -> CaseResult:
    from ClaireDSALib.export.review_folder import read_review

    return read_review(review, found.series)


def _analysed(found: ReadResult, settings: Path | None, device: str | None) -> CaseResult:
    from ClaireDSALib.cli.review import load_settings
    from ClaireDSALib.pipeline.analyze import analyze

    chosen = load_settings(settings, {} if device is None else {"device": device})
    with analysis_bar({series.run_id: title_of(series) for series in found.series}) as progress:
        return analyze(found.series, chosen, pairs=found.pairs, progress=progress)
