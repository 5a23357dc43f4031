"""Who may connect, and how often: allowed peers and limits on what one of them can use up."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_ADDRESSES_REMEMBERED = 10_000
ANY_TITLE = "*"


@dataclass(frozen=True)
class Peer:
    """One application entity that may send.

    Parameters
    ----------
    ae_title : str
        Calling AE title, or ``*`` for any. A title is a name, no proof: addresses or TLS certificates are.
    network : str
        Address or network it may connect from, such as ``192.0.2.7`` or ``192.0.2.0/24``.
    """

    ae_title: str
    network: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.ae_title.strip()) <= 16:
            msg = f"an AE title has 1 to 16 characters; got {self.ae_title!r}"
            raise ValueError(msg)
        self.addresses()

    @classmethod
    def parse(cls, text: str) -> Peer:
        """``TITLE@ADDRESS`` or ``TITLE@NETWORK``.

        Raises
        ------
        ValueError
        """
        title, at, network = text.rpartition("@")
        if not at:
            msg = f"a peer is written TITLE@ADDRESS, such as MODALITY@192.0.2.7; got {text!r}"
            raise ValueError(msg)
        return cls(title.strip(), network.strip())

    def addresses(self) -> _Network:
        """The network as an object."""
        try:
            return ipaddress.ip_network("127.0.0.1" if self.network == "localhost" else self.network, strict=False)
        except ValueError as problem:
            msg = f"peer {self.ae_title}: {self.network!r} is neither an address nor a network ({problem})"
            raise ValueError(msg) from problem


LOCAL_ONLY = (Peer(ANY_TITLE, "127.0.0.0/8"), Peer(ANY_TITLE, "::1"))
"""Who may send when nobody was named: this machine."""


@dataclass(frozen=True)
class Limits:
    """What a receiver grants.

    Parameters
    ----------
    max_object_bytes : int
        Larger objects are refused.
    max_associations : int
        Connections at one time.
    max_associations_per_address : int
        Of these from one address.
    connections_per_minute : int
        New connections from one address.
    negotiation_s, idle_s, pdu_s, object_s : float
        Longest time until the association request is complete, without traffic in between, for one protocol data
        unit, and for one object.
    max_pdu_bytes : int
        Longest protocol data unit, offered to peers and enforced.
    """

    max_object_bytes: int = 4 * 2**30
    max_associations: int = 16
    max_associations_per_address: int = 8
    connections_per_minute: int = 240
    negotiation_s: float = 10.0
    idle_s: float = 60.0
    pdu_s: float = 30.0
    object_s: float = 900.0
    max_pdu_bytes: int = 128 * 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                msg = f"limit {name} must be above 0 and finite; got {value}"
                raise ValueError(msg)


@dataclass
class AccessControl:
    """Judges connections and titles; safe to call from several threads.

    Parameters
    ----------
    peers : sequence of Peer
        Empty admits this machine only.
    limits : Limits
    clock : callable
        Monotonic seconds; tests replace it.
    """

    peers: Sequence[Peer]
    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _open: Counter[str] = field(default_factory=Counter)
    _budget: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    """Per address: connections it may still open, and when that was true."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._allowed = [(peer.ae_title.strip(), peer.addresses()) for peer in self.peers or LOCAL_ONLY]

    def admit(self, address: str) -> str:
        """Count a new connection; return why it is refused, empty when it is not.

        Each admitted connection must be given back with :meth:`leave`.
        """
        if not self._titles(address):
            return "the address is not among the allowed peers"
        with self._lock:
            if not self._take_from_budget(address):
                return f"more than {self.limits.connections_per_minute} connections a minute"
            if self._open.total() >= self.limits.max_associations:
                return f"{self.limits.max_associations} connections are open"
            if self._open[address] >= self.limits.max_associations_per_address:
                return f"{self.limits.max_associations_per_address} connections from this address are open"
            self._open[address] += 1
        return ""

    def leave(self, address: str) -> None:
        """A connection that was admitted has ended."""
        with self._lock:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]

    def knows(self, address: str, ae_title: str) -> bool:
        """Whether this title may come from this address."""
        titles = self._titles(address)
        return ANY_TITLE in titles or ae_title.strip() in titles

    @property
    def n_open(self) -> int:
        with self._lock:
            return self._open.total()

    def _titles(self, address: str) -> set[str]:
        try:
            parsed = ipaddress.ip_address(address.split("%")[0])
        except ValueError:
            return set()
        plain = getattr(parsed, "ipv4_mapped", None) or parsed
        return {title for title, network in self._allowed if plain.version == network.version and plain in network}

    def _take_from_budget(self, address: str) -> bool:
        """Token bucket: full at the start, refilled evenly."""
        most, now = float(self.limits.connections_per_minute), self.clock()
        left, then = self._budget.pop(address, (most, now))
        left = min(most, left + (now - then) * most / 60.0)
        allowed = left >= 1.0
        self._budget[address] = (left - 1.0 if allowed else left, now)
        if len(self._budget) > _MOST_ADDRESSES_REMEMBERED:
            self._budget.popitem(last=False)
        return allowed
