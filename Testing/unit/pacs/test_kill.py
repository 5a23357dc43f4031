"""A receiver that is killed with SIGKILL loses nothing, and does nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ClaireDSALib.pacs.identity import identify
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.conftest import wait_until
from Testing.unit.pacs.listener import MOMENTS
from Testing.unit.pacs.orthanc_server import free_port
from Testing.unit.pacs.quick import result_uid

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL does not exist on Windows"),
    pytest.mark.skipif(shutil.which("storescu") is None, reason="storescu is not installed (Debian package dcmtk)"),
]

_LISTENER = Path(__file__).with_name("listener.py")
_ASSOCIATIONS, _KILLS = 4, 4


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen]:
    """Process that forks receivers."""
    command = [sys.executable, str(_LISTENER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


class KilledListener:
    """Starts a receiver, and again after each death."""

    def __init__(self, nursery: subprocess.Popen, folder: Path, **options: object) -> None:
        self.folder, self.port, self.pid = folder, free_port(), 0
        self._nursery = nursery
        folder.mkdir()
        self._configuration = folder / "listener.json"
        self._configuration.write_text(json.dumps({"folder": str(folder), "port": self.port, **options}))

    def start(self) -> None:
        ready = self.folder / "port.txt"
        ready.unlink(missing_ok=True)
        self._nursery.stdin.write(f"{self._configuration}\n")
        self._nursery.stdin.flush()
        self.pid = int(self._nursery.stdout.readline())
        wait_until(lambda: ready.exists() or not self.is_alive, patience_s=60)

    @property
    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait_for_death(self) -> None:
        wait_until(lambda: not self.is_alive, patience_s=60)
        assert (self.folder / "died.txt").exists(), self.log

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_alive)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")[-3000:]

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


def _send(port: int, files: list[Path]) -> bool:
    command = ["storescu", "-aec", "CLAIRE_DSA", "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_study_is_analysed_and_sent_once_when_the_receiver_dies(moment, nursery, tmp_path, write_study):
    files = write_study(2)
    uids = [identify(path).sop_instance_uid for path in files]
    # A sender that lost its answer comes back within the quiet time.
    quiet_s = 2.0 if moment in ("received", "filed") else 0.3
    listener = KilledListener(nursery, tmp_path / "listener", kill_at=moment, quiet_s=quiet_s)
    listener.start()
    try:
        arrived = _send(listener.port, files)
        listener.wait_for_death()
        assert arrived == (moment not in ("received", "filed"))  # success is only said of what is safe
        listener.start()
        if not arrived:
            assert _send(listener.port, files)  # as every sender does that got no answer
        wait_until(lambda: len(listener.lines("sent.txt")) >= len(files))
        time.sleep(0.5)  # something done twice would show
    finally:
        listener.kill()
    assert sorted(listener.lines("sent.txt")) == sorted(result_uid(uid) for uid in uids), listener.log
    analyses = listener.lines("analyses.txt")
    # Killed after the analysis but before its results were filed, it must run again: nothing is known of it.
    assert len(analyses) == (2 if moment == "analysed" else 1)
    assert set(analyses) == {" ".join(sorted(uids))}


def test_two_hundred_objects_from_four_associations_survive_random_kills(nursery, tmp_path):
    studies = [_tiny_study(tmp_path / f"study_{number}", 10, number) for number in range(20)]
    uids = {path: identify(path).sop_instance_uid for files in studies for path in files}
    listener = KilledListener(nursery, tmp_path / "listener", quiet_s=1.5)
    listener.start()
    senders = [
        threading.Thread(target=_send_until_taken, args=(listener.port, studies[number::_ASSOCIATIONS]))
        for number in range(_ASSOCIATIONS)
    ]
    chance = random.Random(7)
    try:
        for sender in senders:
            sender.start()
        for _ in range(_KILLS):
            time.sleep(chance.uniform(0.3, 1.2))
            listener.kill()
            listener.start()
        for sender in senders:
            sender.join(90)
        wait_until(lambda: len(set(listener.lines("sent.txt"))) >= len(uids), patience_s=60)
        listener.kill()
        listener.start()
        time.sleep(1.7)
    finally:
        listener.kill()
    sent = listener.lines("sent.txt")
    assert sorted(sent) == sorted(result_uid(uid) for uid in uids.values()), listener.log
    finished = listener.lines("analyses.txt")
    complete = {" ".join(sorted(uids[path] for path in files)) for files in studies}
    assert complete <= set(finished)
    assert sum(line in complete for line in finished) <= len(studies) + _KILLS  # one may have died unfiled


def _tiny_study(folder: Path, n_objects: int, number: int) -> list[Path]:
    folder.mkdir()
    study = f"1.2.826.0.1.3680043.8.498.99.{number}"
    pixels = build.raw_run(1, 8)
    return [
        build.write_run(folder / f"{one:03}.dcm", pixels, StudyInstanceUID=study, SeriesNumber=one)
        for one in range(n_objects)
    ]


def _send_until_taken(port: int, studies: list[list[Path]]) -> None:
    for files in studies:
        while not _send(port, files):
            time.sleep(0.1)
