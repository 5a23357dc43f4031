"""``claire-dsa train thrombus``, ``train phases``, ``evaluate thrombus``, ``models import --layout mittmann``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ClaireDSALib.cli.console import complain, refusing

if TYPE_CHECKING:
    from ClaireDSALib.training.sequence_evaluate import SequenceFigures

Data = Annotated[Path, typer.Option(help="Folder of prepared runs; simulated patients that are missing are added.")]
Patients = Annotated[int, typer.Option(help="Simulated patients.")]


def train_thrombus(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
    patients: Patients = 200,
    first_seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 4_000_000,
    injections: Annotated[int, typer.Option(help="Injections per patient, two views each.")] = 4,
    clots: Annotated[int, typer.Option(help="Occlusions per injection, beside the open run.")] = 2,
    validation: Annotated[Path | None, typer.Option(help="Prepared runs of other patients to validate on.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Sequence bundle whose weights the training begins with.", exists=True)
    ] = None,
    maps_only: Annotated[
        bool, typer.Option("--maps-only", help="Leave the recurrent branch, and with it the phases, as it begins.")
    ] = False,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the training.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 40,
    learning_rate: Annotated[float | None, typer.Option(help="Largest step size; the network's own default.")] = None,
    norm_until: Annotated[
        float | None,
        typer.Option(help="Share of the training with statistics of batches; 1, with --start 0.", min=0, max=1),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    folds: Annotated[int, typer.Option(help="Cross-validate over this many folds of patients; 1 trains once.")] = 1,
    test: Annotated[Path | None, typer.Option(help="Prepared runs that the folds are tested on together.")] = None,
    variant: Annotated[
        str, typer.Option(help="'compact', or a network of the paper, for instance 'ResNet18 + GRU'; needs --folds.")
    ] = "compact",
    freeze: Annotated[bool, typer.Option(help="Paper's networks: keep the CNN, train the recurrent part.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Paper's networks: pretrained weights of the CNN.")] = None,
    accumulate: Annotated[int, typer.Option(help="Batches whose gradients are added before a step.")] = 1,
    size: Annotated[int, typer.Option(help="Paper's networks: side of the frames.")] = 512,
) -> None:
    """Train the sequence network: thrombus, site, territory, phases. Run again to continue."""
    from ClaireDSALib.training.sequence_train import train_and_write

    if start is not None and (variant != "compact" or folds > 1):
        typer.echo("Refused: --start is for one training of the compact network, not --folds or --variant", err=True)
        raise typer.Exit(2)
    if variant != "compact" and (maps_only or norm_until is not None):
        typer.echo("Refused: --maps-only and --norm-until are for the compact network, not --variant", err=True)
        raise typer.Exit(2)
    _simulate(data, patients, first_seed, workers, injections=injections, clots=clots)
    settings: dict[str, Any] = {"epochs": epochs, "device": device, "accumulate": accumulate}
    if minutes is not None:
        settings["budget_s"] = 60 * minutes
    if learning_rate is not None:
        settings["learning_rate"] = learning_rate
    if norm_until is not None:
        settings["norm_until"] = norm_until
    if maps_only:
        settings["frames_every"] = 0
    if variant != "compact" or folds > 1:
        paper = {"freeze": freeze, "size_px": size} if variant != "compact" else None
        _cross_validate(data, test, out, variant, settings, paper=paper, weights=weights, folds=folds)
        return
    folder = train_and_write(data, out, settings, validation=validation, start=start, report=complain)
    typer.echo(str(folder))


def average_thrombus(
    bundles: Annotated[list[Path], typer.Argument(help="Sequence bundles that were trained apart.", exists=True)],
    validation: Annotated[Path, typer.Option(help="Prepared runs of patients that none of them has seen.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
) -> None:
    """Average sequence networks into one bundle: the mean of their logits, the recurrent branch of the first."""
    from ClaireDSALib.training.sequence_train import average_and_write

    with refusing(ValueError, OSError):
        written = average_and_write(bundles, validation, out, report=complain)
    typer.echo(str(written))


def train_phases(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of prepared runs; simulated patients that are missing are added.")
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            help="CSV/TSV instead of --data: path, patient, and the first frame (from 1) of each phase: non_contrast, "
            "arterial, parenchymal, venous; empty where a run does not show it."
        ),
    ] = None,
    bundle: Annotated[str, typer.Option(help="Sequence bundle to start from: catalogue name or folder.")] = (
        "dsa_sequence"
    ),
    part: Annotated[
        str, typer.Option(help="head: the last layer, nothing else changes; recurrent: the whole recurrent branch.")
    ] = "head",
    patients: Patients = 20,
    first_seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 4_000_000,
    validation: Annotated[Path | None, typer.Option(help="Prepared runs of other patients to validate on.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the training.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 30,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train only the phases of a sequence bundle; its thrombus verdict stays. Run again to continue."""
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.training.phase_annotations import load_annotated_runs
    from ClaireDSALib.training.phase_train import train_phases as train
    from ClaireDSALib.training.sequence_examples import load_examples

    if (data is None) == (annotated is None):
        typer.echo("Refused: give either --data FOLDER or --annotated TABLE.csv", err=True)
        raise typer.Exit(2)
    settings: dict[str, Any] = {"epochs": epochs, "device": device, "part": part}
    if minutes is not None:
        settings["budget_s"] = 60 * minutes
    catalogue = load_catalogue()
    folder = catalogue.find(bundle).folder if bundle in catalogue.names else Path(bundle)
    with refusing(ValueError, OSError):
        if annotated is not None:
            runs, left_out = load_annotated_runs(annotated)
            for sentence in left_out:
                typer.echo(f"left out: {sentence}", err=True)
        elif data is not None:
            _simulate(data, patients, first_seed, workers)
            runs = list(load_examples(data))
        held_out = [] if validation is None else list(load_examples(validation))
        source = f"{len(runs)} {'annotated' if annotated else 'prepared'} runs"
        written = train(
            folder,
            runs,
            out,
            settings,
            validation=held_out,
            source=source,
            report=complain,
        )
    typer.echo(str(written))


