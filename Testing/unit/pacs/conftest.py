"""Studies to send, receivers, and a real Orthanc."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

pytest.importorskip("pynetdicom", reason='pynetdicom is not installed: pip install "claire-dsa[pacs]"')
pytest.importorskip("requests", reason='requests is not installed: pip install "claire-dsa[pacs]"')

from pynetdicom.transport import AssociationSocket

from ClaireDSALib.pacs.access import Limits
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.station import Station
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs import orthanc_server
from Testing.unit.pacs.quick import QuickAnalyser

QUIET_S = 0.3
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


@pytest.fixture(autouse=True)
def no_socket_is_left_open(monkeypatch) -> None:
    """As a client, pynetdicom leaves a socket to the garbage collector when the other side closed it first."""

    def close(self: AssociationSocket) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, AttributeError):
            self.socket.close()

    monkeypatch.setattr(AssociationSocket, "_shutdown_socket", close)


@pytest.fixture
def write_study(tmp_path) -> Callable[..., list[Path]]:
    """Write a study of small XA objects: ``write_study(n_objects)``; returns the files."""

    numbers = count()

    def write(n_objects: int = 3, *, study_uid: str = "", frames: np.ndarray | None = None, **options) -> list[Path]:
        uid = study_uid or generate_uid()
        folder = tmp_path / f"sent_{next(numbers)}"
        folder.mkdir()
        pixels = build.raw_run(2, 16) if frames is None else frames
        return [
            build.write_run(folder / f"{number:03}.dcm", pixels, StudyInstanceUID=uid, SeriesNumber=number, **options)
            for number in range(n_objects)
        ]

    return write


@pytest.fixture
def settings(tmp_path) -> ListenSettings:
    """A receiver for tests: free ports, short times."""
    return ListenSettings(
        tmp_path / "spool",
        port=0,
        health_port=0,
        quiet_s=QUIET_S,
        reserve_gb=0,
        limits=Limits(max_object_bytes=1_000_000),
        backoff=Backoff(first_s=0.05, longest_s=0.2),
    )


@pytest.fixture
def ledger(tmp_path) -> Path:
    return tmp_path / "analyses.txt"


@pytest.fixture
def listen(settings, ledger) -> Iterator[Callable[..., Station]]:
    """Start receivers with the quick analyser: ``listen(destinations=[], quiet_s=5)``; all are stopped at the end."""
    started: list[Station] = []

    def start(*, analyser=None, destinations=(), **changes) -> Station:
        chosen = replace(settings, **changes)
        station = Station(chosen, analyser=analyser or QuickAnalyser(ledger), destinations=destinations)
        started.append(station)
        station.start()
        return station

    yield start
    for station in started:
        station.stop()


@pytest.fixture
def storescu() -> Callable[..., subprocess.CompletedProcess]:
    """Send files with dcmtk's storescu: ``storescu(port, files, "-aet", "ME")``."""
    if shutil.which("storescu") is None:
        pytest.skip("storescu is not installed (Debian package dcmtk)")

    def send(port: int, files: list[Path], *options: str, called: str = "CLAIRE_DSA") -> subprocess.CompletedProcess:
        command = ["storescu", "-v", "-aec", called, *options, "127.0.0.1", str(port), *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return send


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory) -> Iterator[orthanc_server.Orthanc]:
    if reason := orthanc_server.missing():
        pytest.skip(reason)
    with orthanc_server.Orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(running_orthanc) -> orthanc_server.Orthanc:
    """An empty Orthanc."""
    running_orthanc.clear()
    return running_orthanc


def wait_until(holds: Callable[[], object], *, patience_s: float = 20.0) -> None:
    """Return once something holds; fail when it does not in time."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def states(station: Station) -> list[object]:
    """State of every study."""
    return [one["state"] for one in station.queue.studies()]
