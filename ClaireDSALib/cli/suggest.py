"""``claire-dsa suggest``: which reviewed runs to annotate next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ClaireDSALib.cli.console import DONE, NOTHING_USABLE, SOME_FAILED, complain, say, say_json

if TYPE_CHECKING:
    from ClaireDSALib.pipeline.report import CaseReport

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def suggest(
    paths: Annotated[list[Path], typer.Argument(help="Reviews, or folders with reviews.", exists=True)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the list as .tsv or .csv.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Length of the list.")] = 50,
    label: Annotated[list[str] | None, typer.Option(help="Only this label; may be given again.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Rank runs by what an annotation is expected to teach: the model's own uncertainty, spread over patients."""
    import dataclasses

    from ClaireDSALib.training.suggest import suggest as rank

    failed: list[str] = []
    found = rank(_reports(paths, failed), labels=label or (), most=most)
    if as_json:
        say_json([dataclasses.asdict(one) for one in found])
    else:
        for number, one in enumerate(found, 1):
            first = ", ".join(f"{name} {gain:.2f}" for name, gain in one.labels[:3])
            strange = "  unlike the training pictures" if one.is_outlier else ""
            say(f"{number:4} {one.gain_bits:5.2f} bit  {one.run_id}  {first}  ({one.source}){strange}")
    for reason in failed:
        complain(f"  {reason}")
    if not found:
        complain("No run with open labels was found.")
        raise typer.Exit(NOTHING_USABLE)
    if out is not None:
        from ClaireDSALib.export.tables import Table, write_table

        columns = {"review": str, "run": str, "patient": str, "gain_bits": float, "labels": str, "outlier": bool}
        rows = [
            (s.source, s.run_id, s.patient, round(s.gain_bits, 4), " ".join(n for n, _ in s.labels), s.is_outlier)
            for s in found
        ]
        write_table(Table(columns, tuple(rows)), out)
    raise typer.Exit(SOME_FAILED if failed else DONE)


def _reports(paths: list[Path], failed: list[str]) -> Iterator[tuple[str, CaseReport]]:
    from ClaireDSALib.pipeline.report import CaseReport

    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("report.json"))
        for file in files:
            try:
                yield str(file.parent), CaseReport.from_json(file.read_text(encoding="utf-8"))
            except (ValueError, TypeError, KeyError, AttributeError, OSError) as problem:
                failed.append(f"{file}: no report ({problem})")
