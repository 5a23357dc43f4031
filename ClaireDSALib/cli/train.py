"""``claire-dsa train``: from simulated or annotated pictures to a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ClaireDSALib.cli.console import BAD_USAGE, complain, refusing
from ClaireDSALib.cli.quality import train_quality
from ClaireDSALib.cli.sequence import average_thrombus, train_phases, train_thrombus
from ClaireDSALib.cli.vessels import train_vessels
from ClaireDSALib.dsa.strict_json import read_json, read_object

if TYPE_CHECKING:
    from ClaireDSALib.training.samples import LabelledPictures
    from ClaireDSALib.training.settings import FitSettings

app = typer.Typer(help="Train on simulated or annotated series; the result is a bundle.", no_args_is_help=True)

Data = Annotated[
    Path,
    typer.Option(help="Simulated set (folder with index.jsonl), or a CSV/TSV: path, label, class, rater, patient."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints, history and the bundle.")]
Config = Annotated[Path | None, typer.Option(help="JSON with training settings, or a bundle's train.json.")]


@app.callback()
def train() -> None:
    """Train a model."""


@app.command()
def labels(
    data: Data,
    out: Out,
    config: Config = None,
    labels_file: Annotated[Path | None, typer.Option("--labels", help="JSON list of labels with classes.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget.")] = None,
    folds: Annotated[int, typer.Option(help="Cross-validate over this many folds of patients; 1 trains once.")] = 1,
    volume: Annotated[Path | None, typer.Option(help="CT volume whose slices serve as outliers.")] = None,
    name: Annotated[str, typer.Option(help="Name of the bundle.")] = "dsa_image_properties",
    tensorboard: Annotated[bool, typer.Option(help="Log to OUT/tensorboard, when tensorboard is installed.")] = False,
) -> None:
    """Train the shared-trunk label network. Run again with the same --out to continue after an interruption."""
    from ClaireDSALib.training.train_bundle import load_volume, train_bundle

    settings = _settings(config, minutes)
    pictures = _pictures(data, labels_file, settings.size_px)
    log = _tensorboard(out) if tensorboard else lambda _: None
    if folds > 1:
        _cross_validate(pictures, settings, out, folds)
        return
    bundle = train_bundle(
        data,
        out,
        settings,
        pictures=pictures,
        name=name,
        data_source=f"{len(pictures)} pictures from {data.name}",
        volume=None if volume is None else load_volume(volume),
        report=complain,
        log=log,
    )
    typer.echo(f"{bundle.folder}")
    typer.echo(f"To use it: claire-dsa models add {bundle.folder} --sha256 {bundle.sha256}", err=True)


@app.command("label-set")
def label_set(
    out: Out,
    patients: Annotated[int, typer.Option(min=1, help="Simulated patients.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 1000,
    unseen: Annotated[str, typer.Option(help="Vendor look that only the test part has.")] = "east",
    anatomy: Annotated[Path | None, typer.Option(exists=True, help="Folder with SWC trees and head CTs.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Simulate pictures for the labels; the test part has unseen anatomies and an unseen vendor look."""
    from ClaireDSALib.training.label_set import LabelSetPlan, make_label_set

    plan = LabelSetPlan(out, patients=patients, seed=seed, unseen=unseen, anatomy=anatomy)
    with refusing(ValueError, code=BAD_USAGE):
        make_label_set(plan, lambda done, total: typer.echo(f"{done} of {total} patients", err=True), workers=workers)
    typer.echo(str(out))


@app.command()
def frames(
    data: Annotated[Path, typer.Option(help="Set of 'claire-dsa train label-set'.", exists=True)],
    bundle: Annotated[Path, typer.Option(help="Folder of a label or quality bundle.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the bundle with frames; may be the same.")],
    config: Config = None,
) -> None:
    """Teach a bundle what the frames of a run add to its picture: motion for labels, the grade for quality."""
    from ClaireDSALib.training.frame_train import teach_frames

    with refusing(OSError, ValueError, TypeError, code=BAD_USAGE):
        settings = read_object(config) if config else {}
        made = teach_frames(bundle, data, out, settings, report=complain)
    typer.echo(str(made))


