"""A DICOMweb query as source: fetched once, what fails is told, the rest is analysed. The server is made up."""

import dataclasses
import io

import pytest

from ClaireDSALib.cli.cohort_fetch import fetch_cohort

pytest.importorskip("requests", reason="fetching needs requests")

from ClaireDSALib.pacs import dicomweb, http_session
from ClaireDSALib.pacs.remote import Remote

REMOTE = Remote("dicomweb+http://127.0.0.1:1/dicom-web")


@pytest.fixture
def a_server(write_runs, monkeypatch):
    """Two studies with a run each, one without angiography, one that the server refuses; returns what was asked."""
    import pydicom

    folder = write_runs("one", "two")
    files = {pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID: path for path in folder.glob("*.dcm")}
    asked: list[str] = []

    class MadeUpWeb:
        def __init__(self, session):
            pass

        def studies(self, query):
            asked.append(str(query))
            return [*files, "1.2.3", "1.2.4"]

        def instances(self, study_uid, modalities=()):
            if study_uid == "1.2.4":
                msg = "the server refused the request (403)"
                raise http_session.RemoteError(msg, is_final=True)
            if study_uid not in files:
                return []
            header = pydicom.dcmread(files[study_uid], stop_before_pixels=True)
            return [dicomweb.RemoteInstance(study_uid, header.SeriesInstanceUID, header.SOPInstanceUID, "XA")]

        def retrieve(self, study_uid, series_uid, sop_instance_uid=""):
            asked.append(study_uid)
            yield iter(io.BytesIO(files[study_uid].read_bytes()))

    monkeypatch.setattr(dicomweb, "DicomWeb", MadeUpWeb)
    return asked


def test_a_query_is_fetched_once_and_what_fails_is_told(a_server, quick_cohort, tmp_path):
    target = tmp_path / "out" / "work" / "fetched"
    for fetched in (2, 0):
        a_server.clear()
        found = fetch_cohort(REMOTE, ["StudyDate=2025-", "ModalitiesInStudy=XA"], target, lambda *_: None)
        assert (found.studies, found.without) == (2, 1)
        assert found.failed == {"1.2.4": "the server refused the request (403)"}
        assert a_server[0] == "{'StudyDate': '2025-', 'ModalitiesInStudy': 'XA'}"
        assert len(a_server) == 1 + fetched
    assert quick_cohort(target).runs == 2, "the folder lies within the cohort's own and is searched all the same"


@pytest.mark.parametrize("where", [[], ["StudyDate"], ["=2025"], ["a/b=1"]])
def test_a_query_that_asks_for_nothing_in_particular_is_refused(where):
    with pytest.raises(ValueError, match="--where"):
        fetch_cohort(REMOTE, where, None, None)


def test_a_cohort_is_not_fetched_by_dimse():
    with pytest.raises(ValueError, match="DICOMweb"):
        fetch_cohort(dataclasses.replace(REMOTE, url="dicom://PACS@127.0.0.1:104"), ["StudyDate=2025-"], None, None)
