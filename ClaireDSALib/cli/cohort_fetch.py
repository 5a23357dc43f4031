"""Brings the studies of a DICOMweb query into a cohort's folder; what is there is not fetched again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Tell = Callable[[str, int, int], None]
"""``tell(step, studies done, studies in all)``."""


@dataclass
class FetchedCohort:
    """What became of a query.

    Parameters
    ----------
    studies : int
        Studies with at least one object here.
    without : int
        Studies that match and have no series that may hold angiography.
    failed : dict
        Study or object -> why it is not here. The same command asks again.
    """

    studies: int = 0
    without: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def fetch_cohort(remote: Any, where: Sequence[str], folder: Path, tell: Tell) -> FetchedCohort:
    """Fetch every study that matches.

    Parameters
    ----------
    remote : ClaireDSALib.pacs.remote.Remote
    where : sequence of str
        ``KEYWORD=VALUE`` of a QIDO-RS query. Without one the address must name a study.
    folder : Path
    tell : callable

    Raises
    ------
    ValueError
        For a query that cannot be understood, or an address that is not DICOMweb.
    ConnectionError
        When the server cannot be asked.
    """
    from ClaireDSALib.pacs.dicomweb import DicomWeb
    from ClaireDSALib.pacs.fetch import ANGIOGRAPHY, fetch_study
    from ClaireDSALib.pacs.http_session import HttpSession, RemoteError

    if remote.kind != "web":
        msg = "a cohort is fetched by DICOMweb; use an address such as dicomweb+https://host/dicom-web"
        raise ValueError(msg)
    query = _query(where)
    if not query and not remote.study_uid:
        msg = "an address as source needs a query: --where KEYWORD=VALUE, such as --where StudyDate=20250101-"
        raise ValueError(msg)
    session = HttpSession(remote)
    web = DicomWeb(session)
    found = FetchedCohort()
    try:
        try:
            wanted = web.studies(query) if query else [remote.study_uid]
        except RemoteError as problem:
            raise ConnectionError(str(problem)) from problem
        for number, uid in enumerate(wanted, 1):
            tell("fetch", number - 1, len(wanted))
            try:
                if not web.instances(uid, ANGIOGRAPHY):
                    found.without += 1
                    continue
                study = fetch_study(web, uid, folder, modalities=ANGIOGRAPHY)
            except RemoteError as problem:
                found.failed[uid] = str(problem)
                continue
            found.studies += study.n_objects > 0
            found.failed |= study.failed
            tell("fetch", number, len(wanted))
    finally:
        session.close()
    return found


def _query(where: Sequence[str]) -> dict[str, str]:
    query = {}
    for one in where:
        name, equals, value = one.partition("=")
        if not equals or not name.isalnum():
            msg = f"--where is written KEYWORD=VALUE; got {one!r}"
            raise ValueError(msg)
        query[name] = value
    return query
