"""A recorded session, damaged in every way: the receiver drops the connection, and nothing else happens."""

from __future__ import annotations

import random
import socket
import threading
from dataclasses import replace

import pytest

from ClaireDSALib.pacs.destination import Outgoing
from ClaireDSALib.pacs.dimse import DimseDestination
from ClaireDSALib.pacs.remote import Remote
from Testing.unit.pacs.conftest import wait_until

_N_SESSIONS = 40


def _record(port: int, path) -> bytes:
    """Everything that a sender says in a session that stores one object."""
    said = bytearray()
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))

        def back() -> None:
            while data := server.recv(65536):
                client.sendall(data)

        answering = threading.Thread(target=back)
        answering.start()
        while data := client.recv(65536):
            said.extend(data)
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        answering.join()
        client.close()
        server.close()

    relaying = threading.Thread(target=relay)
    relaying.start()
    through = Remote(f"dicom://CLAIRE_DSA@127.0.0.1:{listener.getsockname()[1]}")
    assert DimseDestination(through).send([Outgoing.of(path)])[0].verdict == "sent"
    relaying.join()
    listener.close()
    return bytes(said)


def _damaged(session: bytes, chance: random.Random) -> bytes:
    data = bytearray(session)
    kind = chance.randrange(4)
    if kind == 0:  # a few bytes changed, most often in headers
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(min(len(data), chance.choice((200, len(data)))))] = chance.randrange(256)
    elif kind == 1:  # cut off
        del data[chance.randrange(len(data)) :]
    elif kind == 2:  # a piece missing
        place = chance.randrange(len(data))
        del data[place : place + chance.randrange(1, 200)]
    else:  # a piece twice
        place = chance.randrange(len(data))
        data[place:place] = data[place : place + chance.randrange(1, 400)]
    return bytes(data)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_damaged_sessions_do_no_harm(listen, settings, write_study):
    station = listen(quiet_s=600, limits=replace(settings.limits, negotiation_s=2.0, pdu_s=2.0, idle_s=2.0))
    session = _record(station.port, *write_study(1))
    assert len(session) > 1000
    for seed in range(_N_SESSIONS):
        with socket.create_connection(("127.0.0.1", station.port)) as connection:
            connection.settimeout(0.02)
            try:
                connection.sendall(_damaged(session, random.Random(seed)))
                connection.recv(4096)
            except OSError:
                pass
    wait_until(lambda: station._receiver.access.n_open == 0, patience_s=60)
    assert station.problems() == []
    assert not list((station.spool.folder / "incoming").iterdir())
    good = Remote(f"dicom://CLAIRE_DSA@127.0.0.1:{station.port}")
    assert DimseDestination(good).send([Outgoing.of(*write_study(1))])[0].verdict == "sent"
