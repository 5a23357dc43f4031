"""``claire-dsa train thrombus`` and ``claire-dsa evaluate thrombus``: the sequence network on simulated twins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(help="Folder of prepared runs; simulated patients that are missing are added.")]
Patients = Annotated[int, typer.Option(help="Simulated patients, twelve runs each.")]


def train_thrombus(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
    patients: Patients = 200,
    first_seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 2_000_000,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the training.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 16,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train the sequence network: thrombus, site, territory, phases. Run again to continue."""
    from ClaireDSALib.training.sequence_train import train_and_write

    _simulate(data, patients, first_seed, workers)
    settings = {"epochs": epochs, "batch_runs": 6, "device": device}
    if minutes is not None:
        settings["budget_s"] = 60 * minutes
    folder = train_and_write(data, out, settings, report=lambda line: typer.echo(line, err=True))
    typer.echo(str(folder))


def evaluate_thrombus(
    data: Data,
    bundle: Annotated[str, typer.Option(help="Name in the catalogue or folder.")] = "dsa_sequence",
    patients: Patients = 20,
    first_seed: Annotated[int, typer.Option(help="Seed of the first held-out patient.")] = 3_000_000,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Measure the sequence network on simulated patients it was not trained on: views, pairs, sites, phases."""
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.training.sequence_train import evaluate_bundle

    catalogue = load_catalogue()
    folder = catalogue.find(bundle).folder if bundle in catalogue.names else Path(bundle)
    _simulate(data, patients, first_seed, workers)
    found = evaluate_bundle(folder, data)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    typer.echo(f"{found.n_runs} simulated runs in {found.n_pairs} pairs")
    for name, area in (("AUC, pair", found.auc_pair), ("AUC, single view", found.auc_single)):
        typer.echo(f"{name:34s} {area[0]:.3f} ({area[1]:.3f} to {area[2]:.3f})")
    typer.echo(f"{'MCC, pair and single view':34s} {found.mcc_pair:.3f}, {found.mcc_single:.3f}")
    typer.echo(f"{'site within 10 mm (ICA-T, M1, M2)':34s} {found.site_hits[0]:.2f} of {found.site_hits[1]}")
    typer.echo(f"{'phase, share of frames':34s} {found.phase_accuracy:.3f}")
    for site, (share, number) in found.sensitivity_by_site.items():
        typer.echo(f"  {site:8s} {share:.2f} of {number} pairs detected")


def _simulate(folder: Path, patients: int, first_seed: int, workers: int) -> None:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.sequence_data import SequenceDataPlan, generate

    plan = SequenceDataPlan(folder, patients, first_seed)
    with bar("simulating") as tell:
        generate(plan, workers=workers, progress=lambda done, total: tell(done / total, f"patient {done} of {total}"))
