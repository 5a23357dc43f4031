"""Find with C-FIND and fetch with C-GET, for archives that do not speak DICOMweb.

Offers what :class:`~ClaireDSALib.pacs.dicomweb.DicomWeb` offers to :func:`~ClaireDSALib.pacs.fetch.fetch_study`. C-GET
rather than C-MOVE: objects come back over the same association, so nobody must know an address of ours.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context

from ClaireDSALib.pacs.dicomweb import RemoteInstance
from ClaireDSALib.pacs.exact_pause import EXACT_PAUSE
from ClaireDSALib.pacs.http_session import RemoteError
from ClaireDSALib.pacs.identity import is_uid
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.storage_classes import transfer_syntaxes
from ClaireDSALib.pacs.tls import client_context

_FIND, _GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
_IMPLICIT = "1.2.840.10008.1.2"
_PENDING = (0xFF00, 0xFF01)
_MOST_CONTEXTS = 127
"""128 in one association, one of which is the C-GET itself."""
_CHUNK_BYTES = 256 * 1024


class DimseSource:
    """Query/Retrieve SCU of one peer, study root.

    Parameters
    ----------
    remote : Remote

    Raises
    ------
    ValueError
        When the TLS files cannot be used.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._tls = (client_context(remote.tls), remote.host) if remote.is_encrypted else None

    def studies(self, query: Mapping[str, str], *, most: int | None = None) -> list[str]:
        """Study Instance UIDs that match; see :meth:`DicomWeb.studies`.

        Raises
        ------
        RemoteError
        """
        found = self._find("STUDY", {**query, "StudyInstanceUID": query.get("StudyInstanceUID", "")})
        uids = dict.fromkeys(str(one.get("StudyInstanceUID", "")) for one in found)
        return [uid for uid in uids if is_uid(uid)][:most]

    def instances(self, study_uid: str, modalities: Sequence[str] = ()) -> list[RemoteInstance]:
        """Every object of a study, or those of some modalities; see :meth:`DicomWeb.instances`.

        Raises
        ------
        RemoteError
        """
        found = []
        wanted = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": "", "Modality": ""}
        for series in self._find("SERIES", wanted):
            series_uid, modality = str(series.get("SeriesInstanceUID", "")), str(series.get("Modality", "") or "")
            if not is_uid(series_uid) or (modalities and modality not in modalities):
                continue
            uids = [str(one.get("SOPInstanceUID", "")) for one in self._images(study_uid, series_uid)]
            found += [RemoteInstance(study_uid, series_uid, uid, modality) for uid in uids if is_uid(uid)]
        return found

    def retrieve(self, study_uid: str, series_uid: str, sop_instance_uid: str = "") -> Iterator[Iterator[bytes]]:
        """Yield each object of a series, or one of it, as pieces of a file; see :meth:`DicomWeb.retrieve`.

        Raises
        ------
        RemoteError
        """
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "IMAGE" if sop_instance_uid else "SERIES"
        identifier.StudyInstanceUID, identifier.SeriesInstanceUID = study_uid, series_uid
        if sop_instance_uid:
            identifier.SOPInstanceUID = sop_instance_uid
        classes = sorted({str(one.get("SOPClassUID", "")) for one in self._images(study_uid, series_uid)} - {""})
        with tempfile.TemporaryDirectory(prefix="claire-dsa-get-") as name:
            came: list[Path] = []
            assoc = self._associate_for(classes, Path(name), came)
            try:
                if not any(one.abstract_syntax == _GET for one in assoc.accepted_contexts):
                    msg = f"{self._remote.shown} offers no C-GET; use its DICOMweb address"
                    raise RemoteError(msg, is_final=True)
                for status, _ in assoc.send_c_get(identifier, _GET):
                    yield from _take(came)
                    self._check(status.get("Status"))
            finally:
                if assoc.is_established:
                    assoc.release()
            yield from _take(came)

    def _images(self, study_uid: str, series_uid: str) -> list[Dataset]:
        return self._find(
            "IMAGE",
            {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": "", "SOPClassUID": ""},
        )

    def _find(self, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            try:
                setattr(query, keyword, value)
            except (ValueError, TypeError) as problem:
                msg = f"{keyword}={value} cannot be searched for: {problem}"
                raise ValueError(msg) from problem
        assoc = self._associate([build_context(_FIND, _IMPLICIT)])
        found = []
        try:
            for status, match in assoc.send_c_find(query, _FIND):
                self._check(status.get("Status"))
                if match is not None:
                    found.append(match)
        finally:
            if assoc.is_established:
                assoc.release()
        return found

    def _associate_for(self, classes: Sequence[str], folder: Path, came: list[Path]) -> Any:
        """One context for each class and syntax, so that the peer sends objects as it has them."""
        contexts = [build_context(uid, syntax) for uid in classes for syntax in transfer_syntaxes()][:_MOST_CONTEXTS]

        def keep(event: Any) -> int:
            path = folder / f"{uuid.uuid4().hex}.dcm"
            path.write_bytes(event.encoded_dataset())
            came.append(path)
            return 0x0000

        roles = [build_role(uid, scp_role=True) for uid in classes]
        return self._associate([build_context(_GET, _IMPLICIT), *contexts], roles, [(evt.EVT_C_STORE, keep)])

    def _associate(self, contexts: Sequence[Any], roles: Sequence[Any] = (), handlers: Sequence[Any] = ()) -> Any:
        entity = AE(ae_title=self._remote.own_ae_title)
        entity.connection_timeout = min(15.0, self._remote.timeout_s)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._remote.timeout_s
        options: dict[str, Any] = {} if self._tls is None else {"tls_args": self._tls}
        assoc = entity.associate(
            self._remote.host,
            self._remote.port,
            contexts=list(contexts),
            ae_title=self._remote.ae_title,
            ext_neg=list(roles),
            evt_handlers=[EXACT_PAUSE, *handlers],
            **options,
        )
        if not assoc.is_established:
            what = "rejected the association" if assoc.is_rejected else "does not answer"
            msg = f"{self._remote.shown} {what}"
            raise RemoteError(msg, is_final=assoc.is_rejected)
        return assoc

    def _check(self, status: int | None) -> None:
        if status is None:
            msg = f"{self._remote.shown}: the connection broke"
            raise RemoteError(msg)
        if status != 0x0000 and status not in _PENDING and status >> 12 != 0xB:
            msg = f"{self._remote.shown} answered {status:04X}"
            raise RemoteError(msg)


def _take(came: list[Path]) -> Iterator[Iterator[bytes]]:
    """Hand out what arrived, and delete it."""
    while came:
        path = came.pop(0)
        yield _pieces(path)
        path.unlink()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
