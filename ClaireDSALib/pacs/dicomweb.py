"""DICOMweb (PS3.18): find with QIDO-RS, fetch with WADO-RS, store with STOW-RS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ClaireDSALib.dsa.strict_json import parse_json
from ClaireDSALib.pacs.http_session import HttpSession, RemoteError, body_errors
from ClaireDSALib.pacs.identity import is_uid
from ClaireDSALib.pacs.multipart import DicomBody, MultipartError, MultipartReader, boundary_of

_T = TypeVar("_T")

_JSON = "application/dicom+json"
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 200
_MOST_PAGES = 10_000
_MAX_JSON_BYTES = 256 * 2**20
_CHUNK_BYTES = 64 * 1024
"""A broken connection loses no more than this of what had come."""

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_MODALITY = "00080060"
_STORED, _FAILED, _REFERENCED, _REASON = "00081199", "00081198", "00081155", "00081197"
_TEMPORARY_FAILURES = frozenset({0x0110, 0xA700, 0xA701, 0xA702, 0xA703})
"""Failure reasons (PS3.18 table I.2-2) that may pass: processing failure, out of resources."""


@dataclass(frozen=True)
class RemoteInstance:
    """One object that a server says it has."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    modality: str = ""


@dataclass(frozen=True)
class StoreOutcome:
    """What a server did with objects: SOP instance UIDs, and why the others were not taken."""

    stored: frozenset[str]
    refused: Mapping[str, str]
    """For good."""
    postponed: Mapping[str, str]
    """May be taken later."""


