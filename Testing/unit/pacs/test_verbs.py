"""The command line: listen, fetch, push, and opening an address in the viewer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ClaireDSALib.cli.pacs import fetch_app, listen_app, push_app
from ClaireDSALib.pacs.identity import identify
from Testing.unit.pacs.conftest import wait_until
from Testing.unit.pacs.orthanc_server import free_port
from Testing.unit.pacs.web_server import WebServer

run = CliRunner().invoke


@pytest.fixture
def server():
    one = WebServer()
    yield one
    one.close()


def test_fetch_brings_a_study_and_says_where(server, write_study, tmp_path):
    files = write_study(2)
    server.hold(*files)
    study = identify(files[0]).study_uid
    done = run(fetch_app, [f"{server.url}/studies/{study}", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "2 objects, 2 of them new" in done.output
    again = run(fetch_app, [server.url, "--study", study, "--out", str(tmp_path / "out"), "--json"])
    assert json.loads(again.stdout)[study]["new"] == 0


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["{url}"], "name a study", 2),
        (["{url}", "--study", "../x"], "is no Study Instance UID", 2),
        (["{url}", "--where", "PatientID"], "KEYWORD=VALUE", 2),
        (["ftp://x", "--study", "1.2"], "an address begins with", 2),
        (["{url}", "--study", "1.2"], "the server has no study 1.2", 1),
    ],
)
def test_fetch_names_mistakes(arguments, message, code, server, tmp_path):
    done = run(fetch_app, [*(one.format(url=server.url) for one in arguments), "--out", str(tmp_path)])
    assert message in done.output
    assert done.exit_code == code


def test_fetch_goes_on_to_the_review(server, write_study, tmp_path):
    from Testing.unit.dsa_read import dicom_builder as build

    files = write_study(1, frames=build.raw_run(6, 48))
    server.hold(*files)
    command = [server.url, "--study", identify(files[0]).study_uid, "--out", str(tmp_path / "out")]
    done = run(fetch_app, [*command, "--review", str(tmp_path / "review")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "review" / "index.html").is_file()


def test_push_sends_a_folder_and_lists_what_it_could_not_use(server, write_study):
    files = write_study(2)
    (files[0].parent / "notes.txt").write_text("no picture")
    done = run(push_app, [str(files[0].parent), server.url])
    assert done.exit_code == 3, done.output
    assert "2 objects sent" in done.output
    assert "not used, notes.txt" in done.output
    assert set(server.received.values()) == {path.read_bytes() for path in files}


def test_listen_serves_until_it_is_told_to_end_and_shows_its_studies(tmp_path, storescu, write_study):
    port, folder = free_port(), tmp_path / "spool"
    command = [sys.executable, "-m", "ClaireDSALib.cli.main", "listen", "--folder", str(folder), "--port", str(port),
               "--health-port", "-1", "--quiet", "600", "--verbose"]  # fmt: skip
    log = tmp_path / "log.txt"
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT) as process:
        try:
            wait_until(lambda: "Ctrl+C ends it" in log.read_text() or process.poll() is not None, patience_s=120)
            second = run(listen_app, ["--folder", str(folder), "--port", "0"])
            assert "another receiver works in" in second.output
            assert second.exit_code == 1
            files = write_study(1)
            assert storescu(port, files).returncode == 0
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert process.returncode == 0, log.read_text()
    assert "new object from STORESCU" in log.read_text()
    shown = run(listen_app, ["--folder", str(folder), "--status", "--json"])
    (study,) = json.loads(shown.stdout)
    assert (study["study_uid"], study["state"]) == (identify(files[0]).study_uid, "receiving")
    retried = run(listen_app, ["--folder", str(folder), "--retry", "nobody"])
    assert retried.exit_code == 3
    assert "no study nobody was set aside" in retried.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the receiver's folder is missing"),
        (["--folder", "x", "--peer", "XA1"], "TITLE@ADDRESS"),
        (["--folder", "x", "--to", "nowhere"], "an address begins with"),
        (["--folder", "x", "--cert", "no.pem", "--key", "no.key"], "there is no file"),
        (["--folder", "x", "--settings", "missing.json"], "cannot be read"),
    ],
)
def test_listen_names_mistakes(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(listen_app, arguments)
    assert message in done.output
    assert done.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_an_address_given_to_the_viewer_is_fetched_first(server, write_study, tmp_path):
    from ClaireDSALib.cli.pacs import fetch_for_view

    files = write_study(2)
    server.hold(*files)
    folder = fetch_for_view(f"{server.url}/studies/{identify(files[0]).study_uid}", tmp_path)
    assert len(list(Path(folder).rglob("*.dcm"))) == 2
