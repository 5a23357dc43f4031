"""``claire-dsa evaluate filtering``: what filtering by predicted suitability is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import refusing

if TYPE_CHECKING:
    from ClaireDSALib.training.filtering_page import FilteringReport


def evaluate_filtering(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for filtering.html, .md, .json and the pictures.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of a simulated mixed set; patients that are missing are added.")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="Instead: a reader's CSV with columns report, run_id, success.", exists=True)
    ] = None,
    labels: Annotated[str, typer.Option(help="Label bundle: name in the catalogue or folder.")] = "auto",
    segmenter: Annotated[
        str, typer.Option(help="Vessel bundle, 'classical', or 'auto' for the shipped network.")
    ] = "auto",
    quality: Annotated[
        str,
        typer.Option(help="Quality bundle whose grade the rules may ask for, 'auto' for the shipped one, or 'none'."),
    ] = "auto",
    preset: Annotated[str, typer.Option(help="Suitability rules.")] = "vessel_segmentation",
    patients: Annotated[int, typer.Option(min=1, help="Simulated patients, eight runs each.")] = 48,
    first_seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 8_000_000,
    anatomy: Annotated[Path | None, typer.Option(exists=True, help="Folder with SWC trees.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate.")] = 1,
) -> None:
    """Segmentation success of all runs and of those judged suitable: intervals, test, risk-coverage, reasons."""
    from ClaireDSALib.training.filtering_page import markdown, write_report

    if (data is None) == (verdicts is None):
        typer.echo("Refused: give either --data (simulated) or --verdicts (a reader's table)", err=True)
        raise typer.Exit(2)
    with refusing(ValueError, KeyError, OSError):
        if verdicts is not None:
            report = _by_reader(verdicts)
        else:
            assert data is not None
            _simulate(data, patients, first_seed, anatomy, workers)
            report = _on_simulation(data, labels, segmenter, quality, preset)
    write_report(report, out)
    typer.echo(markdown(report))
    typer.echo(str(out / "filtering.html"), err=True)


def _by_reader(verdicts: Path) -> FilteringReport:
    from ClaireDSALib.training.filtering_page import CRITERION_READER, FilteringReport
    from ClaireDSALib.training.filtering_reader import read_verdicts
    from ClaireDSALib.training.filtering_statistics import measure_filtering

    outcomes = read_verdicts(verdicts)
    return FilteringReport(measure_filtering(outcomes), outcomes, CRITERION_READER, f"runs of {verdicts.name}")


def _on_simulation(data: Path, labels: str, segmenter: str, quality: str, preset: str) -> FilteringReport:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.filtering import Filter, judge_simulated
    from ClaireDSALib.training.filtering_page import CRITERION_SIMULATED, FilteringReport
    from ClaireDSALib.training.filtering_statistics import measure_filtering

    grader = "" if quality == "none" else _default(quality, "quality")
    chosen = Filter(_default(labels, "labels"), _default(segmenter, "vessels"), preset, grader)
    with bar("judging and segmenting") as tell:
        outcomes, used = judge_simulated(
            data, chosen, progress=lambda done, total: tell(done / total, f"run {done} of {total}")
        )
    words = f"{len(outcomes)} simulated runs of {data.name}"
    return FilteringReport(measure_filtering(outcomes), outcomes, CRITERION_SIMULATED, words, used)


def _default(name: str, task: str) -> str:
    """The shipped bundle of a task; the classical segmentation when there is no vessel bundle."""
    from ClaireDSALib.models.catalogue import load_catalogue

    if name != "auto":
        return name
    entry = load_catalogue().default(task)
    if entry is not None:
        return entry.name
    if task == "vessels":
        return "classical"
    msg = f"no bundle for {task} in the catalogue; name one"
    raise ValueError(msg)


def _simulate(data: Path, patients: int, first_seed: int, anatomy: Path | None, workers: int) -> None:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.filtering_set import FilteringSetPlan, make_filtering_set

    plan = FilteringSetPlan(data, patients, first_seed, anatomy=anatomy)
    with bar("simulating") as tell:
        make_filtering_set(plan, lambda done, total: tell(done / total, f"patient {done} of {total}"), workers=workers)
