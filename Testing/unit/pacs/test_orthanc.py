"""With a real Orthanc: what is stored comes back identical, whichever way it goes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ClaireDSALib.dsa.read import read
from ClaireDSALib.pacs.destination import destination_for
from ClaireDSALib.pacs.dicomweb import DicomWeb
from ClaireDSALib.pacs.dimse_fetch import DimseSource
from ClaireDSALib.pacs.fetch import fetch_study
from ClaireDSALib.pacs.http_session import HttpSession, RemoteError
from ClaireDSALib.pacs.identity import data_set_offset, identify
from ClaireDSALib.pacs.push import push_files
from ClaireDSALib.pacs.remote import Remote
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.conftest import states, wait_until
from Testing.unit.pacs.orthanc_server import USER, free_port
from Testing.unit.pacs.quick import result_uid

_SYNTAXES = (
    build.EXPLICIT,
    build.IMPLICIT,
    build.JPEG_LOSSLESS_SV1,
    build.JPEG_LS,
    build.JPEG_2000_LOSSLESS,
    build.RLE,
)


@pytest.fixture
def web_remote(orthanc) -> Remote:
    return Remote(orthanc.web_url, user=USER, password_file=orthanc.password_file)


@pytest.fixture
def web(web_remote):
    session = HttpSession(web_remote)
    yield DicomWeb(session, page=2)  # so that a few matches need several pages
    session.close()


@pytest.fixture
def a_mixed_study(tmp_path) -> list[Path]:
    """One study, each object in another transfer syntax."""
    study = "1.2.826.0.1.3680043.8.498.4711"
    return [
        build.write_run(tmp_path / f"{number}.dcm", transfer_syntax=syntax, StudyInstanceUID=study, SeriesNumber=number)
        for number, syntax in enumerate(_SYNTAXES)
    ]


def _data_set(path: Path) -> bytes:
    """The bytes behind the file meta group, which every program writes anew."""
    return path.read_bytes()[data_set_offset(path) :]


def _by_uid(files) -> dict[str, bytes]:
    return {identify(path).sop_instance_uid: _data_set(path) for path in files}


@pytest.mark.parametrize("way", ["dicomweb", "dimse"])
def test_what_was_pushed_is_fetched_identical_in_every_transfer_syntax(
    way, orthanc, web, web_remote, a_mixed_study, tmp_path
):
    remote = web_remote if way == "dicomweb" else Remote(orthanc.dicom_url)
    destination = destination_for(remote)
    pushed = push_files(destination, a_mixed_study)
    destination.close()
    assert (len(pushed.sent), pushed.failed, pushed.skipped) == (len(a_mixed_study), {}, {})
    source = web if way == "dicomweb" else DimseSource(remote)
    assert source.studies({"PatientID": build.PATIENT_ID}) == [identify(a_mixed_study[0]).study_uid]
    fetched = fetch_study(source, identify(a_mixed_study[0]).study_uid, tmp_path / "fetched")
    assert (fetched.n_objects, fetched.n_new, fetched.failed) == (len(a_mixed_study), len(a_mixed_study), {})
    assert _by_uid(fetched.folder.rglob("*.dcm")) == _by_uid(a_mixed_study)


def test_a_fetch_that_was_interrupted_asks_only_for_what_is_missing(orthanc, web, web_remote, a_mixed_study, tmp_path):
    push_files(destination_for(web_remote), a_mixed_study)
    study = identify(a_mixed_study[0]).study_uid
    first = fetch_study(web, study, tmp_path)
    files = sorted(first.folder.rglob("*.dcm"))
    files[0].unlink()
    (first.folder / ".half.part").write_bytes(b"half an object")
    kept = {path: path.stat().st_mtime_ns for path in files[1:]}
    again = fetch_study(web, study, tmp_path)
    assert (again.n_objects, again.n_new) == (len(files), 1)
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == kept
    assert not list(first.folder.rglob("*.part"))


def test_a_search_goes_through_all_pages(orthanc, web, web_remote, write_study):
    studies = [write_study(1) for _ in range(5)]
    push_files(destination_for(web_remote), [file for files in studies for file in files])
    found = web.studies({"PatientID": build.PATIENT_ID})
    assert sorted(found) == sorted(identify(files[0]).study_uid for files in studies)
    assert len(web.studies({"PatientID": build.PATIENT_ID}, most=3)) == 3
    assert len(web.studies({"PatientID": "PID*", "StudyDate": ""})) == 5
    assert web.studies({"PatientID": "somebody else"}) == []


def test_a_wrong_password_and_an_unknown_study_are_told_apart(orthanc, web, tmp_path):
    (tmp_path / "wrong").write_text("not the password")
    refused = DicomWeb(HttpSession(Remote(orthanc.web_url, user=USER, password_file=tmp_path / "wrong")))
    with pytest.raises(RemoteError, match="401: the user or token is not accepted"):
        refused.studies({})
    with pytest.raises(RemoteError, match=r"no study 1\.2\.3"):
        fetch_study(web, "1.2.3", tmp_path)


def test_results_arrive_in_orthanc_as_they_were_written_and_are_not_analysed_when_they_come_back(
    orthanc, listen, storescu, write_study, web_remote, ledger
):
    files = write_study(3)
    station = listen(destinations=[destination_for(web_remote)], keep_days=1)
    sent = storescu(station.port, files)
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: states(station) == ["done"])
    expected = {result_uid(identify(path).sop_instance_uid) for path in files}
    assert set(orthanc.instances()) == expected
    results = list((station.spool.folder / "results").rglob("*.dcm"))
    for path in results:
        stored = orthanc.file(identify(path).sop_instance_uid)
        (path.parent / "back").write_bytes(stored)
        assert _data_set(path.parent / "back") == _data_set(path)
    back = storescu(station.port, results)
    assert back.returncode == 0, back.stderr
    assert storescu(station.port, files).returncode == 0
    assert station.metrics.get("objects_repeated_total") == 6
    assert states(station) == ["done"]
    assert len(ledger.read_text().splitlines()) == 1
    assert orthanc.changes() >= 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves it to the collector
def test_a_destination_that_is_away_is_tried_until_it_is_there(orthanc, listen, storescu, write_study, settings):
    closed = destination_for(Remote(f"dicom://NOBODY@127.0.0.1:{free_port()}"))
    station = listen(destinations=[closed])
    files = write_study(1)
    assert storescu(station.port, files).returncode == 0
    wait_until(lambda: station.metrics.get("sending_failures_total", destination=closed.name) >= 2)
    assert states(station) == ["sending"]
    (waiting,) = station.outbox.results(identify(files[0]).study_uid)
    assert "cannot be reached" in waiting["reason"]
    station.stop()
    destination = destination_for(Remote(orthanc.dicom_url))
    destination.name = closed.name  # the operator repaired the peer
    again = listen(destinations=[destination])
    wait_until(lambda: states(again) == ["done"])
    assert len(orthanc.instances()) == 1


def test_findscu_finds_what_push_stored(orthanc, write_study):
    if shutil.which("findscu") is None:
        pytest.skip("findscu is not installed (Debian package dcmtk)")
    files = write_study(2)
    push_files(destination_for(Remote(orthanc.dicom_url)), files)
    study = identify(files[0]).study_uid
    command = ["findscu", "-S", "-aec", orthanc.title, "127.0.0.1", str(orthanc.dicom_port)]
    command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert study in done.stdout + done.stderr


def test_an_object_in_doubt_is_asked_for_before_it_is_sent_again(orthanc, web_remote, write_study):
    from ClaireDSALib.pacs.destination import Outgoing

    here, elsewhere = write_study(2)
    for remote in (web_remote, Remote(orthanc.dicom_url)):
        destination = destination_for(remote)
        destination.send([Outgoing.of(here)])
        assert destination.has(Outgoing.of(here))
        assert not destination.has(Outgoing.of(elsewhere))


def test_a_simulated_biplane_study_is_analysed_and_its_objects_come_back_readable(
    orthanc, settings, storescu, tmp_path, web_remote
):
    pytest.importorskip("highdicom", reason='highdicom is not installed: pip install "claire-dsa[pacs]"')
    pytest.importorskip("ClaireDSALib.export.dicom_objects")
    from ClaireDSALib.pacs.analysis import WorkerAnalyser
    from ClaireDSALib.pacs.station import Station
    from ClaireDSALib.pipeline.settings import Settings
    from Testing.unit.pacs.simulated import write_biplane_study

    files = write_biplane_study(tmp_path / "biplane")
    quick = Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none")
    chosen = replace(settings, destinations=(web_remote,), analysis=quick, limits=replace(settings.limits, idle_s=30.0))
    with Station(chosen, analyser=WorkerAnalyser(quick)) as station:
        sent = storescu(station.port, files)
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: states(station) == ["done"], patience_s=240)
        written = [path for path in (chosen.folder / "results").rglob("*") if path.is_file()]
        identities = {path: identify(path) for path in written}
        assert set(orthanc.instances()) == {one.sop_instance_uid for one in identities.values()}
        assert {one.study_uid for one in identities.values()} == {identify(files[0]).study_uid}
        for path, one in identities.items():
            (tmp_path / "back.dcm").write_bytes(orthanc.file(one.sop_instance_uid))
            assert _data_set(tmp_path / "back.dcm") == _data_set(path)
        reports = [path for path, one in identities.items() if ".88." in one.sop_class_uid]
        assert reports
        if shutil.which("dsrdump"):
            done = subprocess.run(["dsrdump", str(reports[0])], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "Error" not in done.stderr
    assert len(read(files).series) == 2
