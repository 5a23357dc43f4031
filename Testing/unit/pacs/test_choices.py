"""Settings, peers, addresses and secrets: what is allowed, and that mistakes are named."""

from __future__ import annotations

import pytest

from ClaireDSALib.pacs.access import AccessControl, Limits, Peer
from ClaireDSALib.pacs.remote import Remote, is_remote, read_secret
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.tls import TlsFiles, client_context, server_context


@pytest.mark.parametrize(
    ("address", "title", "known"),
    [
        ("192.0.2.7", "XA1", True),
        ("192.0.2.8", "XA1", False),
        ("192.0.2.7", "XA2", False),
        ("198.51.100.200", "anything", True),
        ("::ffff:192.0.2.7", "XA1 ", True),
        ("2001:db8::1", "XA1", False),
        ("no address", "XA1", False),
    ],
)
def test_a_peer_is_a_title_from_a_network(address, title, known):
    access = AccessControl((Peer.parse("XA1@192.0.2.7"), Peer.parse("*@198.51.100.0/24")), Limits())
    assert access.knows(address, title) is known


def test_nobody_named_means_this_machine_only():
    access = AccessControl((), Limits())
    assert access.admit("127.0.0.1") == ""
    assert "not among the allowed" in access.admit("192.0.2.7")


def test_connections_are_limited_in_number_and_in_rate():
    now = [0.0]
    limits = Limits(max_associations=3, max_associations_per_address=2, connections_per_minute=6)
    access = AccessControl((Peer("*", "192.0.2.0/24"),), limits, clock=lambda: now[0])
    assert [access.admit("192.0.2.1") for _ in range(2)] == ["", ""]
    assert "2 connections from this address" in access.admit("192.0.2.1")
    assert access.admit("192.0.2.2") == ""
    assert "3 connections are open" in access.admit("192.0.2.2")
    access.leave("192.0.2.1")
    assert access.admit("192.0.2.1") == ""
    for _ in range(10):
        access.admit("192.0.2.1")
    assert "more than 6 connections a minute" in access.admit("192.0.2.1")
    access.leave("192.0.2.1")
    now[0] += 10.0
    assert access.admit("192.0.2.1") == ""


@pytest.mark.parametrize("text", ["XA1", "XA1@", "@192.0.2.1", "A_TITLE_THAT_IS_TOO_LONG@192.0.2.1", "XA1@300.1.1.1"])
def test_a_peer_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError):
        Peer.parse(text)


@pytest.mark.parametrize(
    ("url", "kind", "base", "study"),
    [
        ("dicomweb+https://pacs.example/dicom-web/", "web", "https://pacs.example/dicom-web", ""),
        ("https://pacs.example/a/studies/1.2.3", "web", "https://pacs.example/a", "1.2.3"),
        ("dicomweb+http://127.0.0.1:8042/dicom-web/studies/1.2/", "web", "http://127.0.0.1:8042/dicom-web", "1.2"),
    ],
)
def test_an_address_tells_service_and_study(url, kind, base, study):
    remote = Remote(url)
    assert (remote.kind, remote.web_base, remote.study_uid) == (kind, base, study)


def test_a_dimse_address_tells_title_host_and_port():
    remote = Remote("dicoms://Orthanc_1@pacs.example:2762")
    assert (remote.kind, remote.ae_title, remote.host, remote.port) == ("dimse", "Orthanc_1", "pacs.example", 2762)
    assert remote.is_encrypted


@pytest.mark.parametrize(
    "url", ["ftp://x/", "pacs.example", "dicom://pacs:104", "dicom://A@pacs", "https://me:secret@pacs/", "https://"]
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_a_secret(url):
    with pytest.raises(ValueError) as problem:
        Remote(url)
    assert "secret@" not in str(problem.value)


def test_a_secret_does_not_travel_unencrypted_unless_that_is_allowed(tmp_path):
    token = tmp_path / "token"
    token.write_text("abc\n")
    with pytest.raises(ValueError, match="would travel unencrypted"):
        Remote("http://pacs.example/x", token_file=token)
    for allowed in ("https://pacs.example/x", "http://127.0.0.1/x", "http://localhost/x"):
        assert Remote(allowed, token_file=token).has_secret
    assert Remote("http://pacs.example/x", token_file=token, plain_secrets=True).has_secret
    with pytest.raises(ValueError, match="not both"):
        Remote("https://pacs.example/x", user="me", password_file=token, token_file=token)
    with pytest.raises(ValueError, match="belong together"):
        Remote("https://pacs.example/x", user="me")


def test_a_secret_is_the_first_line_of_its_file(tmp_path):
    (tmp_path / "good").write_text("  abc  \nnot this\n")
    assert read_secret(tmp_path / "good") == "abc"
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        read_secret(tmp_path / "empty")
    with pytest.raises(ValueError, match="cannot be read"):
        read_secret(tmp_path / "missing")


def test_only_dicom_addresses_are_taken_for_remote_ones():
    assert is_remote("dicomweb+https://pacs.example/studies/1.2")
    assert not is_remote("a/folder")
    assert not is_remote("https://pacs.example")


def test_settings_come_from_json_and_mistakes_are_named(tmp_path):
    given = {
        "folder": str(tmp_path),
        "peers": [{"ae_title": "XA1", "network": "192.0.2.7"}],
        "destinations": [{"url": "https://pacs.example/dicom-web"}],
        "limits": {"max_associations": 2},
        "analysis": {"device": "cpu"},
    }
    found = ListenSettings.from_dict(given)
    assert (found.peers[0].ae_title, found.limits.max_associations, found.analysis.device) == ("XA1", 2, "cpu")
    renamed = {
        **given,
        "ae_title": "US",
        "destinations": ["dicom://A@h:1", {"url": "dicom://B@h:1", "own_ae_title": "X"}],
    }
    assert [one.own_ae_title for one in ListenSettings.from_dict(renamed).destinations] == ["US", "X"]
    for change, message in (
        ({"folders": "x"}, "unknown ListenSettings settings"),
        ({"limits": {"max_asociations": 2}}, "unknown Limits settings"),
        ({"limits": {"idle_s": 0}}, "idle_s must be above 0"),
        ({"port": 70_000}, "port must be a port number"),
        ({"quiet_s": 0}, "quiet_s must be above 0"),
        ({"ae_title": "A_TITLE_THAT_IS_TOO_LONG"}, "ae_title has 1 to 16 characters"),
        ({"destinations": [{"url": "dicom://A@h:1"}] * 2}, "every destination is named once"),
        ({"peers": ["XA1"]}, "TITLE@ADDRESS"),
        ({"tls": {"certificate": "nowhere.pem", "key": "nowhere.key"}}, "there is no file nowhere.pem"),
    ):
        with pytest.raises((ValueError, TypeError, AttributeError), match=message):
            ListenSettings.from_dict({**given, **change})
    with pytest.raises(ValueError, match="folder is missing"):
        ListenSettings.from_dict({})


def test_tls_files_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "rubbish.pem").write_text("no certificate")
    with pytest.raises(ValueError, match="belong together"):
        TlsFiles(certificate=tmp_path / "rubbish.pem")
    with pytest.raises(ValueError, match="cannot be used"):
        client_context(TlsFiles(authorities=tmp_path / "rubbish.pem"))
    with pytest.raises(ValueError, match="needs its certificate"):
        server_context(TlsFiles())
