"""Sends objects with C-STORE, exactly as they lie on disk, and asks with C-FIND and C-ECHO."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config

from ClaireDSALib.pacs.destination import Answer, Outgoing, Verdict
from ClaireDSALib.pacs.exact_pause import EXACT_PAUSE
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.tls import client_context

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
_MOST_CONTEXTS = 128
"""Presentation contexts of one association (their ids are odd numbers below 256)."""
_PENDING = (0xFF00, 0xFF01)

# Bytes go from the file to the network as they are. pynetdicom would decode and encode them otherwise.
_config.STORE_SEND_CHUNKED_DATASET = True


class DimseDestination:
    """A storage SCP.

    Parameters
    ----------
    remote : Remote

    Raises
    ------
    ValueError
        When the TLS files cannot be used.
    """

    def __init__(self, remote: Remote) -> None:
        self.name = remote.shown
        self._remote = remote
        self._tls = (client_context(remote.tls), remote.host) if remote.is_encrypted else None

    def send(self, objects: Sequence[Outgoing]) -> list[Answer]:
        """See :class:`~ClaireDSALib.pacs.destination.Destination`."""
        contexts: dict[str, set[str]] = defaultdict(set)
        for one in objects:
            contexts[one.identity.sop_class_uid].add(one.identity.transfer_syntax_uid)
        pairs = [(sop_class, syntax) for sop_class, syntaxes in contexts.items() for syntax in sorted(syntaxes)]
        assoc = self._associate(pairs[:_MOST_CONTEXTS])
        if not assoc.is_established:
            reason = f"{self.name} {self._why_not(assoc)}"
            return [Answer(one.identity.sop_instance_uid, "postponed", reason) for one in objects]
        answers = []
        try:
            for number, one in enumerate(objects):
                answers.append(self._send_one(assoc, one, number))
        finally:
            _release(assoc)
        return answers

    def has(self, one: Outgoing) -> bool:
        """See :class:`~ClaireDSALib.pacs.destination.Destination`; a peer without C-FIND cannot tell."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID = one.identity.study_uid
        query.SeriesInstanceUID = one.identity.series_uid
        query.SOPInstanceUID = one.identity.sop_instance_uid
        assoc = self._associate([(STUDY_ROOT_FIND, "1.2.840.10008.1.2")])
        if not assoc.is_established:
            return False
        try:
            answers = list(assoc.send_c_find(query, STUDY_ROOT_FIND)) if assoc.accepted_contexts else []
        except (ValueError, RuntimeError):
            return False
        finally:
            _release(assoc)
        uid = one.identity.sop_instance_uid
        return any(s.get("Status") in _PENDING and found is not None and found.get("SOPInstanceUID") == uid
                   for s, found in answers)  # fmt: skip

    def echo(self) -> bool:
        """Whether the peer answers a C-ECHO."""
        assoc = self._associate([(VERIFICATION, "1.2.840.10008.1.2")])
        if not assoc.is_established:
            return False
        try:
            return assoc.send_c_echo().get("Status") == 0x0000
        finally:
            _release(assoc)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _associate(self, pairs: Sequence[tuple[str, str]]) -> Any:
        entity = AE(ae_title=self._remote.own_ae_title)
        entity.connection_timeout = min(15.0, self._remote.timeout_s)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._remote.timeout_s
        for sop_class, syntax in pairs:
            entity.add_requested_context(sop_class, syntax)
        options: dict[str, Any] = {} if self._tls is None else {"tls_args": self._tls}
        return entity.associate(
            self._remote.host, self._remote.port, ae_title=self._remote.ae_title, evt_handlers=[EXACT_PAUSE], **options
        )

    def _why_not(self, assoc: Any) -> str:
        """Why there is no association; a failed connection looks like an abort to pynetdicom."""
        if assoc.is_rejected:
            return "rejected the association"
        try:
            socket.create_connection((self._remote.host, self._remote.port), timeout=5.0).close()
        except OSError as problem:
            return f"cannot be reached ({problem})"
        return "aborted the association"

    def _send_one(self, assoc: Any, one: Outgoing, number: int) -> Answer:
        uid = one.identity.sop_instance_uid
        if not assoc.is_established:
            return Answer(uid, "postponed", f"{self.name} ended the association")
        try:
            status = assoc.send_c_store(one.path, msg_id=number % 65535 + 1).get("Status")
        except (ValueError, AttributeError) as problem:  # no accepted context for this object
            return Answer(uid, "refused", f"{self.name} does not accept it ({problem})")
        except (RuntimeError, OSError) as problem:
            return Answer(uid, "postponed", f"{self.name}: {problem}", in_doubt=True)
        if status is None:
            return Answer(uid, "postponed", f"{self.name} gave no answer", in_doubt=True)
        return Answer(uid, _verdict(status), f"{self.name} answered {status:04X}")


def _verdict(status: int) -> Verdict:
    """Sort an answer to C-STORE (PS3.4 table B.2-1): warnings mean it was stored."""
    if status == 0x0000 or status >> 12 == 0xB:
        return "sent"
    return "postponed" if status >> 8 == 0xA7 or status == 0x0110 else "refused"


def _release(assoc: Any) -> None:
    if assoc.is_established:
        assoc.release()
