"""``claire-dsa deidentify``: a copy of images that can be shared."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from ClaireDSALib.cli.console import BAD_USAGE, DONE, NOTHING_USABLE, SOME_FAILED, complain, say, say_json

if importlib.util.find_spec("dicomanonymizer") is None:
    _MISSING = "dicom-anonymizer is not installed"
    raise ModuleNotFoundError(_MISSING, name="dicom-anonymizer")

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def deidentify(
    path: Annotated[Path, typer.Argument(help="DICOM file, or folder with DICOM files.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the copies.")],
    key_file: Annotated[
        Path | None,
        typer.Option(help="Text file with a secret of at least 16 characters: same secret, same pseudonyms."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Copy images without identifiers (PS3.15 basic profile); pixels are not searched for burned-in text."""
    from ClaireDSALib.export.deidentify import Pseudonyms, deidentify_folder

    if path.is_dir() and path.resolve() in (out.resolve(), *out.resolve().parents):
        complain("the copies must not lie among the originals; name another --out")
        raise typer.Exit(BAD_USAGE)
    try:
        names = Pseudonyms.from_file(key_file)
    except (ValueError, OSError) as problem:
        complain(f"key file: {problem}")
        raise typer.Exit(BAD_USAGE) from problem
    done = deidentify_folder(path, out, names)
    copied = [one for one in done if one.target is not None]
    if as_json:
        say_json([{**dataclasses.asdict(one), "target": str(one.target or "")} for one in done])
    else:
        say(f"{len(copied)} of {len(done)} files copied to {out}")
        for one in done:
            if one.reason or one.warning:
                complain(f"  {one.source}: {one.reason or one.warning}")
    if key_file is None:
        complain("No key file: these pseudonyms cannot be made again.")
    raise typer.Exit(NOTHING_USABLE if not copied else SOME_FAILED if len(copied) < len(done) else DONE)
