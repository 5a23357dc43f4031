"""Fetch studies object by object, so that what arrived is never fetched again."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.pacs import durable
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.dicomweb import RemoteInstance
from ClaireDSALib.pacs.http_session import RemoteError
from ClaireDSALib.pacs.identity import identify

Told = Callable[[int, int], None]
"""``told(objects that are here, objects in all)``."""

ANGIOGRAPHY = ("XA", "RF", "OT", "SC")
"""Modalities of series that may hold runs."""


@dataclass(frozen=True)
class Fetched:
    """What became of one study."""

    folder: Path
    n_objects: int
    n_new: int
    failed: dict[str, str] = field(default_factory=dict)
    """SOP instance UID to the reason why it is not here."""


class Source(Protocol):
    """A DICOMweb server or a DIMSE peer."""

    def studies(self, query: Mapping[str, str], *, most: int | None = None) -> list[str]:
        """Study Instance UIDs that match."""

    def instances(self, study_uid: str, modalities: Sequence[str] = ()) -> list[RemoteInstance]:
        """Objects of a study."""

    def retrieve(self, study_uid: str, series_uid: str, sop_instance_uid: str = "") -> Iterator[Iterator[bytes]]:
        """Objects of a series, or one of it, each as pieces of a file."""


def fetch_study(
    source: Source,
    study_uid: str,
    folder: Path,
    *,
    modalities: Sequence[str] = (),
    rounds: int = 4,
    backoff: Backoff | None = None,
    told: Told | None = None,
) -> Fetched:
    """Bring a study into ``folder``, one file for each object, named by its SOP instance UID.

    What is there from an interrupted call is kept. A series of which nothing is here comes in one
    request; single objects that are missing are asked for one by one.

    Parameters
    ----------
    source : Source
    study_uid : str
    folder : Path
        Made when missing; files appear in ``folder/<study>/<series>/``.
    modalities : sequence of str
        Only series of these; empty means all.
    rounds : int
        How often what is still missing is asked for.
    backoff : Backoff, optional
        Waiting times between rounds.
    told : callable, optional

    Returns
    -------
    Fetched

    Raises
    ------
    RemoteError
        When the study cannot be listed, or is not there.
    OSError
        When the disk does not take it.
    """
    listed = source.instances(study_uid, modalities)
    if not listed:
        what = f" with series of {', '.join(modalities)}" if modalities else ""
        msg = f"the server has no study {study_uid}{what}"
        raise RemoteError(msg, is_final=True)
    target = folder / study_uid
    _clean(target)
    before = sum(_path(target, one).is_file() for one in listed)
    reasons: dict[str, str] = {}
    for number in range(rounds):
        missing = [one for one in listed if not _path(target, one).is_file()]
        if not missing:
            break
        if number:
            time.sleep((backoff or Backoff(first_s=0.5, longest_s=20.0)).wait_s(number))
        reasons.clear()
        for request in _requests(missing, listed):
            try:
                for _ in _receive(source, request, target):
                    if told is not None:
                        told(sum(_path(target, one).is_file() for one in listed), len(listed))
            except RemoteError as problem:
                reasons.update({one.sop_instance_uid: str(problem) for one in request})
    here = [one for one in listed if _path(target, one).is_file()]
    failed = {
        one.sop_instance_uid: reasons.get(one.sop_instance_uid, "the server did not send it")
        for one in listed
        if one not in here
    }
    return Fetched(target, len(here), len(here) - before, failed)


def _requests(missing: Iterable[RemoteInstance], listed: Iterable[RemoteInstance]) -> list[list[RemoteInstance]]:
    """Whole series where nothing is here yet, single objects elsewhere."""
    whole, wanted = defaultdict(list), defaultdict(list)
    for one in listed:
        whole[one.series_uid].append(one)
    for one in missing:
        wanted[one.series_uid].append(one)
    requests: list[list[RemoteInstance]] = []
    for series_uid, ones in wanted.items():
        requests += [ones] if len(ones) == len(whole[series_uid]) else [[one] for one in ones]
    return requests


def _receive(source: Source, request: Sequence[RemoteInstance], target: Path) -> Iterator[Path]:
    """Store each object of an answer at once and yield where; what was not asked for is thrown away."""
    first, wanted = request[0], {one.sop_instance_uid: one for one in request}
    single = first.sop_instance_uid if len(request) == 1 else ""
    for data in source.retrieve(first.study_uid, first.series_uid, single):
        part = target / f".{uuid.uuid4().hex}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                for chunk in data:
                    stream.write(chunk)
            found = wanted.get(_who(part))
            if found is not None:
                durable.sync_file(part)
                durable.move_into_place(part, _path(target, found))
                yield _path(target, found)
        finally:
            durable.remove(part)


def _who(path: Path) -> str:
    try:
        return identify(path).sop_instance_uid
    except UnusableError:
        return ""


def _path(target: Path, one: RemoteInstance) -> Path:
    return target / one.series_uid / f"{one.sop_instance_uid}.dcm"


def _clean(target: Path) -> None:
    """Delete pieces that an interrupted call left."""
    for path in target.glob(".*.part"):
        durable.remove(path)
