"""``claire-dsa view``: the review in a browser."""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ClaireDSALib.cli.console import complain, say

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_ADDRESSES = ("dicomweb+http://", "dicomweb+https://")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_MIN_TOKEN_LENGTH = 16


@app.command()
def view(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            help="Folder, zip or file of DICOM, saved scene, folder of a review, or the address of a study: "
            "dicomweb+https://host/path/studies/UID.",
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the address, open no browser.")] = False,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine need --token-file.")] = (
        "127.0.0.1"
    ),
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the token that a browser must bring.")
    ] = None,
    review_dir: Annotated[
        Path | None, typer.Option("--review-dir", help="Folder for the reviewer's corrections; beside the case else.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Open the simulated demo case.")] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Folder for a study fetched by its address; a temporary one else.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="User for the server of an address.")] = "",
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the user's password.")
    ] = None,
    server_token_file: Annotated[
        Path | None, typer.Option("--server-token-file", help="File with a bearer token for the server of an address.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Certificates that sign the server's, PEM; the system's else.")
    ] = None,
) -> None:
    """Review a case in a browser, on Slicer's own core. Research software, not a medical device."""
    login = {"user": user, "password_file": password_file, "token_file": server_token_file}
    with _local_path(source, keep, login, ca) as path:
        _view(path, host, port, review_dir, demo, token_file, no_open)


def _view(
    path: Path | None,
    host: str,
    port: int,
    review_dir: Path | None,
    demo: bool,
    token_file: Path | None,
    no_open: bool,
) -> None:
    if path is not None and not path.exists():
        complain(f"there is no file or folder {path}")
        raise typer.Exit(2)
    token = _token(host, token_file)
    try:
        from ClaireDSALib.web.gl_check import check_probe, choose_render_window, start_probe

        choose_render_window()
        probe = start_probe()  # draws while the rest is imported
        from ClaireDSALib.web.app import Viewer, ViewerOptions

        check_probe(probe)
    except RuntimeError as problem:
        complain(str(problem))
        raise typer.Exit(1) from problem
    except ModuleNotFoundError as missing:
        complain(f'the viewer needs {missing.name}: pip install "claire-dsa[web]"')
        raise typer.Exit(1) from missing
    chosen: dict[str, Any] = {"token": token} if token else {}
    options = ViewerOptions(path=path, host=host, port=port, review_dir=review_dir, demo=demo, **chosen)

    def announce(address: str) -> None:
        say(f"Viewer ready: {address}")
        say("Research software, not a medical device. Ctrl+C ends it.")
        if not no_open:
            webbrowser.open(address)

    Viewer(options).run(announce)


@contextmanager
def _local_path(source: str | None, keep: Path | None, login: dict[str, Any], ca: Path | None) -> Iterator[Path | None]:
    """Yield where the case lies on this machine; an address is fetched first, and deleted at the end unless kept."""
    if source is None or not source.startswith(_ADDRESSES):
        yield Path(source) if source is not None else None
        return
    try:
        from ClaireDSALib.cli.pacs import fetch_for_view
    except ModuleNotFoundError as missing:
        complain(f'opening an address needs {missing.name}: pip install "claire-dsa[pacs]"')
        raise typer.Exit(1) from missing
    if keep is None:
        complain("note: the fetched study is deleted at the end; --keep keeps it, and corrections made beside it")
    with tempfile.TemporaryDirectory(prefix="claire-dsa-view-") as folder:
        yield fetch_for_view(source, keep or Path(folder), tls=(None, None, ca), **login)


def _token(host: str, token_file: Path | None) -> str:
    """Token from its file; empty lets the viewer make one."""
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except OSError as problem:
            complain(f"the token file cannot be read: {problem}")
            raise typer.Exit(2) from problem
        if len(token) < _MIN_TOKEN_LENGTH:
            complain(f"the token must have at least {_MIN_TOKEN_LENGTH} characters; the file has {len(token)}")
            raise typer.Exit(2)
        if host not in _LOCAL:
            complain(f"warning: the viewer listens on {host}, unencrypted; whoever has the token sees the case")
        return token
    if host not in _LOCAL:
        complain(f"--host {host} opens the viewer to the network; name a token with --token-file")
        raise typer.Exit(2)
    return ""


if __name__ == "__main__":
    app()
