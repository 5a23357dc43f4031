"""What the receiver takes and what it refuses, with which answer, and that no peer can harm it."""

from __future__ import annotations

import errno
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from ClaireDSALib.pacs.access import Peer
from ClaireDSALib.pacs.destination import Outgoing
from ClaireDSALib.pacs.dimse import DimseDestination
from ClaireDSALib.pacs.identity import data_set_offset, file_digest, identify
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.spool import IncomingObject
from ClaireDSALib.pacs.storage_classes import STORAGE_CLASSES, transfer_syntaxes
from ClaireDSALib.pacs.tls import TlsFiles
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.conftest import states, wait_until

_XA = build.XA


def _to(station, **options) -> DimseDestination:
    return DimseDestination(Remote(f"dicom://CLAIRE_DSA@127.0.0.1:{station.port}", **options))


def _send(station, *files: Path, **options):
    return _to(station, **options).send([Outgoing.of(path) for path in files])


def _stored(station) -> list[Path]:
    return sorted((station.spool.folder / "objects").glob("*/*.dcm"))


def _incoming(station) -> list[Path]:
    return list((station.spool.folder / "incoming").iterdir())


def test_echoscu_is_answered(listen):
    if shutil.which("echoscu") is None:
        pytest.skip("echoscu is not installed (Debian package dcmtk)")
    station = listen()
    command = ["echoscu", "-aec", "CLAIRE_DSA", "127.0.0.1", str(station.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("syntax", [*build.LOSSLESS, *build.LOSSY, build.JPEG_BASELINE])
def test_an_object_is_kept_as_it_was_sent_in_every_transfer_syntax(syntax, receiver_only, tmp_path):
    path = build.write_run(
        tmp_path / "run.dcm", build.raw_run(2, 16, 8), transfer_syntax=syntax, SOPInstanceUID=build.generate_uid()
    )
    (answer,) = _send(receiver_only, path)
    assert answer.verdict == "sent", answer
    kept = [one for one in _stored(receiver_only) if identify(one) == identify(path)]
    assert [file_digest(one) for one in kept] == [file_digest(path)]
    assert data_set_offset(kept[0]) > 0
    assert identify(kept[0]).transfer_syntax_uid == syntax


@pytest.fixture(scope="module")
def receiver_only(tmp_path_factory):
    """One receiver for many tests that look at nothing but their own objects."""
    from ClaireDSALib.pacs.settings import ListenSettings
    from ClaireDSALib.pacs.station import Station
    from Testing.unit.pacs.quick import QuickAnalyser

    folder = tmp_path_factory.mktemp("receiver")
    chosen = ListenSettings(folder / "spool", port=0, health_port=-1, quiet_s=600, reserve_gb=0)
    with Station(chosen, analyser=QuickAnalyser(folder / "ledger"), destinations=[]) as station:
        yield station


def test_every_storage_class_and_decodable_syntax_is_offered(receiver_only):
    entity = AE(ae_title="ASKER")
    for uid in STORAGE_CLASSES:
        entity.add_requested_context(uid, build.EXPLICIT)
    for syntax in transfer_syntaxes():
        entity.add_requested_context(_XA, syntax)
    entity.requested_contexts = entity.requested_contexts[:128]
    assoc = entity.associate("127.0.0.1", receiver_only.port, ae_title="CLAIRE_DSA")
    try:
        assert assoc.is_established
        assert assoc.rejected_contexts == []
    finally:
        assoc.release()
    assert len(transfer_syntaxes()) == 16


def test_a_ct_image_is_not_negotiated(receiver_only, tmp_path):
    path = build.write_run(tmp_path / "ct.dcm", sop_class="1.2.840.10008.5.1.4.1.1.2")
    (answer,) = _send(receiver_only, path)
    assert answer.verdict != "sent"


def test_the_same_object_again_is_acknowledged_and_kept_once(listen, write_study):
    station = listen(quiet_s=600)
    (path,) = write_study(1)
    assert [one.verdict for _ in range(3) for one in _send(station, path)] == ["sent"] * 3
    assert len(_stored(station)) == 1
    assert station.metrics.get("objects_repeated_total") == 2
    assert _incoming(station) == []


def test_a_changed_object_replaces_the_older_one_and_the_study_is_analysed_again(listen, write_study, ledger, tmp_path):
    station = listen()
    (path,) = write_study(1)
    _send(station, path)
    wait_until(lambda: states(station) == ["done"])
    changed = build.build(build.raw_run(2, 16, seed=9), SOPInstanceUID=identify(path).sop_instance_uid,
                          StudyInstanceUID=identify(path).study_uid)  # fmt: skip
    newer = build.save(changed, tmp_path / "newer.dcm")
    _send(station, newer)
    wait_until(lambda: len(ledger.read_text().splitlines()) == 2 and states(station) == ["done"])
    (study,) = station.queue.studies()
    assert (study["revision"], study["analyses"]) == (2, 2)


def test_an_object_that_comes_late_completes_the_study_again(listen, write_study, ledger):
    station = listen()
    files = write_study(3)
    _send(station, *files[:2])
    wait_until(lambda: states(station) == ["done"])
    _send(station, files[2])
    wait_until(lambda: states(station) == ["done"] and len(ledger.read_text().splitlines()) == 2)
    assert ledger.read_text().splitlines()[1] == " ".join(sorted(identify(one).sop_instance_uid for one in files))


def test_an_unknown_title_and_an_unknown_address_are_refused_with_a_log_line(listen, write_study, caplog):
    station = listen(peers=(Peer("MODALITY", "127.0.0.1"),))
    files = write_study(1)
    (answer,) = _send(station, *files, own_ae_title="STRANGER")
    assert "rejected" in answer.reason
    assert "AE title 'STRANGER' is not allowed" in caplog.text
    assert [one.verdict for one in _send(station, *files, own_ae_title="MODALITY")] == ["sent"]
    elsewhere = listen(peers=(Peer("MODALITY", "192.0.2.0/24"),), folder=station.settings.folder.with_name("two"))
    (answer,) = _send(elsewhere, *files, own_ae_title="MODALITY")
    assert answer.verdict == "postponed"
    assert "the address is not among the allowed peers" in caplog.text
    assert _stored(elsewhere) == []


def test_a_wrong_called_title_is_refused(listen, write_study, caplog):
    station = listen()
    wrong = DimseDestination(Remote(f"dicom://OTHER@127.0.0.1:{station.port}"))
    (answer,) = wrong.send([Outgoing.of(path) for path in write_study(1)])
    assert "rejected" in answer.reason
    assert "association to 'OTHER' was rejected" in caplog.text


def test_an_oversized_object_is_refused_and_the_next_one_taken(listen, write_study, settings, caplog):
    station = listen(limits=replace(settings.limits, max_object_bytes=20_000))
    large = write_study(1, frames=build.raw_run(8, 64))
    small = write_study(1)
    answers = _send(station, *large, *small)
    assert [one.verdict for one in answers] == ["postponed", "sent"]
    assert "A700" in answers[0].reason
    assert "at most 20000 are taken" in caplog.text
    assert len(_stored(station)) == 1
    assert _incoming(station) == []


def test_a_full_disk_is_answered_with_out_of_resources_and_nothing_is_left_behind(listen, write_study, monkeypatch):
    station = listen(quiet_s=600)
    (path,) = write_study(1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(IncomingObject, "finish", full)
        (answer,) = _send(station, path)
    assert (answer.verdict, "A700" in answer.reason) == ("postponed", True)
    with monkeypatch.context() as patch:
        patch.setattr(station.spool, "_free_bytes", lambda folder: -1)
        (answer,) = _send(station, path)
        assert "A700" in answer.reason
        assert station.problems() == ["the disk's reserve is reached; objects are refused"]
    with monkeypatch.context() as patch:
        patch.setattr(station.queue, "add_object", _raise(sqlite3.OperationalError("database or disk is full")))
        (answer,) = _send(station, path)
        assert "A700" in answer.reason
    assert station.metrics.get("objects_refused_total", reason="disk_full") >= 2
    assert [one.verdict for one in _send(station, path)] == ["sent"]
    assert _incoming(station) == []


def _raise(problem: Exception):
    def fail(*_, **__):
        raise problem

    return fail


def test_a_write_that_fails_in_the_midst_is_remembered_and_the_file_removed(tmp_path):
    incoming = IncomingObject(Path("/dev/full") if Path("/dev/full").exists() else tmp_path / "no" / "folder", 100)
    incoming.write(b"x" * 10)
    with pytest.raises(OSError):
        incoming.finish()


def test_damaged_and_mislabelled_objects_are_refused_and_set_aside_with_the_reason(listen, tmp_path, write_study):
    station = listen()
    without_study = build.build(build.raw_run(1, 8), StudyInstanceUID=None)
    assoc = _associate(station)
    try:
        assert assoc.send_c_store(without_study).Status == 0xC000
        (path,) = write_study(1)
        mislabelled = build.build(build.raw_run(1, 8))
        payload = _stolen_identity(assoc, path, mislabelled)
        assert payload == 0xA900
    finally:
        assoc.release()
    reasons = sorted(path.read_text() for path in (station.spool.folder / "aside").glob("*.txt"))
    assert len(reasons) == 2
    assert any("StudyInstanceUID is missing" in reason for reason in reasons)
    assert any("another object than the command" in reason for reason in reasons)
    assert _stored(station) == []


def _associate(station):
    entity = AE(ae_title="SENDER")
    entity.add_requested_context(_XA, build.EXPLICIT)
    assoc = entity.associate("127.0.0.1", station.port, ae_title="CLAIRE_DSA")
    assert assoc.is_established
    return assoc


def _stolen_identity(assoc, path: Path, dataset: Dataset) -> int:
    """Send one object's data set under the name of another, as no well-meaning sender does."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID = _XA
    request.AffectedSOPInstanceUID = identify(path).sop_instance_uid
    request.DataSet = BytesIO(encode(dataset, False, True))
    assoc._reactor_checkpoint.clear()  # or the association would take the answer itself
    wait_until(lambda: assoc._is_paused)
    assoc.dimse.send_msg(request, assoc.accepted_contexts[0].context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    return answer.Status


def test_garbage_ends_its_connection_only(listen, write_study, settings, caplog):
    station = listen(limits=replace(settings.limits, negotiation_s=2.0))
    for garbage in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 64,
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"x" * 100,
        struct.pack(">BBL", 4, 0, 10) + b"x" * 10,
        struct.pack(">BBL", 1, 0, 100) + b"\xff" * 100,
    ):
        with socket.create_connection(("127.0.0.1", station.port)) as connection:
            connection.sendall(garbage)
            connection.settimeout(10)
            _read_to_end(connection)
    assert "does not speak DICOM" in caplog.text
    assert "announced a data unit of 4294967295 bytes" in caplog.text
    wait_until(lambda: station._receiver.access.n_open == 0)
    assert [one.verdict for one in _send(station, *write_study(1))] == ["sent"]


def _read_to_end(connection: socket.socket) -> None:
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass


def test_damaged_messages_on_an_association_end_it_only(listen, write_study, caplog):
    station = listen()
    for command in (b"\x03" + b"\xff" * 50, b"\x03", b"\x01" + b"\0" * 70_000):
        assoc = _associate(station)
        identifier = assoc.accepted_contexts[0].context_id
        unit = struct.pack(">LB", len(command) + 1, identifier) + command
        assoc.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, len(unit)) + unit)
        wait_until(lambda assoc=assoc: not assoc.is_established)
    assert "sent a damaged message" in caplog.text
    assert [one.verdict for one in _send(station, *write_study(1))] == ["sent"]


def test_slow_and_silent_connections_are_cut_off_while_others_are_served(listen, write_study, settings, caplog):
    station = listen(limits=replace(settings.limits, negotiation_s=1.5, pdu_s=1.5))
    slow = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(3)]
    slow[0].sendall(b"\x01")  # a word, and then one byte at a time
    dribble = threading.Thread(target=_dribble, args=(slow[1],))
    dribble.start()
    assert [one.verdict for one in _send(station, *write_study(1))] == ["sent"]
    wait_until(lambda: station._receiver.access.n_open == 0)
    dribble.join()
    for connection in slow:
        connection.close()
    assert "took more than 1.5 s for 6 bytes" in caplog.text
    assert "took more than 1.5 s for 200 bytes" in caplog.text
    assert "no association request within 1.5 s" in caplog.text


def _dribble(connection: socket.socket) -> None:
    data = struct.pack(">BBL", 1, 0, 200) + b"\x00" * 200
    for place in range(len(data)):
        try:
            connection.sendall(data[place : place + 1])
        except OSError:
            return
        time.sleep(0.02)


def test_an_association_that_stalls_within_an_object_leaves_no_file(listen, settings):
    station = listen(limits=replace(settings.limits, idle_s=1.0))
    assoc = _associate(station)
    context = assoc.accepted_contexts[0].context_id
    command = Dataset()
    command.CommandGroupLength = 0
    command.AffectedSOPClassUID, command.CommandField, command.MessageID = _XA, 1, 1
    command.Priority, command.CommandDataSetType, command.AffectedSOPInstanceUID = 0, 0, "1.2.3"
    encoded = encode(command, True, True)
    for fragment in (b"\x03" + encoded, b"\x00" + b"half an object"):
        unit = struct.pack(">LB", len(fragment) + 1, context) + fragment
        assoc.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, len(unit)) + unit)
    wait_until(lambda: len(_incoming(station)) == 1)
    wait_until(lambda: not _incoming(station))  # the idle time is over
    assert _stored(station) == []
    assoc.abort()


def test_more_connections_than_allowed_are_refused(listen, settings, caplog):
    station = listen(limits=replace(settings.limits, max_associations_per_address=2, connections_per_minute=5))
    opened = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(3)]
    wait_until(lambda: "2 connections from this address are open" in caplog.text)
    opened += [socket.create_connection(("127.0.0.1", station.port)) for _ in range(4)]
    wait_until(lambda: "more than 5 connections a minute" in caplog.text)
    for connection in opened:
        connection.close()
    wait_until(lambda: station._receiver.access.n_open == 0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, a certificate for this machine and one for a client, and one that nobody signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*command: str) -> None:
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "stranger"):
        openssl(*new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-out", f"{name}.pem", "-extfile", "names")  # fmt: skip
    return folder


def _tls(folder: Path, name: str, authority: str | None = "ca") -> TlsFiles:
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / f"{authority}.pem" if authority else None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves failed sockets
def test_with_tls_only_peers_with_a_signed_certificate_are_served(listen, certificates, write_study, caplog):
    station = listen(tls=_tls(certificates, "server"))
    (path,) = write_study(1)

    def verdict(scheme: str, tls: TlsFiles) -> str:
        remote = Remote(f"{scheme}://CLAIRE_DSA@localhost:{station.port}", tls=tls, timeout_s=3.0)
        return DimseDestination(remote).send([Outgoing.of(path)])[0].verdict

    assert verdict("dicoms", _tls(certificates, "client")) == "sent"
    assert verdict("dicoms", TlsFiles(authorities=certificates / "ca.pem")) == "postponed"
    assert verdict("dicoms", TlsFiles(certificates / "stranger.pem", certificates / "stranger.key",
                                      certificates / "ca.pem")) == "postponed"  # fmt: skip
    assert verdict("dicoms", _tls(certificates, "client", "stranger")) == "postponed"  # a server we do not trust
    assert verdict("dicom", TlsFiles()) == "postponed"
    assert "the TLS handshake failed" in caplog.text
    silent = socket.create_connection(("127.0.0.1", station.port))  # a handshake that never begins
    assert verdict("dicoms", _tls(certificates, "client")) == "sent"
    silent.close()


def test_old_tls_is_refused(listen, certificates):
    station = listen(tls=TlsFiles(certificates / "server.pem", certificates / "server.key"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", station.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(plain)
