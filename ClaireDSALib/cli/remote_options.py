"""Options of every verb that speaks to one other system, and the :class:`Remote` they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ClaireDSALib.cli.console import BAD_USAGE, complain
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.tls import TlsFiles

Certificate = Annotated[Path | None, typer.Option("--cert", help="Own TLS certificate, PEM with its chain.")]
Key = Annotated[Path | None, typer.Option("--key", help="Private key of --cert, PEM.")]
Authorities = Annotated[
    Path | None, typer.Option("--ca", help="Certificates that sign the other side's, PEM; the system's else.")
]
User = Annotated[str, typer.Option("--user", help="User for basic authentication.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="File with the user's password.")]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="File with a bearer token.")]
PlainSecrets = Annotated[bool, typer.Option("--plain-secrets", help="Allow a password or token over unencrypted HTTP.")]
OwnTitle = Annotated[str, typer.Option("--aet", help="Own AE title.")]


def with_remote(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command that takes ``remote`` into one that takes ``url`` and the options that describe the other side.

    Parameters
    ----------
    command : callable
        Has a parameter ``url``, and a keyword-only ``remote`` that the command line does not see.
    """

    @functools.wraps(command)
    def called(**given: Any) -> None:
        options = {name: given.pop(name) for name in _SHARED}
        tls = tuple(options.pop(name) for name in ("cert", "key", "ca"))
        command(**given, remote=remote_from(given["url"], tls=tls, **options))

    hints = get_type_hints(command, include_extras=True)
    own = [one for one in inspect.signature(command).parameters.values() if one.name != "remote"]
    kinds = {**{one.name: (hints[one.name], one.default) for one in own}, **_SHARED}
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in kinds.items()
        ]
    )
    called.__annotations__ = {name: kind for name, (kind, _) in kinds.items()}
    del called.__wrapped__  # or its signature, which knows ``remote``, would be the one that counts
    return called


def remote_from(url: str, *, tls: tuple[Path | None, ...] = (None, None, None), **options: Any) -> Remote:
    """Make a remote; leaves the program with a sentence when an option does not fit.

    Parameters
    ----------
    url : str
    tls : tuple
        Certificate, key and authorities.
    options
        Of :class:`Remote`; those that a DIMSE address does not have are left out for it.
    """
    try:
        return Remote(url, tls=TlsFiles(*tls), **web_only(url, options))
    except ValueError as problem:
        complain(str(problem))
        raise typer.Exit(BAD_USAGE) from problem


def web_only(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """DIMSE has no users and tokens; they are for the web addresses of the same call."""
    if not url.startswith(("dicom://", "dicoms://")):
        return options
    return {name: value for name, value in options.items() if name == "own_ae_title"}


_SHARED: dict[str, tuple[Any, Any]] = {
    "own_ae_title": (OwnTitle, "CLAIRE_DSA"),
    "user": (User, ""),
    "password_file": (PasswordFile, None),
    "token_file": (TokenFile, None),
    "plain_secrets": (PlainSecrets, False),
    "cert": (Certificate, None),
    "key": (Key, None),
    "ca": (Authorities, None),
}
