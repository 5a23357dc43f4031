"""``claire-dsa train quality`` and ``claire-dsa evaluate quality``: the light network for grades and vessels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ClaireDSALib.cli.console import complain, refusing


def train_quality(
    data: Annotated[
        list[Path],
        typer.Option(help="Simulated set with vessel truth; may be given several times.", exists=True),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle to write.")],
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the training.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches of four pictures.")] = 6000,
    masks_only: Annotated[
        bool, typer.Option("--masks-only", help="Train nothing; choose the vessels' threshold and cleaning anew.")
    ] = False,
) -> None:
    """Train the light network: quality grade and vessels. Run again to continue."""
    from ClaireDSALib.training.quality_train import choose_masks_anew, train_and_write

    if masks_only:
        with refusing(OSError, ValueError):
            choose_masks_anew(data, out, report=complain)
        typer.echo(str(out))
        return
    settings: dict[str, Any] = {"steps": steps}
    if minutes is not None:
        settings["budget_s"] = 60 * minutes
    with refusing(OSError, ValueError):
        folder = train_and_write(data, out, settings, report=complain)
    typer.echo(str(folder))


def evaluate_quality(
    data: Annotated[list[Path], typer.Option(help="Simulated set for the grades; may be given several times.")],
    vessel_data: Annotated[
        list[Path] | None, typer.Option(help="Simulated set for the vessels; the same sets unless given.")
    ] = None,
    bundle: Annotated[str, typer.Option(help="Name in the catalogue or folder.")] = "dsa_quality",
    large: Annotated[
        str, typer.Option(help="Vessel bundle to compare with; 'auto' for the shipped one, 'none' for none.")
    ] = "auto",
    split: Annotated[str, typer.Option(help="Split of the sets to use.")] = "test",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Accuracy of the grades and agreement of the vessels on held-out patients, beside the large vessel network."""
    from ClaireDSALib.models.quality_reader import QualityReader
    from ClaireDSALib.training.quality_evaluate import evaluate, write_figures
    from ClaireDSALib.training.quality_publish import figures_table

    with refusing(OSError, ValueError, KeyError):
        reader = QualityReader(_folder(bundle))
        found = evaluate(reader, data, vessel_data or data, split=split, large=_large(large))
    if out is not None:
        write_figures(found, out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    typer.echo(f"grades: {found.n_runs} simulated runs of {found.n_patients} patients; ", nl=False)
    typer.echo(f"vessels: {found.n_vessel_runs} suitable runs of {found.n_vessel_patients} patients\n")
    typer.echo(figures_table(found))


def _folder(name: str) -> Path:
    from ClaireDSALib.models.catalogue import load_catalogue

    catalogue = load_catalogue()
    if name in catalogue.names or not Path(name).is_dir():
        return catalogue.find(name).folder
    return Path(name)


def _large(name: str) -> Any:
    from ClaireDSALib.models.catalogue import load_catalogue
    from ClaireDSALib.models.vessel_segmenter import VesselSegmenter

    if name == "none":
        return None
    if name == "auto":
        entry = load_catalogue().default("vessels")
        return None if entry is None else VesselSegmenter(entry.folder)
    return VesselSegmenter(_folder(name))
