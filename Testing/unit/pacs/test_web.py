"""The DICOMweb client against a server that fails, breaks off and forgets."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.destination import Outgoing, WebDestination
from ClaireDSALib.pacs.dicomweb import DicomWeb
from ClaireDSALib.pacs.fetch import fetch_study
from ClaireDSALib.pacs.http_session import HttpSession, RemoteError
from ClaireDSALib.pacs.identity import identify
from ClaireDSALib.pacs.push import push_files
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.tls import TlsFiles
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.web_server import WebServer

_FAST = Backoff(first_s=0.01, longest_s=0.02)


@pytest.fixture
def server():
    one = WebServer()
    yield one
    one.close()


@pytest.fixture
def open_session():
    opened = []

    def start(url: str, **options) -> HttpSession:
        opened.append(HttpSession(Remote(url, timeout_s=5.0, **options), tries=3, backoff=_FAST))
        return opened[-1]

    yield start
    for session in opened:
        session.close()


def _study(files: list[Path]) -> str:
    return identify(files[0]).study_uid


def test_a_request_that_fails_in_passing_is_repeated(server, open_session, write_study, tmp_path):
    files = write_study(2)
    server.hold(*files)
    answers = iter([(503, {"Retry-After": "0"}, b"busy"), (500, {}, b"oops")])
    server.trouble = lambda method, path: next(answers, None)
    fetched = fetch_study(DicomWeb(open_session(server.url)), _study(files), tmp_path / "out")
    assert (fetched.n_objects, fetched.failed) == (2, {})


def test_a_request_that_fails_for_good_is_not_repeated(server, open_session):
    server.trouble = lambda method, path: (403, {}, b"no")
    with pytest.raises(RemoteError, match="403: this is not allowed") as problem:
        DicomWeb(open_session(server.url)).studies({})
    assert problem.value.is_final
    assert len(server.requests) == 1


def test_a_retrieval_that_breaks_off_keeps_what_came_and_fetches_the_rest(server, open_session, write_study, tmp_path):
    files = write_study(4, SeriesInstanceUID="1.2.3.4", frames=build.raw_run(2, 192))
    server.hold(*files)
    server.break_after = int(2.5 * files[0].stat().st_size)  # within the third object
    fetched = fetch_study(DicomWeb(open_session(server.url)), _study(files), tmp_path / "out", backoff=_FAST)
    assert (fetched.n_objects, fetched.failed) == (4, {})
    retrievals = [path for _, path, headers in server.requests if "multipart" in headers["Accept"]]
    assert len(retrievals) == 3
    assert [path.count("/instances/") for path in retrievals] == [0, 1, 1]  # the series, then the two that are missing
    assert {path.read_bytes() for path in fetched.folder.rglob("*.dcm")} == {path.read_bytes() for path in files}


def test_what_a_server_lists_but_does_not_send_is_named(server, open_session, write_study, tmp_path):
    files = write_study(2)
    server.hold(*files)
    lost = identify(files[1]).sop_instance_uid
    series = identify(files[1]).series_uid
    server.trouble = lambda method, path: (404, {}, b"") if f"{series}/instances/{lost}" in path else None
    fetched = fetch_study(DicomWeb(open_session(server.url)), _study(files), tmp_path / "out", rounds=2, backoff=_FAST)
    assert fetched.n_objects == 1
    assert list(fetched.failed) == [lost]
    assert "404" in fetched.failed[lost]


def test_an_object_that_was_not_asked_for_is_thrown_away(server, open_session, write_study, tmp_path):
    files, others = write_study(1), write_study(1)
    server.hold(*files)
    listed = DicomWeb(open_session(server.url)).instances(_study(files))
    server.files = {listed[0].sop_instance_uid: others[0]}

    class Liar(DicomWeb):
        def instances(self, study_uid, modalities=()):
            return listed

        def retrieve(self, study_uid, series_uid, sop_instance_uid=""):
            yield iter([others[0].read_bytes()])

    fetched = fetch_study(Liar(open_session(server.url)), _study(files), tmp_path / "out", rounds=1)
    assert fetched.n_objects == 0
    assert not list(fetched.folder.rglob("*.dcm"))
    assert not list(fetched.folder.rglob("*.part"))


def test_a_token_is_sent_and_none_is_taken_from_elsewhere(server, open_session, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "netrc").write_text("machine localhost login thief password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    DicomWeb(open_session(server.url, token_file=tmp_path / "token")).studies({})
    DicomWeb(open_session(server.url)).studies({})
    assert [headers.get("Authorization") for _, _, headers in server.requests] == ["Bearer abc", None]


@pytest.mark.parametrize("body", [b"no json", b'{"an": "object"}', b"[[[", b"\xff\xfe"])
def test_an_answer_that_is_no_list_of_matches_is_refused(body, server, open_session):
    server.trouble = lambda method, path: (200, {}, body)
    with pytest.raises(RemoteError):
        DicomWeb(open_session(server.url)).studies({})


def test_matches_of_any_shape_do_no_harm(server, open_session):
    strange = b'[1, null, {"0020000D": 5}, {"0020000D": {"Value": []}}, {"0020000D": {"Value": ["../../etc"]}}]'
    server.trouble = lambda method, path: (200, {}, strange if "offset=0" in path else b"[]")
    assert DicomWeb(open_session(server.url), page=5).studies({}) == []


def test_a_server_that_ignores_paging_is_not_asked_for_ever(server, open_session):
    page = b'[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]'
    server.trouble = lambda method, path: (200, {}, page)
    assert DicomWeb(open_session(server.url), page=1).studies({}) == ["1.2"]
    assert len(server.requests) == 2


def test_stored_refused_and_postponed_objects_are_told_apart(server, write_study):
    files = write_study(3)
    uids = [identify(path).sop_instance_uid for path in files]
    server.refused = {uids[1]: 0xA900, uids[2]: 0xA700}
    destination = WebDestination(Remote(server.url))
    answers = {one.sop_instance_uid: one.verdict for one in destination.send([Outgoing.of(path) for path in files])}
    destination.close()
    assert answers == dict(zip(uids, ("sent", "refused", "postponed"), strict=True))
    assert server.received[uids[0]] == files[0].read_bytes()


def test_one_object_that_spoils_a_request_does_not_keep_the_others(server, write_study):
    files = [*write_study(1, study_uid="1.7"), *write_study(1, study_uid="1.7", frames=build.raw_run(2, 32))]
    limit = files[0].stat().st_size + 500
    server.trouble = lambda method, path: (
        (413, {}, b"") if int(server.requests[-1][2]["Content-Length"]) > limit else None
    )
    pushed = push_files(WebDestination(Remote(server.url)), files, rounds=1)
    assert pushed.sent == (identify(files[0]).sop_instance_uid,)
    assert "413" in pushed.failed[identify(files[1]).sop_instance_uid]


def test_a_destination_that_says_no_to_us_is_tried_again_later(server, write_study):
    server.trouble = lambda method, path: (401, {"Retry-After": "7"}, b"")
    destination = WebDestination(Remote(server.url))
    (answer,) = destination.send([Outgoing.of(write_study(1)[0])])
    assert (answer.verdict, answer.retry_after_s) == ("postponed", 7.0)
    server.trouble = lambda method, path: (415, {}, b"")
    (answer,) = destination.send([Outgoing.of(write_study(1)[0])])
    assert answer.verdict == "refused"
    destination.close()


def test_files_that_are_no_objects_are_skipped_by_a_push(server, write_study, tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    (path,) = write_study(1)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(path.read_bytes())
    pushed = push_files(WebDestination(Remote(server.url)), [path, copy, tmp_path / "readme.txt"], rounds=1)
    assert (len(pushed.sent), sorted(pushed.skipped)) == (1, ["copy.dcm", "readme.txt"])


def test_a_certificate_is_checked(open_session, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for name in ("server", "stranger"):
        command = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509"]
        command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    server = WebServer(context)
    try:
        trusted = TlsFiles(authorities=tmp_path / "server.pem")
        assert DicomWeb(open_session(server.url, tls=trusted)).studies({}) == []
        for tls in (TlsFiles(), TlsFiles(authorities=tmp_path / "stranger.pem")):
            with pytest.raises(RemoteError, match="TLS failed"):
                DicomWeb(open_session(server.url, tls=tls)).studies({})
    finally:
        server.close()


def test_a_server_that_is_away_is_named(open_session):
    from Testing.unit.pacs.orthanc_server import free_port

    url = f"dicomweb+http://127.0.0.1:{free_port()}/x"
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:\d+/x does not answer"):
        DicomWeb(open_session(url)).studies({})
