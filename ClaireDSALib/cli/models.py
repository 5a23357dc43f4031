"""``claire-dsa models``: list, show, verify, add, remove, import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ClaireDSALib.cli.console import refusing

app = typer.Typer(help="Models: list, show, verify, add, remove, import foreign weights.", no_args_is_help=True)

_REFUSALS = (ValueError, KeyError, FileNotFoundError)

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Known models, shipped and added."""
    from ClaireDSALib.models.catalogue import load_catalogue

    entries = load_catalogue().entries
    if as_json:
        typer.echo(json.dumps([{**e.to_dict(), "origin": e.origin} for e in entries], indent=1))
        return
    if not entries:
        typer.echo("No models. Add one with: claire-dsa models add FOLDER_OR_ZIP_OR_URL")
    for e in entries:
        typer.echo(f"{e.name:32s} {e.task:9s} {e.version:8s} {e.size_mb:7.1f} MB  {e.origin:8s} {e.title}")


@app.command()
def show(name: str, as_json: Json = False) -> None:
    """One model: labels, licence, hash, measured figures with the command behind each."""
    from ClaireDSALib.models.catalogue import load_catalogue

    with refusing(*_REFUSALS):
        entry = load_catalogue().find(name)
    if as_json:
        typer.echo(json.dumps({**entry.to_dict(), "origin": entry.origin}, indent=1))
        return
    typer.echo(f"{entry.name} {entry.version} ({entry.origin}, {entry.task}, input: {entry.input_kind})")
    typer.echo(f"{entry.title}\nlicence: {entry.licence}\nsha256: {entry.sha256}\nfolder: {entry.folder}")
    for label, classes in entry.labels.items():
        typer.echo(f"  {label}: {', '.join(classes)}")
    for f in entry.figures:
        interval = "" if f.low is None else f" ({f.low:.3f} to {f.high:.3f})"
        typer.echo(f"  {f.name}: {f.value:.3f}{interval} on {f.data}  [{f.command}]")
    for what, ms in entry.timings_ms.items():
        typer.echo(f"  {what}: {ms:.1f} ms")


@app.command()
def verify() -> None:
    """Compare every model's files with the hashes of the catalogue."""
    from ClaireDSALib.models.store import verify as verify_all

    with refusing(*_REFUSALS):
        results = verify_all()
    for result in results:
        typer.echo(f"{'ok ' if result.ok else 'BAD'} {result.name}: {result.text}")
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command()
def add(
    source: Annotated[str, typer.Argument(help="Bundle folder, zip file, or URL of a zip file.")],
    name: Annotated[str | None, typer.Option(help="Name in the catalogue.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Hash the bundle must have; a match needs no question.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Trust the bundle without being asked.")] = False,
) -> None:
    """Add a bundle. Bundle configs are code: add only what you trust."""
    from ClaireDSALib.models.store import add as add_bundle

    def confirm(bundle: Any) -> bool:
        typer.echo(f"{bundle.name} {bundle.version}, hash {bundle.sha256}, is not in the catalogue.")
        typer.echo("A MONAI bundle's configs are code that runs with your rights when it is trained or run with MONAI.")
        return yes or typer.confirm("Do you trust where it came from?")

    with refusing(*_REFUSALS):
        entry = add_bundle(source, name=name, sha256=sha256, confirm=confirm)
    typer.echo(f"added {entry.name} {entry.version} ({entry.size_mb:.1f} MB)")


@app.command()
def remove(name: str) -> None:
    """Delete a model that was added."""
    from ClaireDSALib.models.store import remove as remove_bundle

    with refusing(*_REFUSALS):
        remove_bundle(name)
    typer.echo(f"removed {name}")


@app.command("import")
def import_weights(
    files: Annotated[
        list[Path],
        typer.Argument(help="Description (JSON) of ResNets, a CAVE checkpoint, or thrombus checkpoints of all folds."),
    ],
    out: Annotated[Path, typer.Option(help="Folder in which the bundle is made.")] = Path(),
    add_it: Annotated[bool, typer.Option("--add/--no-add", help="Add the bundle to the catalogue as well.")] = True,
    layout: Annotated[str, typer.Option(help="resnet: torchvision's or timm's keys; cave; mittmann.")] = "resnet",
    name: Annotated[str | None, typer.Option(help="cave, mittmann: name of the bundle.")] = None,
    size: Annotated[int | None, typer.Option(help="cave: side of its pictures, px; default from the name.")] = None,
    scaling: Annotated[str, typer.Option(help="cave: training or predict, see docs/models/vessels.md.")] = "training",
) -> None:
    """Import checkpoints trained elsewhere: ResNets for labels, CAVE networks for vessels, thrombus ensembles."""
    from ClaireDSALib.models.store import add as add_bundle

    if layout == "mittmann":
        from ClaireDSALib.cli.sequence import import_mittmann_checkpoints

        import_mittmann_checkpoints(files, out, name, add_it=add_it)
        return
    if len(files) != 1:
        typer.echo(f"Refused: layout {layout!r} takes one file; got {len(files)}", err=True)
        raise typer.Exit(1)
    file = files[0]
    if layout == "cave":
        from ClaireDSALib.cli.vessels import import_cave_checkpoint

        with refusing(*_REFUSALS):
            import_cave_checkpoint(file, out, name, size, scaling, add_it)
        return
    if layout != "resnet":
        typer.echo(f"Refused: unknown layout {layout!r}; there are resnet, cave and mittmann", err=True)
        raise typer.Exit(1)
    from ClaireDSALib.models.foreign import import_checkpoints

    with refusing(*_REFUSALS):
        bundle = import_checkpoints(file, out)
    typer.echo(f"wrote {bundle.folder} with {len(bundle.labels.labels)} labels, hash {bundle.sha256}")
    if add_it:
        with refusing(*_REFUSALS):
            entry = add_bundle(str(bundle.folder), sha256=bundle.sha256)
        typer.echo(f"added {entry.name}; choose it with --labels {entry.name}")
