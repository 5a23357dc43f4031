"""``claire-dsa listen``, ``fetch`` and ``push``: in and out of a PACS."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from ClaireDSALib.cli.console import BAD_USAGE, DONE, NOTHING_USABLE, SOME_FAILED, bar, complain, say, say_json
from ClaireDSALib.cli.pacs_runs import fetch_studies, listen_settings, serve, show_or_retry
from ClaireDSALib.cli.remote_options import (
    Certificate,
    Key,
    PasswordFile,
    PlainSecrets,
    TokenFile,
    User,
    remote_from,
    web_only,
    with_remote,
)
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.tls import TlsFiles

for _name in ("pynetdicom", "requests"):
    if importlib.util.find_spec(_name) is None:  # told before anything began, not in the midst of it
        raise ModuleNotFoundError(name=_name)

_OPTIONS: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False}
listen_app = typer.Typer(**_OPTIONS)
fetch_app = typer.Typer(**_OPTIONS)
push_app = typer.Typer(**_OPTIONS)

_Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@listen_app.command()
def listen(
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="Folder for received objects and the queue.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="JSON file with settings; options here win.")] = None,
    aet: Annotated[str | None, typer.Option("--aet", help="Own AE title [CLAIRE_DSA].")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [11112].")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", help="Who may send: TITLE@ADDRESS or TITLE@NETWORK, title * for any. Repeatable."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="Where results go: dicomweb+https://..., dicom://TITLE@host:port. Repeatable."),
    ] = None,
    quiet_s: Annotated[
        float | None, typer.Option("--quiet", help="Seconds without new objects after which a study is complete [60].")
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(help="Port of /healthz and /metrics on this machine; -1 for none [11113].")
    ] = None,
    cert: Certificate = None,
    key: Key = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Certificates that sign the peers'; then every peer must bring one.")
    ] = None,
    to_ca: Annotated[
        Path | None, typer.Option("--to-ca", help="Certificates that sign the destinations'; the system's else.")
    ] = None,
    user: User = "",
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    plain_secrets: PlainSecrets = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the studies in the folder and stop.")] = False,
    retry: Annotated[
        list[str] | None, typer.Option("--retry", help="Take back a study that was set aside, and stop. Repeatable.")
    ] = None,
    as_json: _Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every object.")] = False,
) -> None:
    """Receive studies, analyse complete ones, send results back. Research software, not a medical device."""
    own_tls = {"certificate": cert, "key": key, "authorities": ca}
    remote = {"user": user, "password_file": password_file, "token_file": token_file, "plain_secrets": plain_secrets}
    towards = {"certificate": cert, "key": key, "authorities": to_ca}
    try:
        chosen = listen_settings(
            settings,
            {
                "folder": folder,
                "ae_title": aet,
                "host": host,
                "port": port,
                "quiet_s": quiet_s,
                "health_port": health_port,
                "peers": peer,
                "tls": TlsFiles(**own_tls) if cert is not None or ca is not None else None,
                "destinations": [Remote(url, tls=TlsFiles(**towards), **web_only(url, remote)) for url in to or ()]
                or None,
            },
            device,
        )
    except (ValueError, TypeError) as problem:
        complain(f"settings: {problem}")
        raise typer.Exit(BAD_USAGE) from problem
    if status or retry:
        raise typer.Exit(show_or_retry(chosen.folder, retry or (), as_json=as_json))
    raise typer.Exit(serve(chosen, verbose=verbose))


@fetch_app.command()
@with_remote
def fetch(
    url: Annotated[  # noqa: ARG001 - becomes the remote
        str,
        typer.Argument(help="dicomweb+https://host/path, with /studies/UID for one study; or dicom://TITLE@host:port."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; what is there is not fetched again.")],
    study: Annotated[list[str] | None, typer.Option("--study", help="Study Instance UID. Repeatable.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Search: KEYWORD=VALUE, such as PatientID=7 or StudyDate=20260101-. Repeatable."),
    ] = None,
    most: Annotated[int, typer.Option("--most", help="Largest number of studies that a search may bring.", min=1)] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Every series, not only those that may hold angiography.")
    ] = False,
    review: Annotated[
        Path | None, typer.Option("--review", help="Analyse what was fetched and write the review to this folder.")
    ] = None,
    as_json: _Json = False,
    *,
    remote: Remote,
) -> None:
    """Fetch studies by DICOMweb or C-GET; called again, it goes on where it was interrupted."""
    code = fetch_studies(
        remote, out, studies=study or (), where=where or (), most=most, everything=everything, as_json=as_json
    )
    if review is not None and code in (DONE, SOME_FAILED):
        from ClaireDSALib.cli.review import run_review

        code = max(code, run_review(out, review, settings_file=None, overrides={}, identifiers=False, as_json=as_json))
    raise typer.Exit(code)


@push_app.command()
@with_remote
def push(
    path: Annotated[
        Path, typer.Argument(help="DICOM file or folder; files that are no DICOM are listed.", exists=True)
    ],
    url: Annotated[  # noqa: ARG001 - becomes the remote
        str, typer.Argument(help="dicomweb+https://host/path or dicom://TITLE@host:port.")
    ],
    as_json: _Json = False,
    *,
    remote: Remote,
) -> None:
    """Send files to a PACS by STOW-RS or C-STORE, byte for byte as they are."""
    from ClaireDSALib.pacs.destination import destination_for
    from ClaireDSALib.pacs.push import push_files

    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    destination = destination_for(remote)
    try:
        with bar("sending") as tell:
            found = push_files(destination, files, told=lambda done, total: tell(done / max(total, 1), "sending"))
    finally:
        destination.close()
    if as_json:
        say_json({"sent": list(found.sent), "failed": found.failed, "skipped": found.skipped})
    else:
        say(f"{len(found.sent)} objects sent to {destination.name}")
        for uid, reason in found.failed.items():
            complain(f"  not sent, {uid}: {reason}")
        for name, reason in found.skipped.items():
            complain(f"  not used, {name}: {reason}")
    if not found.sent:
        raise typer.Exit(NOTHING_USABLE)
    raise typer.Exit(SOME_FAILED if found.failed or found.skipped else DONE)


def fetch_for_view(url: str, folder: Path, **options: Any) -> Path:
    """Bring the study that an address names into a folder, for the viewer; leaves the program when that fails."""
    remote = remote_from(url, **options)
    if not remote.study_uid:
        complain(f"the address must name a study: {remote.shown}/studies/UID")
        raise typer.Exit(BAD_USAGE)
    code = fetch_studies(remote, folder, studies=(), where=(), most=1, everything=False, as_json=False)
    if code not in (DONE, SOME_FAILED):
        raise typer.Exit(code)
    return folder / remote.study_uid
