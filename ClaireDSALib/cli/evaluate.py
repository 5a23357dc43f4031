"""``claire-dsa evaluate``: figures with confidence intervals, and the check on the few real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import refusing
from ClaireDSALib.cli.filtering import evaluate_filtering
from ClaireDSALib.cli.perfusion import evaluate_perfusion, evaluate_phases
from ClaireDSALib.cli.quality import evaluate_quality
from ClaireDSALib.cli.sequence import evaluate_thrombus
from ClaireDSALib.cli.vessels import evaluate_vessels

if TYPE_CHECKING:
    from ClaireDSALib.models.classifier import Classifier

app = typer.Typer(help="Measure models with confidence intervals.", no_args_is_help=True)

BundleOption = Annotated[str, typer.Option("--bundle", help="Name in the catalogue or bundle folder.")]
Yes = Annotated[bool, typer.Option("--yes", help="Trust a bundle folder that the catalogue does not know.")]
Engine = Annotated[str, typer.Option(help="auto, onnxruntime or torch.")]
DEFAULT_BUNDLE = "dsa_image_properties"


@app.callback()
def evaluate() -> None:
    """Measure a model."""


@app.command()
def labels(
    data: Annotated[Path, typer.Option(help="Simulated set (folder with index.jsonl) or annotation table.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for evaluation.json and evaluation.html.")],
    bundle: BundleOption = DEFAULT_BUNDLE,
    split: Annotated[str, typer.Option(help="Split of a simulated set to use; 'all' for everything.")] = "test",
    group: Annotated[str | None, typer.Option(help="Only pictures of this group, for instance a vendor look.")] = None,
    every_picture: Annotated[
        bool, typer.Option("--every-picture", help="Judge all labels on all pictures, not each where it is read off.")
    ] = False,
    bootstrap: Annotated[int, typer.Option(help="Bootstrap samples.")] = 400,
    engine: Engine = "auto",
    yes: Yes = False,
) -> None:
    """ROC-AUC, precision, recall, F1, balanced accuracy, MCC and calibration, each with a 95 % interval."""
    import numpy as np

    from ClaireDSALib.training.evaluate import evaluate as measure
    from ClaireDSALib.training.evaluate import write_json
    from ClaireDSALib.training.evaluation_page import label_markdown, write_page
    from ClaireDSALib.training.load import load_pictures
    from ClaireDSALib.training.samples import as_analysed

    classifier = _load(bundle, engine, yes)
    size = 2 * classifier.bundle.input_spec.size_px
    pictures = load_pictures(data, classifier.bundle.labels, size_px=size, with_runs=not every_picture)
    if len(pictures.splits) and split != "all":
        pictures = pictures.subset(np.flatnonzero(pictures.splits == split))
    if group is not None:
        pictures = pictures.subset(np.flatnonzero(pictures.groups == group))
    pictures = pictures.subset([k for k, image in enumerate(pictures.images) if np.ptp(image) > 0])
    if not len(pictures):
        typer.echo(f"Refused: no pictures of split {split!r} and group {group!r} in {data}", err=True)
        raise typer.Exit(1)
    if not every_picture:
        pictures = as_analysed(pictures, classifier.bundle.pictures)
    description = f"{data.name}, split {split}" + (f", group {group}" if group else "")
    result, probabilities = measure(classifier, pictures, data=description, n_boot=bootstrap)
    write_json(result, out / "evaluation.json")
    write_page(result, pictures, probabilities, out / "evaluation.html")
    (out / "evaluation.md").write_text(label_markdown(result), encoding="utf-8")
    typer.echo(label_markdown(result))


@app.command()
def real(
    data: Annotated[Path, typer.Argument(help="Folder with real_minips, xa_nema, xa_rubo ...", exists=True)],
    bundle: BundleOption = DEFAULT_BUNDLE,
    engine: Engine = "auto",
    yes: Yes = False,
) -> None:
    """Hold a bundle against the few real pictures whose labels are certain; never used for training."""
    from ClaireDSALib.training.real_pictures import check, real_pictures, summarise

    classifier = _load(bundle, engine, yes)
    results = check(classifier, real_pictures(data))
    for result in results:
        score = "" if result.outlier_score is None else f" outlier score {result.outlier_score:.2f}"
        verdict = "" if result.outlier_right is None else (" (right)" if result.outlier_right else " (WRONG)")
        typer.echo(f"{result.name}{score}{verdict}")
        for label, expected, predicted, probability, right in result.rows:
            mark = "right" if right else f"WRONG, said {predicted}"
            typer.echo(f"    {label:18s} {expected:14s} p={probability:.3f} {mark}")
    for label, (n_right, total) in summarise(results).items():
        typer.echo(f"{label:20s} {n_right} of {total}")


@app.command()
def maps(
    data: Annotated[
        Path, typer.Option(help="Simulated set: of train label-set or simulate --format npz; device: train device-set.")
    ],
    bundle: BundleOption = DEFAULT_BUNDLE,
    label: Annotated[str, typer.Option(help="Whose maps: contrast_fluid or device.")] = "contrast_fluid",
    split: Annotated[str | None, typer.Option(help="Split to use: test, of a device set validation.")] = None,
    limit: Annotated[int, typer.Option(help="Pictures to use at most.")] = 100,
    yes: Yes = False,
) -> None:
    """Faithfulness of the maps: deletion and insertion curves, and evidence inside the true cause."""
    import json

    from ClaireDSALib.training.faithfulness import measure_device_maps, measure_maps

    classifier = _load(bundle, "auto", yes)
    with refusing(ValueError, OSError):
        if label not in classifier.bundle.labels.names:
            msg = f"bundle {bundle!r} has no label {label!r}; it has {list(classifier.bundle.labels.names)}"
            raise ValueError(msg)
        if label == "device":
            found = measure_device_maps(classifier, data, split=split or "validation", limit=limit)
        elif label == "contrast_fluid":
            found = measure_maps(classifier, data, split=split or "test", limit=limit)
        else:
            msg = f"the cause of {label!r} is not kept in simulated sets; choose contrast_fluid or device"
            raise ValueError(msg)
    typer.echo(json.dumps(found, indent=1))


def _load(bundle: str, engine: str, yes: bool) -> Classifier:
    from ClaireDSALib.models.classifier import load_classifier

    with refusing(ValueError, KeyError):
        return load_classifier(bundle, engine=engine, confirmed=yes)


app.command("thrombus")(evaluate_thrombus)
app.command("filtering")(evaluate_filtering)
app.command("vessels")(evaluate_vessels)
app.command("quality")(evaluate_quality)
app.command("perfusion")(evaluate_perfusion)
app.command("phases")(evaluate_phases)
