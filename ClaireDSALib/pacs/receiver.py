"""The Storage and Verification SCP: an object is answered with success once it is on the disk and in the queue."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.pacs import durable
from ClaireDSALib.pacs.access import AccessControl, Limits, Peer
from ClaireDSALib.pacs.identity import ObjectIdentity, file_digest, identify, short_key
from ClaireDSALib.pacs.metrics import Metrics
from ClaireDSALib.pacs.spool import IncomingObject, Spool
from ClaireDSALib.pacs.storage_classes import is_to_analyse, presentation_contexts
from ClaireDSALib.pacs.study_queue import StudyQueue
from ClaireDSALib.pacs.tls import TlsFiles, server_context

if TYPE_CHECKING:
    from pynetdicom.events import Event

    from ClaireDSALib.pacs.transport import GuardedServer

_LOG = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NOT_WHAT_WAS_PROMISED = 0xA900
CANNOT_UNDERSTAND = 0xC000
"""Answers to C-STORE (PS3.4 table B.2-1)."""

_REJECTED_PERMANENT, _BY_USER = 1, 1
_CALLING_TITLE_NOT_RECOGNISED = 3
_QUEUE_FULL_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


class Receiver:
    """Listens for associations.

    Parameters
    ----------
    spool : Spool
    queue : StudyQueue
    metrics : Metrics
    ae_title : str
        Own title; associations must call it.
    peers : sequence of Peer
        Who may send; empty admits this machine only.
    limits : Limits
    tls : TlsFiles, optional
        Encrypts, and with ``authorities`` demands a certificate of every peer.
    """

    def __init__(
        self,
        spool: Spool,
        queue: StudyQueue,
        metrics: Metrics,
        *,
        ae_title: str = "CLAIRE_DSA",
        peers: Sequence[Peer] = (),
        limits: Limits | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._spool, self._queue, self._metrics = spool, queue, metrics
        self._ae_title, self._limits = ae_title, limits or Limits()
        self.access = AccessControl(tuple(peers), self._limits)
        self._tls = server_context(tls) if tls is not None and tls.is_set else None
        self._server: GuardedServer | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> int:
        """Listen, and return the port (of use when 0 was asked for).

        Raises
        ------
        OSError
            When the address cannot be bound.
        """
        from pynetdicom import AE, evt

        from ClaireDSALib.pacs.transport import GuardedServer

        entity = AE(ae_title=self._ae_title)
        entity.supported_contexts = presentation_contexts()
        entity.require_called_aet = True
        entity.maximum_pdu_size = self._limits.max_pdu_bytes
        entity.maximum_associations = self._limits.max_associations
        entity.acse_timeout, entity.network_timeout = self._limits.negotiation_s, self._limits.idle_s
        entity.dimse_timeout = self._limits.idle_s
        self._server = GuardedServer(
            entity,
            (host, port),
            self._ae_title,
            entity.supported_contexts,
            ssl_context=self._tls,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_REJECTED, self._on_rejected),
                (evt.EVT_C_STORE, self._on_store),
            ],
            access=self.access,
            begin_object=lambda: self._spool.receive(self._limits.max_object_bytes),
            refused=self.refused,
        )
        entity._servers.append(self._server)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()
        return int(self._server.server_address[1])

    @property
    def is_listening(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Take no more connections and end those that are open."""
        server, self._server = self._server, None
        if server is None:
            return
        associations = server.active_associations
        server.shutdown()
        for association in associations:
            association.abort()

    def refused(self, address: str, reason: str) -> None:
        """Note that somebody was turned away."""
        self._metrics.count("connections_refused_total")
        _LOG.warning("refused %s: %s", address, reason)

    def _on_requested(self, event: Event) -> None:
        assoc = event.assoc
        request: Any = assoc.requestor.primitive
        title = str(getattr(request, "calling_ae_title", "") or "")
        address = assoc.requestor.address
        if not title:  # the connection ended before anything was asked
            assoc.is_aborted = True
            return
        if not self.access.knows(address, title):
            self.refused(address, f"AE title {title!r} is not allowed from this address")
            assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_USER, _CALLING_TITLE_NOT_RECOGNISED)
            assoc.kill()

    def _on_rejected(self, event: Event) -> None:
        request: Any = event.assoc.requestor.primitive
        self.refused(event.assoc.requestor.address, f"association to {request.called_ae_title!r} was rejected")

    def _on_store(self, event: Event) -> int:
        from ClaireDSALib.pacs.transport import incoming_of

        request: Any = event.request
        peer = f"{event.assoc.requestor.ae_title.strip()}@{event.assoc.requestor.address}"
        incoming = incoming_of(request)
        if incoming is None:
            return self._refuse(peer, CANNOT_UNDERSTAND, "damaged", "the request has no data set")
        try:
            return self._store(incoming, str(request.AffectedSOPInstanceUID), str(request.AffectedSOPClassUID), peer)
        except OSError as problem:
            if problem.errno in durable.NO_SPACE:
                return self._refuse(peer, OUT_OF_RESOURCES, "disk_full", "the disk is full")
            _LOG.exception("an object of %s could not be stored", peer)
            return self._refuse(peer, OUT_OF_RESOURCES, "disk_error", f"the disk failed ({problem.strerror})")
        except sqlite3.OperationalError as problem:
            full = getattr(problem, "sqlite_errorcode", 0) & 0xFF in _QUEUE_FULL_CODES
            why = "disk_full" if full else "queue_error"
            return self._refuse(peer, OUT_OF_RESOURCES, why, f"the queue cannot be written ({problem})")

    def _store(self, incoming: IncomingObject, sop_instance_uid: str, sop_class_uid: str, peer: str) -> int:
        if incoming.is_oversized:
            size, most = incoming.n_bytes, self._limits.max_object_bytes
            return self._refuse(peer, OUT_OF_RESOURCES, "oversized", f"{size} bytes, at most {most} are taken")
        if not self._spool.has_room():
            return self._refuse(peer, OUT_OF_RESOURCES, "disk_full", "the disk's reserve is reached")
        incoming.finish()
        try:
            identity = identify(incoming.path)
        except UnusableError as problem:
            self._spool.set_aside(incoming.path, f"from {peer}: {problem}")
            return self._refuse(peer, CANNOT_UNDERSTAND, "damaged", str(problem))
        if (identity.sop_instance_uid, identity.sop_class_uid) != (sop_instance_uid, sop_class_uid):
            reason = "the data set names another object than the command"
            self._spool.set_aside(incoming.path, f"from {peer}: {reason}")
            return self._refuse(peer, NOT_WHAT_WAS_PROMISED, "mismatch", reason)
        self._file(incoming, identity, peer)
        return SUCCESS

    def _file(self, incoming: IncomingObject, identity: ObjectIdentity, peer: str) -> None:
        digest = file_digest(incoming.path)
        place = self._spool.keep(incoming.path, identity, digest)
        arrival, unneeded = self._queue.add_object(
            identity,
            path=place,
            n_bytes=incoming.n_bytes,
            digest=digest,
            peer=peer,
            wakes=is_to_analyse(identity.sop_class_uid),
        )
        if unneeded:
            durable.remove(self._spool.folder / unneeded)
        if arrival in ("new", "newer"):
            self._metrics.count("objects_received_total")
            self._metrics.count("received_bytes_total", incoming.n_bytes)
        else:
            self._metrics.count("objects_repeated_total")
        _LOG.debug("study %s: %s object from %s", short_key(identity.study_uid), arrival, peer)

    def _refuse(self, peer: str, status: int, label: str, reason: str) -> int:
        self._metrics.count("objects_refused_total", reason=label)
        _LOG.warning("refused an object of %s with status %04X: %s", peer, status, reason)
        return status


def adopt_orphans(spool: Spool, queue: StudyQueue) -> int:
    """File objects that lie in the spool but not in the queue: the process ended between the two; return how many.

    Older versions of an object, kept for an analysis under way then, are deleted.
    """
    known = queue.known_paths()
    instances = {place.rpartition("-")[0] for place in known}
    orphans = []
    for place in spool.stored_objects():
        if place not in known and place.rpartition("-")[0] in instances:
            durable.remove(spool.folder / place)
        elif place not in known:
            orphans.append(place)
    for place in orphans:
        path = spool.folder / place
        try:
            identity = identify(path)
        except UnusableError as problem:
            spool.set_aside(path, f"found in the spool: {problem}")
            continue
        digest = file_digest(path)
        _, unneeded = queue.add_object(
            identity,
            path=place,
            n_bytes=path.stat().st_size,
            digest=digest,
            peer="found in the spool",
            wakes=is_to_analyse(identity.sop_class_uid),
        )
        if unneeded:
            durable.remove(spool.folder / unneeded)
    for folder in (spool.folder / "objects").iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    return len(orphans)
