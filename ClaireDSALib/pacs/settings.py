"""What the operator of a receiver chooses, from a JSON file and the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ClaireDSALib.pacs.access import Limits, Peer
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.remote import DEFAULT_TITLE, Remote
from ClaireDSALib.pacs.tls import TlsFiles
from ClaireDSALib.pipeline.settings import Settings


@dataclass(frozen=True)
class ListenSettings:
    """Everything about one receiver.

    Parameters
    ----------
    folder : Path
        Spool and queue; one receiver each.
    ae_title, host, port : str, str, int
        Own title and where to listen; port 0 takes a free one.
    peers : tuple of Peer
        Who may send; empty admits this machine only.
    destinations : tuple of Remote
        Where results go; empty leaves them in the folder.
    quiet_s : float
        A study is complete when nothing arrived for it for so long, seconds.
    limits : Limits
    tls : TlsFiles
        Of the receiver; set encrypts it.
    reserve_gb : float
        Free disk space that is never used, GB.
    keep_days : float
        Received objects and results of finished studies are deleted after this.
    health_port : int
        Of ``/healthz`` and ``/metrics`` on the loopback address; 0 takes a free one, -1 opens none.
    most_failures : int
        An analysis that failed so often is set aside.
    most_interruptions : int
        So is one during which the receiver itself ended so often.
    give_up_sending_days : float
        A result that could not be sent for so long is set aside.
    analysis_timeout_s : float
    backoff : Backoff
        Between tries to analyse or to send.
    analysis : Settings
    """

    folder: Path
    ae_title: str = DEFAULT_TITLE
    host: str = "127.0.0.1"
    port: int = 11112
    peers: tuple[Peer, ...] = ()
    destinations: tuple[Remote, ...] = ()
    quiet_s: float = 60.0
    limits: Limits = field(default_factory=Limits)
    tls: TlsFiles = field(default_factory=TlsFiles)
    reserve_gb: float = 2.0
    keep_days: float = 7.0
    health_port: int = 11113
    most_failures: int = 3
    most_interruptions: int = 10
    give_up_sending_days: float = 7.0
    analysis_timeout_s: float = 3600.0
    backoff: Backoff = field(default_factory=Backoff)
    analysis: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if not 1 <= len(self.ae_title.strip()) <= 16:
            msg = f"ae_title has 1 to 16 characters; got {self.ae_title!r}"
            raise ValueError(msg)
        for name in ("port", "health_port"):
            value = getattr(self, name)
            if not (0 if name == "port" else -1) <= value <= 65535:
                msg = f"{name} must be a port number; got {value}"
                raise ValueError(msg)
        for name in ("quiet_s", "most_failures", "most_interruptions", "give_up_sending_days", "analysis_timeout_s"):
            if not getattr(self, name) > 0:
                msg = f"{name} must be above 0; got {getattr(self, name)}"
                raise ValueError(msg)
        for name in ("reserve_gb", "keep_days"):
            if getattr(self, name) < 0:
                msg = f"{name} must not be negative; got {getattr(self, name)}"
                raise ValueError(msg)
        names = [one.shown for one in self.destinations]
        if len(set(names)) != len(names):
            msg = f"every destination is named once; got {names}"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ListenSettings:
        """Build from JSON; an unknown key is an error that names the known ones.

        Examples
        --------
        >>> chosen = ListenSettings.from_dict({"folder": "spool", "peers": ["X@::1"]})
        >>> chosen.peers[0].ae_title
        'X'

        Raises
        ------
        ValueError
            For an unknown key, a missing folder, or a value outside its range.
        """
        values = _checked(cls, data)
        if "folder" not in values:
            msg = "the receiver's folder is missing; name it with --folder or in the settings"
            raise ValueError(msg)
        values["folder"] = Path(values["folder"])
        for name, make in (("limits", Limits), ("backoff", Backoff), ("tls", TlsFiles)):
            if isinstance(values.get(name), Mapping):
                values[name] = make(**_checked(make, values[name]))
        values["peers"] = tuple(_made(Peer, Peer.parse, one) for one in values.get("peers", ()))
        values["destinations"] = tuple(_made(Remote, Remote, one) for one in values.get("destinations", ()))
        if "ae_title" in values:  # towards destinations too, unless they are told another one
            values["destinations"] = tuple(
                dataclasses.replace(one, own_ae_title=values["ae_title"]) if one.own_ae_title == DEFAULT_TITLE else one
                for one in values["destinations"]
            )
        if isinstance(values.get("analysis"), Mapping):
            values["analysis"] = Settings.from_dict(values["analysis"])
        return cls(**values)


def _made(kind: type, parse: Callable[[str], Any], value: Any) -> Any:
    """From a mapping, or from the one text that says it all."""
    if isinstance(value, str):
        return parse(value)
    return kind(**_checked(kind, value)) if isinstance(value, Mapping) else value


def _checked(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Known keys only; names of files become paths, and a nested ``tls`` becomes its object."""
    if not isinstance(data, Mapping):
        msg = f"{kind.__name__} settings are an object of names and values; got {type(data).__name__}"
        raise ValueError(msg)
    known = {one.name for one in dataclasses.fields(kind)}
    if unknown := sorted(set(data) - known):
        msg = f"unknown {kind.__name__} settings {unknown}; known are {sorted(known)}"
        raise ValueError(msg)
    values = dict(data)
    for name in ("certificate", "key", "authorities", "password_file", "token_file"):
        if isinstance(values.get(name), str):
            values[name] = Path(values[name])
    if kind is Remote and isinstance(values.get("tls"), Mapping):
        values["tls"] = TlsFiles(**_checked(TlsFiles, values["tls"]))
    return values
