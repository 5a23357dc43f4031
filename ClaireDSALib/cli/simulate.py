"""``claire-dsa simulate``: simulated angiography with truth, as DICOM or as training arrays."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="simulate", add_completion=False, help="Simulate angiography with exact truth.")


@app.callback(invoke_without_command=True)
def simulate(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; an unfinished set in it is continued.")],
    cases: Annotated[int, typer.Option("--cases", min=1, help="Simulated patients.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same set.")] = 0,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs per patient.")] = 10,
    format: Annotated[str, typer.Option("--format", help="dicom, npz or demo.")] = "dicom",
    size: Annotated[int, typer.Option("--size", min=32, help="Rows and columns.")] = 512,
    anatomy: Annotated[
        Path | None, typer.Option("--anatomy", exists=True, help="Folder with SWC arterial trees and a head CT (nrrd).")
    ] = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="One console look for all runs.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
) -> None:
    """Simulate patients and write their runs with truth beside them."""
    if format == "demo":
        from ClaireDSALib.simulator.demo import write_demo_case

        for path in write_demo_case(out):
            typer.echo(path)
        return
    from ClaireDSALib.simulator.dataset import DatasetPlan, generate

    try:
        plan = DatasetPlan(out, cases, seed, runs, size, format, anatomy, vendor, device)  # type: ignore[arg-type]
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        typer.echo(f"{done}/{total} cases, {time.monotonic() - started:.0f} s", err=True)

    typer.echo(generate(plan, workers=workers, progress=show))
