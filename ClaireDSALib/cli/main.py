"""``claire-dsa``: the command line. Verbs import what they need when they run, so that help is instant."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ClaireDSALib import __version__
from ClaireDSALib.cli.console import BAD_USAGE, DONE, NOTHING_USABLE, SOME_FAILED
from ClaireDSALib.cli.lazy import LazyVerb, group_with

_ELSEWHERE = {
    "view": LazyVerb("ClaireDSALib.cli.view", "Open a study or a review in the browser, on Slicer's own core.", "web"),
    "listen": LazyVerb(
        "ClaireDSALib.cli.pacs", "Receive studies from a PACS, analyse them, send results back.", "pacs", "listen_app"
    ),
    "fetch": LazyVerb("ClaireDSALib.cli.pacs", "Fetch studies from a PACS by DICOMweb or C-GET.", "pacs", "fetch_app"),
    "push": LazyVerb("ClaireDSALib.cli.pacs", "Send files to a PACS by DICOMweb or C-STORE.", "pacs", "push_app"),
    "dicom": LazyVerb("ClaireDSALib.cli.dicom", "Write a case as DICOM objects: SR, segments, captures.", "pacs"),
    "export": LazyVerb("ClaireDSALib.cli.export", "Tables, NRRD, a printable page, a Slicer scene, annotations."),
    "deidentify": LazyVerb("ClaireDSALib.cli.deidentify", "Copy images without identifiers, to share them.", "pacs"),
    "suggest": LazyVerb("ClaireDSALib.cli.suggest", "Which reviewed runs to annotate next."),
    "simulate": LazyVerb("ClaireDSALib.cli.simulate", "Simulate angiography with exact truth."),
    "cohort": LazyVerb("ClaireDSALib.cli.cohort", "Thousands of studies: one table, one summary page.", "cohort"),
    "models": LazyVerb("ClaireDSALib.cli.models", "Models: list, show, verify, add, remove, import foreign weights."),
    "train": LazyVerb(
        "ClaireDSALib.cli.train", "Train on simulated or annotated series; the result is a bundle.", "train"
    ),
    "adapt": LazyVerb("ClaireDSALib.cli.adapt", "Adapt a label or quality bundle to a site with few labels.", "train"),
    "drift": LazyVerb("ClaireDSALib.cli.drift", "Does a site look like the training data; what to label.", "train"),
    "evaluate": LazyVerb("ClaireDSALib.cli.evaluate", "Measure models with confidence intervals.", "train"),
}
"""Verbs that live in modules of their own and are imported only when asked for."""

app = typer.Typer(
    name="claire-dsa",
    cls=group_with(_ELSEWHERE),
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=(
        "Quality, vessels and thrombi in X-ray angiography. Research software, not a medical device.\n\n"
        f"Exit codes: {DONE} done, {NOTHING_USABLE} nothing usable found, {BAD_USAGE} bad usage, "
        f"{SOME_FAILED} some inputs failed (they are listed), 130 interrupted."
    ),
)

Source = Annotated[Path, typer.Argument(help="DICOM file, folder, zip or DICOMDIR.", exists=True)]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"claire-dsa {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before the verb."""


@app.command()
def info(path: Source, as_json: Json = False) -> None:
    """What is there: runs, views, times, spacing, masks, pairs; and why a file is not used."""
    from ClaireDSALib.cli.info import show_info

    raise typer.Exit(show_info(path, as_json=as_json))


@app.command()
def minip(
    path: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")],
    subtracted: Annotated[bool, typer.Option(help="Also write the subtracted projection where possible.")] = True,
    as_json: Json = False,
) -> None:
    """Minimum intensity projection of every run, as PNG for looking and 16-bit TIFF for computing."""
    from ClaireDSALib.cli.minip import write_minips

    raise typer.Exit(write_minips(path, out, subtracted=subtracted, as_json=as_json))


@app.command()
def review(
    path: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report, pictures and page.")],
    settings: Annotated[Path | None, typer.Option(help="JSON file with analysis settings.")] = None,
    preset: Annotated[str | None, typer.Option(help="Suitability preset, see 'claire-dsa models'.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    insist: Annotated[bool, typer.Option("--insist", help="Segment unsuitable runs too; they are marked.")] = False,
    motion: Annotated[
        str | None,
        typer.Option(
            help="Motion correction: needed (when the labels see motion), off, auto, translation, rigid, bspline."
        ),
    ] = None,
    identifiers: Annotated[
        bool, typer.Option("--identifiers", help="Name unused input files; file names may name patients.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Everything available for every run: projections, subtraction, maps, labels, vessels, report, overview page."""
    from ClaireDSALib.cli.review import run_review

    chosen = {"suitability_preset": preset, "device": device, "motion_correction": motion}
    overrides: dict[str, str | bool] = {key: value for key, value in chosen.items() if value is not None}
    if insist:
        overrides["segment_unsuitable"] = True
    raise typer.Exit(
        run_review(path, out, settings_file=settings, overrides=overrides, identifiers=identifiers, as_json=as_json)
    )


def run() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # unwinds, so half-written files go
    try:
        app()
    except OSError as error:  # a full disk, a folder one may not write to
        typer.echo(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        sys.exit(NOTHING_USABLE)


if __name__ == "__main__":
    run()
