"""``claire-dsa train vessels`` and ``claire-dsa evaluate vessels``: the vessel network on simulated runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ClaireDSALib.cli.console import BAD_USAGE, complain, refusing

if TYPE_CHECKING:
    from ClaireDSALib.training.vessel_evaluate import VesselFigures

Data = Annotated[Path, typer.Option(help="Folder of simulated runs; patients that are missing are added.")]
Patients = Annotated[int, typer.Option(help="Simulated patients, eight runs each.")]
Seed = Annotated[int, typer.Option(help="Seed of the first patient.")]
Anatomy = Annotated[Path | None, typer.Option(help="Folder with SWC trees and head CTs to mix in.", exists=True)]

_STEPS = 6000
_BOTH = frozenset({"budget_s", "steps", "learning_rate", "seed"})
_NONE: frozenset[str] = frozenset()
_OPTIONS = {
    "unet": _BOTH | {"whole", "start", "batch", "patch_px", "threads", "device"},
    "sequence": _BOTH,
    "cascade": _NONE,
    "none": _NONE,
}
"""What each training looks at."""
_OF_PATCHES = frozenset({"device"})


def train_vessels(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
    patients: Patients = 100,
    first_seed: Seed = 7_000_000,
    anatomy: Anatomy = None,
    network: Annotated[
        str,
        typer.Option(
            help="cascade (minutes on a CPU), unet (a GPU, or hours), or sequence: adds to the bundle in OUT a network "
            "over the frames that tells arteries from veins; none: chooses thresholds and cleaning of the bundle in "
            "OUT anew."
        ),
    ] = "cascade",
    start: Annotated[
        list[Path] | None,
        typer.Option(
            help="unet: bundle whose weights the training begins with; given several times, their mean.", exists=True
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="unet: go on from START with whole pictures as the analysis shows them, the normalisation kept.",
        ),
    ] = False,
    minutes: Annotated[float | None, typer.Option(help="unet, sequence: wall-clock budget of the training.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="unet, sequence: batches; 6000 at most unless given.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0, help="unet, sequence: at its highest; 0.002, 0.003, and 0.001 for whole pictures."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="unet: patches of a batch; 8, and 2 whole pictures, unless given.")
    ] = None,
    patch_px: Annotated[
        int | None,
        typer.Option(help="unet: side of a patch, a multiple of 32; 128 unless given. Larger pictures: 512."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="unet, sequence: of everything that is drawn while training; 0 unless given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="unet: threads of the CPU; 1 unless given.")] = None,
    device: Annotated[str | None, typer.Option(help="unet, from patches: cpu (unless given) or cuda.")] = None,
) -> None:
    """Train the vessel network: vessels, arteries, veins."""
    from ClaireDSALib.training.vessel_train import refuse_unusable, train_and_write

    options = {
        "whole": whole or None,
        "start": start or None,
        "budget_s": None if minutes is None else 60 * minutes,
        "steps": steps,
        "learning_rate": learning_rate,
        "batch": batch,
        "patch_px": patch_px,
        "seed": seed,
        "threads": threads,
        "device": device,
    }
    settings: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with refusing(ValueError, code=BAD_USAGE):
        _refuse_options_of_others(network, settings)
    with refusing(ValueError):
        refuse_unusable(network, out, start or (), whole=whole)
    _simulate(data, patients, first_seed, anatomy)
    if _OPTIONS.get(network):
        settings = {"steps": _STEPS} | settings
    begin = settings.pop("start", ())
    with refusing(ValueError):
        folder = train_and_write(data, out, settings, network=network, start=begin, report=complain)
    typer.echo(str(folder))


def _refuse_options_of_others(network: str, settings: dict[str, Any]) -> None:
    """An option that the training would not look at is an error, not a wish."""
    allowed = _OPTIONS.get(network, settings.keys()) - (_OF_PATCHES if settings.get("whole") else _NONE)
    for name in settings:
        if name not in allowed:
            flag = "--" + {"budget_s": "minutes"}.get(name, name).replace("_", "-")
            msg = f"{flag} is not for the training {network!r}" + (" with --whole" if settings.get("whole") else "")
            raise ValueError(msg)


def evaluate_vessels(
    data: Data,
    bundle: Annotated[str, typer.Option(help="Name in the catalogue or folder.")] = "dsa_vessels",
    patients: Patients = 0,
    first_seed: Seed = 7_000_000,
    anatomy: Anatomy = None,
    split: Annotated[str, typer.Option(help="Split of the set to use; 'all' for everything.")] = "test",
    real: Annotated[
        Path | None, typer.Option(help="Folder with *_minip.png and *_label.png of experts.", exists=True)
    ] = None,
    sequence: Annotated[
        Path | None, typer.Option(help="Bundle folder of a sequence network to compare with.", exists=True)
    ] = None,
    runs_per_patient: Annotated[int, typer.Option(help="Use at most so many runs of a patient; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Dice, clDice, artery and vein Dice with intervals, beside the classical baseline, by vendor, motion and size."""
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.models.vessel_segmenter import VesselSegmenter
    from ClaireDSALib.training.vessel_evaluate import score_real

    catalogue = load_catalogue()
    folder = catalogue.find(bundle).folder if bundle in catalogue.names else Path(bundle)
    with refusing(OSError, ValueError):
        segmenter = VesselSegmenter(folder)
        if patients:
            _simulate(data, patients, first_seed, anatomy)
        measured = _measured(data, split, segmenter, sequence, runs_per_patient)
        scores = score_real(real, segmenter) if real else {}
    if as_json:
        found = {way: figures.to_dict() for way, figures in measured.items()}
        typer.echo(json.dumps({"simulated": found, "real": scores}, indent=1))
        return
    _print(measured, scores)


