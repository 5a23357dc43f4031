"""``claire-dsa cohort``: thousands of studies, one table, one page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ClaireDSALib.cli.console import BAD_USAGE, DONE, NOTHING_USABLE, SOME_FAILED, bar, complain, say, say_json

if TYPE_CHECKING:
    from ClaireDSALib.cohort.progress import CohortProgress, Tell
    from ClaireDSALib.cohort.run import CohortOptions, CohortResult
    from ClaireDSALib.pipeline.settings import Settings

app = typer.Typer(name="cohort", add_completion=False, help="Thousands of studies: one table, one summary page.")

_TELL_EVERY_S = 10.0
_INTERRUPTED = 130


@app.command()
def cohort(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, file, TSV with a column 'path' and perhaps 'centre', or dicomweb+https://host/path."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the cohort; the same one goes on.")],
    engine: Annotated[str, typer.Option(help="local: processes here; ray: many machines.")] = "local",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
    address: Annotated[str | None, typer.Option("--ray-address", help="Ray cluster to use; without: one here.")] = None,
    gpus: Annotated[float, typer.Option("--gpus-per-worker", min=0, help="What Ray reserves for each worker.")] = 0.0,
    side_by_side: Annotated[
        int, typer.Option(min=1, help="Runs analysed together in each worker; 4 to 8 on a GPU.")
    ] = 1,
    settings: Annotated[Path | None, typer.Option(help="JSON file with analysis settings.")] = None,
    preset: Annotated[str | None, typer.Option(help="Suitability preset.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    insist: Annotated[bool, typer.Option("--insist", help="Segment unsuitable runs too; they are marked.")] = False,
    motion: Annotated[str | None, typer.Option(help="Motion correction, see 'review'.")] = None,
    centre: Annotated[
        str, typer.Option(help="auto (list, else pseudonym of the institution), institution, folder, none.")
    ] = "auto",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    tries: Annotated[int, typer.Option(min=1, help="A run that ends its process so often is set aside.")] = 3,
    limit_s: Annotated[float, typer.Option(min=1, help="A worker silent for so many seconds is replaced.")] = 900.0,
    write_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV too.")] = False,
    dates: Annotated[bool, typer.Option("--dates", help="Day of acquisition in the table.")] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="List which run came from which file, below 'work'.")
    ] = False,
    key_file: Annotated[Path | None, typer.Option(exists=True, help="File with the site's secret for keys.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="DICOMweb query: KEYWORD=VALUE, such as StudyDate=20250101-. Repeatable.")
    ] = None,
    user: Annotated[str, typer.Option(help="DICOMweb: user for basic authentication.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="DICOMweb: file with the user's password.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="DICOMweb: file with a bearer token.")] = None,
    authorities: Annotated[
        Path | None, typer.Option("--ca", help="DICOMweb: certificates that sign the server's, PEM.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Analyse every run once, resumable at any moment, and write cohort.parquet and index.html."""
    from ClaireDSALib.cli.review import load_settings
    from ClaireDSALib.cohort.dispatch import Limits
    from ClaireDSALib.cohort.pseudonyms import use_key_file
    from ClaireDSALib.cohort.run import CohortOptions

    chosen = {"suitability_preset": preset, "device": device, "motion_correction": motion}
    overrides: dict[str, str | bool] = {key: value for key, value in chosen.items() if value is not None}
    if insist:
        overrides["segment_unsuitable"] = True
    if settings is None:
        overrides["maps"] = False  # no column comes from the maps
    try:
        if key_file is not None:
            use_key_file(key_file)
        options = CohortOptions(
            engine=engine,
            workers=workers,
            address=address,
            gpus_per_worker=gpus,
            lanes=side_by_side,
            centre_from=centre,  # type: ignore[arg-type]
            retry_failed=retry_failed,
            write_csv=write_csv,
            with_dates=dates,
            with_sources=sources,
            limits=Limits(tries, limit_s),
        )
        analysis = load_settings(settings, overrides)
    except ValueError as problem:
        complain(str(problem))
        raise typer.Exit(BAD_USAGE) from problem
    login = {"user": user, "password_file": password_file, "token_file": token_file}
    place, incomplete = _local(source, out, where or (), login, authorities)
    code = _run(place, out, analysis, options, as_json=as_json)
    raise typer.Exit(SOME_FAILED if incomplete and code == DONE else code)


def _local(
    source: str, out: Path, where: Sequence[str], login: dict[str, Any], authorities: Path | None
) -> tuple[Path, bool]:
    """Where the files are, fetched first when the source is an address; and whether some could not be fetched."""
    if "://" not in source:
        return Path(source), False
    from ClaireDSALib.cli.cohort_fetch import fetch_cohort
    from ClaireDSALib.cohort.places import Places
    from ClaireDSALib.cohort.progress import CohortProgress
    from ClaireDSALib.pacs.remote import Remote
    from ClaireDSALib.pacs.tls import TlsFiles

    Places(out).make()
    folder = Places(out).fetched
    folder.mkdir(exist_ok=True)
    try:
        remote = Remote(source, tls=TlsFiles(authorities=authorities), **login)
        with _progress() as tell:
            found = fetch_cohort(remote, where, folder, lambda *state: tell(CohortProgress(*state)))
    except ValueError as problem:
        complain(str(problem))
        raise typer.Exit(BAD_USAGE) from problem
    except ConnectionError as problem:
        complain(str(problem))
        raise typer.Exit(NOTHING_USABLE) from problem
    for uid, reason in found.failed.items():
        complain(f"  not fetched, {uid}: {reason}")
    return folder, bool(found.failed)


def _run(source: Path, out: Path, settings: Settings, options: CohortOptions, *, as_json: bool) -> int:
    from ClaireDSALib.cohort.run import CohortBusyError, run_cohort

    try:
        with _progress() as tell:
            result = run_cohort(source, out, settings, options, tell)
    except KeyboardInterrupt:
        complain("Interrupted; nothing that was finished is lost. The same command goes on.")
        return _INTERRUPTED
    except (ValueError, KeyError, FileNotFoundError) as problem:
        complain(str(problem.args[0] if isinstance(problem, KeyError) else problem))
        return BAD_USAGE
    except ModuleNotFoundError as problem:
        complain(f'{problem.name} is not installed; install it with: pip install "claire-dsa[cohort]"')
        return BAD_USAGE
    except (CohortBusyError, RuntimeError) as problem:
        complain(str(problem))
        return NOTHING_USABLE
    return _report(result, as_json=as_json)


def _report(result: CohortResult, *, as_json: bool) -> int:
    if as_json:
        say_json({name: str(v) if isinstance(v, Path) else v for name, v in vars(result).items()})
    else:
        say(f"{result.runs} runs, {result.failed} failed, {result.analysed} analysed by this call")
        if result.not_used:
            say(f"{result.not_used} files and runs not used: see work/not_used.tsv")
        say(f"table: {result.table}")
        say(f"page:  {result.page}")
    if not result.runs:
        complain("No angiographic run was found.")
        return NOTHING_USABLE
    return SOME_FAILED if result.failed else DONE


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on a terminal; elsewhere a line now and then."""
    import sys

    if sys.stderr.isatty():
        with bar("cohort") as shown:
            yield lambda state: shown(state.done / state.total if state.total else 0.0, str(state))
        return
    told: tuple[float, str] = (0.0, "")

    def tell(state: CohortProgress) -> None:
        nonlocal told
        now = time.monotonic()
        if state.step != told[1] or now - told[0] > _TELL_EVERY_S or state.done == state.total:
            told = (now, state.step)
            complain(str(state))

    yield tell
