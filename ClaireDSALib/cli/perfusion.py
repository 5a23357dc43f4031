"""``claire-dsa evaluate perfusion`` and ``evaluate phases``: simulated treatments with known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ClaireDSALib.cli.console import refusing

if TYPE_CHECKING:
    from ClaireDSALib.models.sequence_reader import SequenceFindings
    from ClaireDSALib.training.reperfusion_data import SimulatedRun

Data = Annotated[Path, typer.Option(help="Folder of simulated treatments; patients that are missing are added.")]
Patients = Annotated[int, typer.Option(help="Simulated patients, four runs each: before and after, in two views.")]
FirstSeed = Annotated[int, typer.Option(help="Seed of the first patient.")]
Bundle = Annotated[str, typer.Option(help="Sequence bundle: name in the catalogue or folder; 'none' for flow alone.")]
Yes = Annotated[bool, typer.Option("--yes", help="Trust a bundle folder that the catalogue does not know.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def evaluate_perfusion(
    data: Data,
    bundle: Bundle = "none",
    patients: Patients = 40,
    first_seed: FirstSeed = 5_000_000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Tmax, change of flow and eTICI estimate against the truth of simulated runs before and after treatment."""
    from ClaireDSALib.training.perfusion_evaluate import evaluate
    from ClaireDSALib.training.reperfusion_data import load_pairs

    _simulate(data, patients, first_seed)
    reader = None if bundle == "none" else _reader(bundle, yes)

    def territory(run: SimulatedRun) -> Any:
        return _read(reader, run).territory

    with refusing(ValueError):
        found = evaluate(load_pairs(data), None if reader is None else territory)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    typer.echo(f"{found.patients} simulated patients, {found.treatments} treatments; Spearman with 95 % interval")
    for title, figure in (
        ("Tmax against true delay, per run", found.tmax_per_run),
        ("Tmax against true delay, pooled", found.tmax_pooled),
        ("flow before / after", found.flow_ratio),
        ("reperfused share, one view", found.fraction_view),
        ("reperfused share, both views", found.fraction),
    ):
        typer.echo(f"{title:36s} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")
    for least, (figure_of, number) in found.fraction_by_loss.items():
        typer.echo(f"  {number} treatments that lost at least {least:4s} {figure_of:.3f}")
    typer.echo(f"{'eTICI estimate within one grade':36s} {found.grade_within_one:.2f}")
    typer.echo(f"{'interval holds the true share':36s} {found.covered:.2f}")
    for sentence in found.failures:
        typer.echo(f"not compared: {sentence}", err=True)


def evaluate_phases(
    data: Data,
    bundle: Bundle = "dsa_sequence",
    patients: Patients = 40,
    first_seed: FirstSeed = 5_000_000,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Phase of every frame against the truth of simulated runs, decoded as a path that never goes back."""
    from ClaireDSALib.training.phase_evaluate import evaluate_phases as measure
    from ClaireDSALib.training.reperfusion_data import load_pairs

    _simulate(data, patients, first_seed)
    reader = _reader(bundle, yes)
    found = measure(load_pairs(data), lambda run: _read(reader, run).phases)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    low, high = found.accuracy.low, found.accuracy.high
    typer.echo(f"{found.frames} frames of {found.runs} simulated runs")
    typer.echo(f"{'frames with their true phase':36s} {found.accuracy.value:.3f} ({low:.3f} to {high:.3f})")
    typer.echo(f"{'median error of a border, s':36s} {found.border_error_s:.2f}")
    for name, share in found.by_phase.items():
        typer.echo(f"  {name:14s} {share:.3f} found")


def _simulate(folder: Path, patients: int, first_seed: int) -> None:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.reperfusion_data import ReperfusionPlan, generate

    with bar("simulating") as tell:
        generate(
            ReperfusionPlan(folder, patients, first_seed),
            progress=lambda done, total: tell(done / total, f"patient {done} of {total}"),
        )


def _reader(bundle: str, yes: bool) -> Any:
    from ClaireDSALib.models.sequence_reader import load_sequence_reader

    with refusing(ValueError, KeyError):
        return load_sequence_reader(bundle, confirmed=yes)


def _read(reader: Any, run: SimulatedRun) -> SequenceFindings:
    rows, columns = run.opacity.shape[1:]
    return reader.read(iter(run.opacity), run.times_s, (rows, columns))
