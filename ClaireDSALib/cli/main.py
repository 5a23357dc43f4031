"""``claire-dsa``: the command line. Verbs import what they need when they run, so that help is instant."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from ClaireDSALib import __version__
from ClaireDSALib.cli.console import DONE, NOTHING_USABLE, SOME_FAILED

app = typer.Typer(
    name="claire-dsa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=(
        "Quality, vessels and thrombi in X-ray angiography. Research software, not a medical device.\n\n"
        f"Exit codes: {DONE} done, {NOTHING_USABLE} nothing usable, 2 bad usage, {SOME_FAILED} some inputs failed."
    ),
)

Source = Annotated[Path, typer.Argument(help="DICOM file, folder, zip or DICOMDIR.", exists=True)]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options before the verb."""
    if version:
        typer.echo(f"claire-dsa {__version__}")
        raise typer.Exit


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
        str | None, typer.Option(help="Motion correction: off, auto, translation, rigid, bspline.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Everything available for every run: projections, subtraction, maps, labels, vessels, report, overview page."""
    from ClaireDSALib.cli.review import run_review

    chosen = {"suitability_preset": preset, "device": device, "motion_correction": motion}
    overrides = {key: value for key, value in chosen.items() if value is not None}
    if insist:
        overrides["segment_unsuitable"] = True
    raise typer.Exit(run_review(path, out, settings_file=settings, overrides=overrides, as_json=as_json))


_ELSEWHERE = {
    "simulate": "Simulated cases with exact truth, for training, tests and demonstrations.",
    "models": "Models: list, show, verify, add, remove, import foreign weights.",
    "train": "Train on simulated or annotated series; the result is a bundle.",
    "evaluate": "Measure models with confidence intervals; one HTML and JSON report.",
    "view": "The review in a browser, on Slicer's own core.",
}
"""Verbs that live in modules of their own and are imported only when asked for."""


def _forward(name: str, text: str) -> None:
    """Add a verb whose arguments, ``--help`` included, go to ``ClaireDSALib.cli.<name>``."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

    @app.command(name, help=text, context_settings=settings, add_help_option=False)
    def verb(context: typer.Context) -> None:
        module = importlib.import_module(f"ClaireDSALib.cli.{name}")
        module.app(args=context.args, prog_name=f"claire-dsa {name}")


for _name, _text in _ELSEWHERE.items():
    _forward(_name, _text)


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    run()
