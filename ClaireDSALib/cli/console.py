"""What all verbs share: exit codes, where to print, progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ClaireDSALib.dsa.read import ReadResult
    from ClaireDSALib.dsa.series import DsaSeries, Skipped
    from ClaireDSALib.pipeline.progress import Progress, ProgressCallback

DONE, NOTHING_USABLE, BAD_USAGE, SOME_FAILED = 0, 1, 2, 3
"""Exit codes of every verb."""


def say(text: str = "") -> None:
    """Print to standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """Print to standard error."""
    typer.echo(text, err=True)


@contextmanager
def refusing(*kinds: type[Exception], code: int = NOTHING_USABLE, about: object = None) -> Iterator[None]:
    """Make one sentence and an exit code of what the library refuses.

    Parameters
    ----------
    *kinds : exception types
        What counts as a refusal; anything else goes on.
    code : int
        Exit code.
    about : object, optional
        Said before the sentence.
    """
    try:
        yield
    except kinds as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error  # str(KeyError) adds quotes
        complain(f"Refused: {text}" if about is None else f"Refused: {about}: {text}")
        raise typer.Exit(code) from error


def say_json(data: Any) -> None:
    """Print JSON for programs."""
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False))


def read_with_bar(path: Path) -> ReadResult:
    """Read what is at ``path`` behind a progress bar."""
    from ClaireDSALib.dsa.read import read

    with bar("reading") as progress:
        return read(path, progress=lambda done, total, what: progress(done / max(total, 1), what))


def read_or_exit(path: Path) -> ReadResult:
    """Read what is at ``path``; when nothing is usable, list why and leave with ``NOTHING_USABLE``."""
    found = read_with_bar(path)
    if not found.series:
        complain(f"Nothing usable in {path}.")
        list_skipped(found.skipped)
        raise typer.Exit(NOTHING_USABLE)
    return found


def list_skipped(skipped: Sequence[Skipped], *, most: int = 40) -> None:
    """One numbered line per file that was not used; when there are more than ``most``, the rest is counted."""
    for number, one in enumerate(skipped[:most], 1):
        complain(f"  input {number} not used, {one.source}: {one.reason}")
    if len(skipped) > most:
        complain(f"  and {len(skipped) - most} more; 'claire-dsa info --json' lists every one")


@contextmanager
def bar(title: str) -> Iterator[Any]:
    """Progress bar on standard error; yields ``tell(fraction, text)``. Silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=1.0)

        def tell(fraction: float, text: str) -> None:
            shown.update(task, completed=fraction, description=text)

        yield tell


@contextmanager
def analysis_bar(names: dict[str, str]) -> Iterator[ProgressCallback]:
    """Progress bar for :func:`analyze`; ``names`` maps run ids to what to call them."""
    with bar("analysing") as tell:

        def callback(state: Progress) -> None:
            tell(state.fraction, f"{names.get(state.run_id, '')} {state.step}".strip())

        yield callback


def title_of(series: DsaSeries) -> str:
    """Short name of a run for people: its number, view and length."""
    number = series.identity.series_number
    start = f"run {number}" if number is not None else f"run {series.run_id[:8]}"
    return f"{start}, {series.geometry.view}, {series.n_frames} frames"