class DicomWeb:
    """Client of one server.

    Parameters
    ----------
    session : HttpSession
    page : int
        Number of matches asked for at a time.
    """

    def __init__(self, session: HttpSession, *, page: int = _PAGE) -> None:
        self._session, self._page = session, page

    def studies(self, query: Mapping[str, str], *, most: int | None = None) -> list[str]:
        """Study Instance UIDs that match, such as ``{"PatientID": "7", "StudyDate": "20260101-"}``.

        Raises
        ------
        RemoteError
        """
        found: dict[str, None] = {}
        for match in self._matches("/studies", query):
            uid = _first(match, _STUDY)
            if is_uid(uid):
                found[uid] = None
            if most is not None and len(found) >= most:
                break
        return list(found)

    def instances(self, study_uid: str, modalities: Sequence[str] = ()) -> list[RemoteInstance]:
        """Every object of a study, or those of some modalities; series by series.

        Raises
        ------
        RemoteError
        """
        found = []
        for series in self._matches(f"/studies/{_checked(study_uid)}/series", {}):
            series_uid, modality = _first(series, _SERIES), _first(series, _MODALITY)
            if not is_uid(series_uid) or (modalities and modality not in modalities):
                continue
            path = f"/studies/{study_uid}/series/{series_uid}/instances"
            uids = [_first(match, _INSTANCE) for match in self._matches(path, {})]
            found += [RemoteInstance(study_uid, series_uid, uid, modality) for uid in uids if is_uid(uid)]
        return list(dict.fromkeys(found))

    def has(self, study_uid: str, sop_instance_uid: str) -> bool:
        """Whether the server has an object already.

        Raises
        ------
        RemoteError
        """
        path = f"/studies/{_checked(study_uid)}/instances"
        found = self._matches(path, {"SOPInstanceUID": _checked(sop_instance_uid)})
        return any(_first(match, _INSTANCE) == sop_instance_uid for match in found)

    def retrieve(self, study_uid: str, series_uid: str, sop_instance_uid: str = "") -> Iterator[Iterator[bytes]]:
        """Yield each object of a series, or one of it, as pieces of a file as stored: not transcoded.

        Raises
        ------
        RemoteError
            Also in the midst, when the connection breaks.
        """
        path = f"/studies/{_checked(study_uid)}/series/{_checked(series_uid)}"
        path += f"/instances/{_checked(sop_instance_uid)}" if sop_instance_uid else ""
        with self._session.get(path, _ANY_DICOM) as response:
            chunks = response.iter_content(_CHUNK_BYTES)
            content_type = response.headers.get("Content-Type", "")
            yield from (self._translated(data) for data in self._translated(_parts(chunks, content_type)))

    def store(self, paths: Sequence[Path], uids: Sequence[str], study_uid: str = "") -> StoreOutcome:
        """Send files in one request.

        Parameters
        ----------
        paths : sequence of Path
        uids : sequence of str
            Their SOP instance UIDs.
        study_uid : str
            The study they all belong to; empty when they do not.

        Raises
        ------
        RemoteError
            When there was no answer to rely on: some objects may have been stored.
        """
        body = DicomBody(tuple(paths))
        headers = {"Content-Type": body.content_type, "Accept": _JSON}
        path = f"/studies/{_checked(study_uid)}" if study_uid else "/studies"
        with self._session.request("POST", path, data=body, headers=headers) as response:
            answer = self._json(response)
            code = response.status_code
        return _outcome(answer if isinstance(answer, Mapping) else {}, uids, code)

    def _matches(self, path: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Yield matches page by page; a server that ignores paging ends it by repeating itself."""
        last: object = None
        for number in range(_MOST_PAGES):
            page_query = {**query, "limit": self._page, "offset": number * self._page}
            with self._session.get(path, _JSON, page_query) as response:
                matches = self._json(response) if response.status_code != 204 else []
            if not isinstance(matches, list):
                msg = f"{self._session.remote.shown}: a search must answer with a list"
                raise RemoteError(msg, is_final=True)
            if matches == last:
                return
            last = matches
            yield from (match for match in matches if isinstance(match, Mapping))
            if len(matches) < self._page:
                return

    def _translated(self, source: Iterator[_T]) -> Iterator[_T]:
        """The same, with errors of the connection and of the body as ours; they come up where somebody reads."""
        shown = self._session.remote.shown
        try:
            yield from source
        except MultipartError as problem:
            msg = f"{shown}: {problem}"
            raise RemoteError(msg) from problem
        except body_errors() as problem:
            msg = f"{shown}: the connection broke ({type(problem).__name__})"
            raise RemoteError(msg) from problem

    def _json(self, response: Any) -> Any:
        data = bytearray()
        for chunk in self._translated(response.iter_content(_CHUNK_BYTES)):
            data += chunk
            if len(data) > _MAX_JSON_BYTES:
                msg = f"{self._session.remote.shown}: the answer has more than {_MAX_JSON_BYTES} bytes"
                raise RemoteError(msg, is_final=True)
        try:
            return parse_json(data) if data.strip() else []
        except ValueError as problem:
            msg = f"{self._session.remote.shown}: the answer is no JSON"
            raise RemoteError(msg) from problem


def _parts(chunks: Iterator[bytes], content_type: str) -> Iterator[Iterator[bytes]]:
    for _, data in MultipartReader(chunks, boundary_of(content_type)):
        yield data


def _outcome(answer: Mapping[str, Any], uids: Sequence[str], code: int) -> StoreOutcome:
    """Sort out a store response (PS3.18 section 10.5.3.3); a success that lists nothing is a success of all."""
    stored = {_first(item, _REFERENCED) for item in _items(answer, _STORED)}
    refused: dict[str, str] = {}
    postponed: dict[str, str] = {}
    for item in _items(answer, _FAILED):
        uid, number = _first(item, _REFERENCED), _number(item, _REASON)
        target = postponed if number in _TEMPORARY_FAILURES else refused
        target[uid] = f"failure reason {number:04X}"
    if code in (200, 204) and not stored and not refused and not postponed:
        stored = set(uids)
    for uid in uids:
        if uid not in stored and uid not in refused and uid not in postponed:
            postponed[uid] = f"the answer (status {code}) does not mention it"
    return StoreOutcome(frozenset(stored & set(uids)), refused, postponed)


def _checked(uid: str) -> str:
    if not is_uid(uid):
        msg = f"{uid!r} is no DICOM UID"
        raise ValueError(msg)
    return uid


def _items(dataset: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    values = _values(dataset, tag)
    return [one for one in values if isinstance(one, Mapping)]


def _first(dataset: Mapping[str, Any], tag: str) -> str:
    values = _values(dataset, tag)
    return str(values[0]).strip() if values and isinstance(values[0], str) else ""


def _number(dataset: Mapping[str, Any], tag: str) -> int:
    values = _values(dataset, tag)
    return values[0] if values and isinstance(values[0], int) else 0


def _values(dataset: Mapping[str, Any], tag: str) -> list[Any]:
    element = dataset.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else []