def evaluate_thrombus(
    data: Annotated[Path | None, typer.Option(help="Folder of prepared runs; missing patients are simulated.")] = None,
    outputs: Annotated[
        list[Path] | None, typer.Option(help="Raw outputs of one fold (JSON of the published demonstrator); repeat.")
    ] = None,
    threshold: Annotated[
        list[float] | None, typer.Option(help="With --outputs: thresholds to score at; repeat.")
    ] = None,
    bundle: Annotated[str, typer.Option(help="Name in the catalogue or folder.")] = "dsa_sequence",
    patients: Patients = 40,
    first_seed: Annotated[int, typer.Option(help="Seed of the first held-out patient.")] = 3_000_000,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Measure the sequence network on held-out simulated patients, or score raw outputs of thrombus networks."""
    if outputs:
        _score_outputs(outputs, threshold or [0.5, 0.57], as_json=as_json)
        return
    if data is None:
        typer.echo("Refused: give --data FOLDER, or --outputs FILE.json once per fold", err=True)
        raise typer.Exit(2)
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.training.sequence_train import evaluate_bundle

    catalogue = load_catalogue()
    folder = catalogue.find(bundle).folder if bundle in catalogue.names else Path(bundle)
    _simulate(data, patients, first_seed, workers)
    found = evaluate_bundle(folder, data)
    typer.echo(json.dumps(found.to_dict(), indent=1) if as_json else figures_text(found))


def import_mittmann_checkpoints(files: list[Path], out: Path, name: str | None, *, add_it: bool) -> None:
    """Import published checkpoints as one ensemble."""
    from ClaireDSALib.models.errors import BundleError
    from ClaireDSALib.models.sequence_mittmann import MittmannEnsemble
    from ClaireDSALib.models.sequence_mittmann_import import import_mittmann

    with refusing(BundleError):
        folder = import_mittmann(files, out, name=name or "mittmann_thrombus")
    members = MittmannEnsemble(folder).members
    typer.echo(f"wrote {folder} with {len(members)} networks")
    for member in members:
        typer.echo(f"  {member['view']:8s} fold {member['fold']} {member['backbone']} + {member['cell']}")
    if add_it:
        typer.echo("not added to the catalogue: this ensemble is used from its folder, see docs/models/sequences.md")


def figures_text(found: SequenceFigures) -> str:
    """Figures of the sequence network as lines of text."""
    lines = [f"{found.n_runs} simulated runs"]
    sets = {
        "assessable pairs": found.assessable,
        "assessable pairs without posterior cerebral arteries": found.without_pca,
        "all pairs": found.all,
    }
    for name, one in sets.items():
        lines += [
            f"{name}: {one.n_pairs}, of them {one.n_open} open",
            f"  {'AUC, pair':32s} {one.auc_pair[0]:.3f} ({one.auc_pair[1]:.3f} to {one.auc_pair[2]:.3f})",
            f"  {'AUC, single view':32s} {one.auc_single[0]:.3f} ({one.auc_single[1]:.3f} to {one.auc_single[2]:.3f})",
            f"  {'MCC, pair and single view':32s} {one.mcc_pair:.3f}, {one.mcc_single:.3f}",
            f"  {'sensitivity at specificity 0.9':32s} {one.sensitivity_at_90:.3f}",
            f"  {'confusion, pair':32s} "
            + "{} open right, {} false alarms, {} missed, {} found".format(*one.confusion_pair),
        ]
        lines += [f"  {view + ' view: AUC, MCC':32s} {a:.3f}, {m:.3f}" for view, (a, m) in one.by_view.items()]
    hits, number = found.site_hits
    lines.append(
        f"{'site within 10 mm (ICA-T, M1, M2)':34s} {hits:.2f} of {number}, median {found.site_median_mm:.1f} mm"
    )
    lines.append(f"{'phase, share of frames':34s} {found.phase_accuracy:.3f}")
    for site, (share, n, every, n_every) in found.sensitivity_by_site.items():
        lines.append(
            f"  {site:8s} {share:.2f} of {n} assessable pairs detected (AUC {found.auc_by_site[site]:.3f}), "
            f"{every:.2f} of all {n_every}"
        )
    for area, (share, n) in found.sensitivity_by_area.items():
        lines.append(f"  missing {area:13s} mm2: {share:.2f} of {n} pairs detected")
    return "\n".join(lines)


def _score_outputs(files: list[Path], thresholds: list[float], *, as_json: bool) -> None:
    from ClaireDSALib.training.sequence_outputs import read_outputs, score_ensemble

    with refusing(ValueError):
        found = score_ensemble([read_outputs(path) for path in files], thresholds)
    if as_json:
        typer.echo(json.dumps([one.to_dict() for one in found], indent=1))
        return
    typer.echo(f"mean of {len(files)} folds, {found[0].n} pairs")
    for one in found:
        table = "TN {} FP {} FN {} TP {}".format(*one.confusion)
        typer.echo(
            f"{one.name:9s} AUC {one.auc[0]:.3f} ({one.auc[1]:.3f} to {one.auc[2]:.3f})  at {one.threshold:.2f}: "
            f"MCC {one.mcc:.3f} sensitivity {one.sensitivity:.2f} specificity {one.specificity:.2f} ({table}); "
            f"sensitivity at specificity 0.9: {one.sensitivity_at_90:.2f}"
        )


def _cross_validate(
    data: Path,
    test: Path | None,
    out: Path,
    variant: str,
    settings: dict[str, Any],
    *,
    paper: dict[str, Any] | None,
    weights: Path | None,
    folds: int,
) -> None:
    from ClaireDSALib.models.networks.mittmann import VARIANTS
    from ClaireDSALib.training.sequence_cross_validation import (
        compact_recipe,
        cross_validate,
        mittmann_recipe,
        spread_over_folds,
    )
    from ClaireDSALib.training.sequence_examples import load_examples
    from ClaireDSALib.training.sequence_mittmann_fit import MittmannFitSettings
    from ClaireDSALib.training.sequence_paper import table

    if test is None or folds < 2 or variant not in ("compact", *VARIANTS):
        names = ", ".join(("compact", *VARIANTS))
        typer.echo(f"Refused: needs --test FOLDER, --folds 2 or more and a --variant of: {names}", err=True)
        raise typer.Exit(2)
    if paper is None:
        recipe = compact_recipe(settings)
    else:
        backbone, cell = VARIANTS[variant]
        chosen = {key: value for key, value in settings.items() if key != "budget_s"}
        recipe = mittmann_recipe(MittmannFitSettings(backbone=backbone, cell=cell, **chosen, **paper), weights)
    found = cross_validate(
        list(load_examples(data)),
        list(load_examples(test)),
        recipe,
        out,
        folds=folds,
        separate_views=paper is not None,
        report=complain,
    )
    typer.echo(table({variant: found}))
    typer.echo(spread_over_folds(out, folds))


def _simulate(
    folder: Path, patients: int, first_seed: int, workers: int, *, injections: int = 3, clots: int = 1
) -> None:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.sequence_data import SequenceDataPlan, generate

    plan = SequenceDataPlan(folder, patients, first_seed, injections, clots)
    with bar("simulating") as tell:
        generate(plan, workers=workers, progress=lambda done, total: tell(done / total, f"patient {done} of {total}"))
