"""Where results go: a DICOMweb server or a DIMSE peer, behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.dicomweb import DicomWeb
from ClaireDSALib.pacs.http_session import HttpSession, RemoteError
from ClaireDSALib.pacs.identity import ObjectIdentity, identify
from ClaireDSALib.pacs.remote import Remote

Verdict = Literal["sent", "refused", "postponed"]

_ABOUT_THE_OBJECT = frozenset({400, 413, 415, 422})
"""HTTP statuses that judge what was sent; others, such as 401, judge the sender and may change."""


@dataclass(frozen=True)
class Outgoing:
    """One object to send."""

    path: Path
    identity: ObjectIdentity

    @classmethod
    def of(cls, path: Path) -> Outgoing:
        """Read who a file is.

        Raises
        ------
        UnusableError
        """
        return cls(path, identify(path))


@dataclass(frozen=True)
class Answer:
    """What became of one object; ``in_doubt`` when the other side may have it although it did not say so."""

    sop_instance_uid: str
    verdict: Verdict
    reason: str = ""
    in_doubt: bool = False
    retry_after_s: float = 0.0


class Destination(Protocol):
    """Takes objects."""

    @property
    def name(self) -> str:
        """Address without secrets; also the key under which deliveries are remembered."""

    def send(self, objects: Sequence[Outgoing]) -> list[Answer]:
        """Try once to send objects of one study; one answer for each, none raised."""

    def has(self, one: Outgoing) -> bool:
        """Whether an object is there already; False when that cannot be found out."""

    def close(self) -> None:
        """Close connections."""


def destination_for(remote: Remote) -> Destination:
    """Make the right kind.

    Raises
    ------
    ValueError
        When a secret or certificate cannot be read.
    """
    if remote.kind == "web":
        return WebDestination(remote)
    from ClaireDSALib.pacs.dimse import DimseDestination

    return DimseDestination(remote)


class WebDestination:
    """Sends with STOW-RS.

    Parameters
    ----------
    remote : Remote
    """

    def __init__(self, remote: Remote) -> None:
        self.name = remote.shown
        self._session = HttpSession(remote, tries=1, backoff=Backoff(first_s=0.1, longest_s=0.1))
        self._web = DicomWeb(self._session)

    def send(self, objects: Sequence[Outgoing]) -> list[Answer]:
        """See :class:`Destination`."""
        uids = [one.identity.sop_instance_uid for one in objects]
        studies = {one.identity.study_uid for one in objects}
        try:
            outcome = self._web.store([one.path for one in objects], uids, studies.pop() if len(studies) == 1 else "")
        except RemoteError as problem:
            if problem.code in _ABOUT_THE_OBJECT and len(objects) > 1:  # one of them spoils the request
                return [answer for one in objects for answer in self.send([one])]
            verdict: Verdict = "refused" if problem.code in _ABOUT_THE_OBJECT else "postponed"
            in_doubt = not problem.is_final
            return [Answer(uid, verdict, str(problem), in_doubt, problem.retry_after_s) for uid in uids]
        answers = [Answer(uid, "sent") for uid in outcome.stored]
        answers += [Answer(uid, "refused", f"{self.name}: {why}") for uid, why in outcome.refused.items()]
        answers += [
            Answer(uid, "postponed", f"{self.name}: {why}", in_doubt=True) for uid, why in outcome.postponed.items()
        ]
        return [answer for answer in answers if answer.sop_instance_uid in uids]

    def has(self, one: Outgoing) -> bool:
        """See :class:`Destination`."""
        try:
            return self._web.has(one.identity.study_uid, one.identity.sop_instance_uid)
        except RemoteError:
            return False

    def close(self) -> None:
        """See :class:`Destination`."""
        self._session.close()
