"""``claire-dsa dicom``: a case as DICOM objects for the archive."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from ClaireDSALib.cli.console import (
    BAD_USAGE,
    DONE,
    SOME_FAILED,
    bar,
    complain,
    list_skipped,
    read_or_exit,
    say,
    say_json,
)

if importlib.util.find_spec("highdicom") is None:  # found out here, where the command line says what to install
    _MISSING = "highdicom is not installed"
    raise ModuleNotFoundError(_MISSING, name="highdicom")

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

Review = Annotated[Path | None, typer.Option(help="A finished review of these runs; they are not analysed again.")]
Corrections = Annotated[
    Path | None, typer.Option(help="Corrections from 'claire-dsa view', a report, or a DICOM report of a person.")
]


@app.command()
def dicom(
    path: Annotated[Path, typer.Argument(help="DICOM file, folder, zip or DICOMDIR with the runs.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the objects; one sub-folder per study.")],
    review: Review = None,
    corrections: Corrections = None,
    settings: Annotated[Path | None, typer.Option(help="JSON file with analysis settings.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Projections, overlays, segments and a structured report, for the same patient and study."""
    from ClaireDSALib.cli.findings import findings_of
    from ClaireDSALib.export.dicom_objects import write_dicom_objects

    found = read_or_exit(path)
    try:
        result = findings_of(found, review=review, corrections=corrections, settings=settings, device=device)
        with bar("writing") as tell:
            tell(0.1, "writing")
            written = write_dicom_objects(result, found.series, out)
    except ValueError as problem:
        complain(str(problem))
        raise typer.Exit(BAD_USAGE) from problem
    if as_json:
        say_json({"written": [str(one) for one in written], "failed": [[s.source, s.reason] for s in found.skipped]})
    else:
        for one in written:
            say(str(one))
        list_skipped(found.skipped)
    failed = found.skipped or any(run.error for run in result.report.runs)
    raise typer.Exit(SOME_FAILED if failed else DONE)