@app.command("device-set")
def device_set(
    out: Out,
    patients: Annotated[int, typer.Option(min=1, help="Simulated patients.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the first patient.")] = 9_000_000,
    anatomy: Annotated[Path | None, typer.Option(exists=True, help="Folder with SWC trees and head CTs.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Simulate unsubtracted runs with and without devices, and where the devices stand out."""
    from ClaireDSALib.training.device_set import DeviceSetPlan, make_device_set

    plan = DeviceSetPlan(out, patients=patients, seed=seed, anatomy=anatomy)
    make_device_set(plan, lambda done, total: typer.echo(f"{done} of {total} patients", err=True), workers=workers)
    typer.echo(str(out))


@app.command()
def devices(
    data: Annotated[Path, typer.Option(help="Set of 'claire-dsa train device-set'.", exists=True)],
    bundle: Annotated[Path, typer.Option(help="Folder of a label bundle.", exists=True)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the bundle that marks devices; may be the same.")
    ],
    weigh_on: Annotated[
        Path | None,
        typer.Option(help="Set of 'claire-dsa train label-set' whose validation patients weigh in too.", exists=True),
    ] = None,
    config: Config = None,
    minutes: Annotated[float, typer.Option(help="Wall-clock budget.")] = 60.0,
) -> None:
    """Teach a label bundle to mark wires, stents, coils and clips in the brightest picture of a run."""
    from ClaireDSALib.training.device_train import teach_devices

    with refusing(OSError, ValueError, TypeError, code=BAD_USAGE):
        settings = {"budget_s": 60 * minutes} | (read_object(config) if config else {})
        made = teach_devices(bundle, data, out, settings, weigh_on=weigh_on, report=complain)
    typer.echo(str(made))


@app.command()
def reference(
    data: Data,
    out: Out,
    config: Config = None,
    minutes: Annotated[float, typer.Option(help="Wall-clock budget of the whole system of nine networks.")] = 30.0,
    backbones: Annotated[
        str, typer.Option(help="Backbones tried per label, best kept.")
    ] = "resnet18,resnet34,resnet50",
    weights: Annotated[Path | None, typer.Option(help="Folder with torchvision's ImageNet weights.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the network input, px.")] = None,
) -> None:
    """Train the paper's design, one ResNet per label, best of the backbones by validation."""
    from dataclasses import replace

    from ClaireDSALib.training.reference import train_reference

    settings = _settings(config, minutes)
    if size is not None:
        settings = replace(settings, size_px=size, warm_size_px=size)
    bundle = train_reference(
        _pictures(data, None, settings.size_px),
        out,
        settings,
        backbones=tuple(backbones.split(",")),
        weights_folder=weights,
        report=complain,
    )
    typer.echo(f"{bundle.folder}")


def _settings(config: Path | None, minutes: float | None) -> FitSettings:
    from dataclasses import replace

    from ClaireDSALib.training.settings import FitSettings

    with refusing(OSError, ValueError, TypeError, code=BAD_USAGE, about=config):
        data: dict[str, Any] = read_object(config) if config else {}
        settings = FitSettings.from_dict(data.get("settings", data))
    return settings if minutes is None else replace(settings, max_minutes=minutes)


def _pictures(data: Path, labels_file: Path | None, size_px: int) -> LabelledPictures:
    from ClaireDSALib.models.labels import NINE_LABELS, LabelSet
    from ClaireDSALib.training.annotations import load_annotated
    from ClaireDSALib.training.samples import load_simulated
    from ClaireDSALib.training.train_bundle import CACHE_FACTOR

    cache = round(size_px * CACHE_FACTOR)
    with refusing(OSError, ValueError, KeyError):
        wanted = LabelSet.from_list(read_json(labels_file)) if labels_file else NINE_LABELS
        if data.is_dir():
            return load_simulated(data, wanted, size_px=cache)
        pictures, conflicts, kappas = load_annotated(data, wanted, size_px=cache)
    for label, values in kappas.items():
        typer.echo(f"agreement {label}: " + ", ".join(f"{k} {v:.3g}" for k, v in values.items()), err=True)
    for c in conflicts:
        votes = ", ".join(f"{k} {v}" for k, v in c.votes.items())
        typer.echo(f"conflict {c.path} {c.label}: {votes}; {c.settled or 'left out (tie)'}", err=True)
    return pictures


def _cross_validate(pictures: LabelledPictures, settings: FitSettings, out: Path, folds: int) -> None:
    from ClaireDSALib.training.cross_validation import cross_validate

    figures = cross_validate(pictures, settings, out, folds, report=complain)
    typer.echo(json.dumps(figures, indent=1))


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        typer.echo("tensorboard is not installed; install it or leave out --tensorboard", err=True)
        raise typer.Exit(2) from error
    writer = SummaryWriter(str(out / "tensorboard"))  # type: ignore[no-untyped-call]

    def log(row: dict[str, float]) -> None:
        for key, value in row.items():
            writer.add_scalar(key, value, int(row["step"]))  # type: ignore[no-untyped-call]
        writer.flush()  # type: ignore[no-untyped-call]

    return log


app.command("thrombus")(train_thrombus)
app.command("phases")(train_phases)
app.command("average")(average_thrombus)
app.command("vessels")(train_vessels)
app.command("quality")(train_quality)
