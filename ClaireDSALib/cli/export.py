"""``claire-dsa export``: a case as tables, NRRD, a printable page, a Slicer scene, annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import (
    BAD_USAGE,
    DONE,
    SOME_FAILED,
    complain,
    list_skipped,
    read_or_exit,
    say,
    say_json,
)

if TYPE_CHECKING:
    from ClaireDSALib.dsa.read import ReadResult
    from ClaireDSALib.pipeline.report import CaseResult

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="DICOM file, folder, zip or DICOMDIR with the runs.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    kinds: Annotated[
        str, typer.Option("--as", help="Comma-separated: json, tsv, csv, parquet, nrrd, page, pdf, mrb, annotations.")
    ] = "json,tsv,nrrd,page",
    review: Annotated[
        Path | None, typer.Option(help="A finished review of these runs; they are not analysed again.")
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="Corrections from 'claire-dsa view', a report, or a DICOM report of a person.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="JSON file with analysis settings.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Files for spreadsheets, statistics, 3D Slicer and print; only pseudonyms of the patient."""
    from ClaireDSALib.cli.findings import findings_of

    chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    if unknown := sorted(set(chosen) - set(_WRITERS)):
        complain(f"unknown kinds of files {unknown}; known are {', '.join(_WRITERS)}")
        raise typer.Exit(BAD_USAGE)
    found = read_or_exit(path)
    written: list[Path] = []
    try:
        result = findings_of(found, review=review, corrections=corrections, settings=settings, device=device)
        for kind in dict.fromkeys(chosen):
            written += _WRITERS[kind](result, found, out)
    except (ValueError, ModuleNotFoundError) as problem:
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


def _report(result: CaseResult, _: ReadResult, out: Path) -> Sequence[Path]:
    from ClaireDSALib.export.atomic import write_text

    return [write_text(out / "report.json", result.report.to_json())]


def _tables(kind: str) -> Writer:
    def write(result: CaseResult, _: ReadResult, out: Path) -> Sequence[Path]:
        from ClaireDSALib.export.tables import write_tables

        return write_tables(result.report, out / "tables", (kind,))

    return write


def _nrrd(result: CaseResult, _: ReadResult, out: Path) -> Sequence[Path]:
    from ClaireDSALib.export.nrrd import write_case_nrrd

    return write_case_nrrd(result, out / "nrrd")


def _page(result: CaseResult, _: ReadResult, out: Path) -> Sequence[Path]:
    from ClaireDSALib.export.sheet import write_sheet

    return [write_sheet(result, out / "case_report.html")]


def _pdf(result: CaseResult, found: ReadResult, out: Path) -> Sequence[Path]:
    from ClaireDSALib.export.sheet import write_pdf

    (page,) = _page(result, found, out)
    return [page, write_pdf(page, out / "case_report.pdf")]


def _scene(result: CaseResult, found: ReadResult, out: Path) -> Sequence[Path]:
    try:
        from ClaireDSALib import mrml

        host = mrml.CoreHost()
    except ModuleNotFoundError as error:
        msg = 'a scene needs slicer-core: pip install "claire-dsa[slicer-core]"'
        raise ModuleNotFoundError(msg, name=error.name) from error
    mrml.show_case(host, found.series, result, pairs=found.pairs)
    return [mrml.save_scene(host, out / "case.mrb")]


def _annotations(result: CaseResult, _: ReadResult, out: Path) -> Sequence[Path]:
    from ClaireDSALib.export.review_annotations import write_annotations

    return [write_annotations(result, out / "annotations")]


if TYPE_CHECKING:
    Writer = Callable[[CaseResult, ReadResult, Path], Sequence[Path]]

_WRITERS: dict[str, Writer] = {
    "json": _report,
    "tsv": _tables("tsv"),
    "csv": _tables("csv"),
    "parquet": _tables("parquet"),
    "nrrd": _nrrd,
    "page": _page,
    "pdf": _pdf,
    "mrb": _scene,
    "annotations": _annotations,
}