def import_cave_checkpoint(
    file: Path, out: Path, name: str | None, size: int | None, scaling: str, add_it: bool
) -> None:
    """Make a bundle of a CAVE checkpoint and, unless told not to, put it into the user's catalogue."""
    from ClaireDSALib.models.cave_import import import_cave, install

    if scaling not in ("training", "predict"):
        msg = f"unknown scaling {scaling!r}; CAVE has 'training' and 'predict'"
        raise ValueError(msg)
    folder = import_cave(file, out, name=name, size_px=size, scaling=scaling)  # type: ignore[arg-type]
    typer.echo(f"wrote {folder}")
    if add_it:
        entry = install(folder, source=file.name)
        typer.echo(
            f"added {entry.name} ({entry.size_mb:.1f} MB); choose it with the setting vessel_bundle {entry.name}"
        )
        typer.echo(f"licence: {entry.licence}")


def _measured(
    data: Path, split: str, segmenter: Any, sequence: Path | None, runs_per_patient: int
) -> dict[str, VesselFigures]:
    from ClaireDSALib.training.vessel_compare import compare
    from ClaireDSALib.training.vessel_examples import load_examples

    with_frames = sequence is not None or segmenter.artery_vein is not None
    examples = load_examples(data, None if split == "all" else split, frames=with_frames, per_patient=runs_per_patient)
    if not examples:
        msg = f"no runs of split {split!r} in {data}"
        raise ValueError(msg)
    return compare(examples, segmenter, sequence)


def _print(measured: dict[str, VesselFigures], scores: dict[str, float]) -> None:
    from ClaireDSALib.training.vessel_compare import FRAMES_KNOWN, SEQUENCE, paired_difference
    from ClaireDSALib.training.vessel_publish import table

    for way, figures in measured.items():
        typer.echo(f"\n{way}: {figures.n_runs} simulated runs of {figures.n_patients} patients\n")
        typer.echo(table({name: (figures.counts[name], group) for name, group in figures.groups.items()}))
        typer.echo(f"\ncalled vessel in runs without: {100 * figures.false_fraction:.2f} % of the picture")
    if (over_time := measured.get(FRAMES_KNOWN + SEQUENCE)) is not None:
        typer.echo("\nartery/vein Dice of the sequence network, over patients, minus that of the")
        for way in (w for w in measured if w.startswith(FRAMES_KNOWN) and not w.endswith(SEQUENCE)):
            gain, low, high, p = paired_difference(measured[way], over_time)
            typer.echo(f"{way.removeprefix(FRAMES_KNOWN)}: {gain:+.3f} ({low:+.3f} to {high:+.3f}, Wilcoxon p {p:.2g})")
    if scores:
        typer.echo("\nreal MinIPs with expert labels, vessel Dice")
        for name, value in scores.items():
            typer.echo(f"{name:16s} {value:.3f}")
        typer.echo(f"{'mean':16s} {sum(scores.values()) / len(scores):.3f}")


def _simulate(folder: Path, patients: int, first_seed: int, anatomy: Path | None) -> None:
    from ClaireDSALib.cli.console import bar
    from ClaireDSALib.training.vessel_set import VesselSetPlan, make_vessel_set

    plan = VesselSetPlan(folder, patients, first_seed, anatomy=anatomy)
    with bar("simulating") as tell:
        make_vessel_set(plan, lambda done, total: tell(done / total, f"patient {done} of {total}"))
