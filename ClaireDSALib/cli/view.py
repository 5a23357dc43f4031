"""``claire-dsa view``: the review in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from ClaireDSALib.cli.console import complain, say

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_LOCAL = ("127.0.0.1", "localhost", "::1")
_MIN_TOKEN_LENGTH = 16


@app.command()
def view(
    path: Annotated[
        Path | None, typer.Argument(help="Folder, zip or file of DICOM, saved scene, or folder of a review.")
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
) -> None:
    """Review a case in a browser, on Slicer's own core. Research software, not a medical device."""
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
