"""Addresses of other systems, and what is needed to be let in."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ClaireDSALib.pacs.tls import TlsFiles

DEFAULT_TITLE = "CLAIRE_DSA"
_SCHEMES = {
    "dicom": "dimse",
    "dicoms": "dimse",
    "http": "web",
    "https": "web",
    "dicomweb+http": "web",
    "dicomweb+https": "web",
}
_STUDY_PATH = re.compile(r"(?P<base>.*?)/studies/(?P<study>[0-9.]+)/?$")


@dataclass(frozen=True)
class Remote:
    """One system that objects are fetched from or sent to.

    Parameters
    ----------
    url : str
        ``dicomweb+https://host/path`` (or ``https://``) for DICOMweb, ``dicom://TITLE@host:port`` for DIMSE,
        ``dicoms://`` with TLS. Secrets do not belong in it.
    own_ae_title : str
        Calling AE title towards DIMSE peers.
    user, password_file, token_file : optional
        Basic authentication, or a bearer token; the files hold the secret on their first line.
    tls : TlsFiles
        Own certificate, and authorities instead of the system's.
    plain_secrets : bool
        Allow a secret over an unencrypted connection to another machine.
    timeout_s : float
        Longest silence of the other side.
    """

    url: str
    own_ae_title: str = DEFAULT_TITLE
    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    tls: TlsFiles = field(default_factory=TlsFiles)
    plain_secrets: bool = False
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            msg = f"an address begins with one of {sorted(_SCHEMES)} and names a host; got {self.shown!r}"
            raise ValueError(msg)
        if self.kind == "web" and (parts.username or parts.password):
            msg = f"the address {self.shown!r} holds a secret; use a user with a password file, or a token file"
            raise ValueError(msg)
        if self.kind == "dimse" and not (parts.username and parts.port):
            msg = f"a DIMSE address is written dicom://TITLE@host:port; got {self.shown!r}"
            raise ValueError(msg)
        if bool(self.user) != (self.password_file is not None):
            msg = f"a user and a password file belong together; got user {self.user!r}, file {self.password_file}"
            raise ValueError(msg)
        if self.user and self.token_file is not None:
            msg = "give either a user with a password file or a token file, not both"
            raise ValueError(msg)
        if self.has_secret and not self.is_encrypted and not self.is_this_machine and not self.plain_secrets:
            msg = f"a password or token would travel unencrypted to {self.shown}; use https, or allow it explicitly"
            raise ValueError(msg)

    @property
    def kind(self) -> Literal["web", "dimse"]:
        return "web" if _SCHEMES[urlsplit(self.url).scheme] == "web" else "dimse"

    @property
    def shown(self) -> str:
        """The address without anything secret, for logs and messages."""
        parts = urlsplit(self.url)
        title = f"{parts.username}@" if parts.scheme.startswith("dicom") and "+" not in parts.scheme else ""
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{title}{parts.hostname or ''}{port}{parts.path}"

    @property
    def web_base(self) -> str:
        """Root of the DICOMweb service, without a study and without a final slash."""
        plain = self.url.removeprefix("dicomweb+").rstrip("/")
        found = _STUDY_PATH.fullmatch(plain)
        return found["base"] if found else plain

    @property
    def study_uid(self) -> str:
        """Study that the address names, empty when it names none."""
        found = _STUDY_PATH.fullmatch(self.url.rstrip("/"))
        return found["study"] if found else ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def ae_title(self) -> str:
        """Called AE title of a DIMSE peer; an address keeps its case."""
        return urlsplit(self.url).username or ""

    @property
    def is_encrypted(self) -> bool:
        return urlsplit(self.url).scheme in ("https", "dicomweb+https", "dicoms")

    @property
    def is_this_machine(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def has_secret(self) -> bool:
        return self.password_file is not None or self.token_file is not None


def read_secret(path: Path) -> str:
    """First line of a file.

    Raises
    ------
    ValueError
        When the file cannot be read or its first line is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        msg = f"the secret in {path} cannot be read: {problem}"
        raise ValueError(msg) from problem
    secret = lines[0].strip() if lines else ""
    if not secret:
        msg = f"the first line of {path} is empty; it must hold the password or token"
        raise ValueError(msg)
    return secret


def is_remote(text: str) -> bool:
    """Whether a text is an address of another system rather than a path; ``http`` alone is no claim to DICOMweb."""
    return text.startswith(("dicomweb+http://", "dicomweb+https://", "dicom://", "dicoms://"))
