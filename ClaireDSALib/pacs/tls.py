"""Encryption of associations and of DICOMweb: certificates of both sides, checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one side.

    Parameters
    ----------
    certificate, key : Path, optional
        Own certificate (with its chain) and private key; a server needs both.
    authorities : Path, optional
        Certificates that sign the other side's. A server that has them demands a certificate from every
        client; a client that has none trusts the system's.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            msg = f"a TLS certificate and its key belong together; got certificate {self.certificate}, key {self.key}"
            raise ValueError(msg)
        for name in ("certificate", "key", "authorities"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                msg = f"TLS {name}: there is no file {path}"
                raise ValueError(msg)

    @property
    def is_set(self) -> bool:
        return self.certificate is not None or self.authorities is not None


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer for a receiver (the BCP 195 profile of PS3.15 annex B).

    Raises
    ------
    ValueError
        When there is no certificate, or the files do not fit each other.
    """
    if files.certificate is None or files.key is None:
        msg = "a receiver with TLS needs its certificate and key"
        raise ValueError(msg)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    if files.authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer towards a peer, whose certificate and host name are checked.

    Raises
    ------
    ValueError
        When the files do not fit each other.
    """
    context = ssl.create_default_context() if files.authorities is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
        if files.authorities is not None:
            context.load_verify_locations(files.authorities)
    except (ssl.SSLError, OSError) as problem:
        msg = f"the TLS files cannot be used: {problem}"
        raise ValueError(msg) from problem
