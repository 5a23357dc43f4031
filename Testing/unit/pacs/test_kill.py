"""A receiver that is killed with SIGKILL loses nothing, and does nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
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
_ASSOCIATIONS = 4


class KilledListener:
    """Starts a receiver, and again after each death."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self._configuration = folder / "listener.json"
        self._configuration.write_text(json.dumps({"folder": str(folder), "port": self.port, **options}))
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        ready = self.folder / "port.txt"
        ready.unlink(missing_ok=True)
        command = [sys.executable, str(_LISTENER), str(self._configuration)]
        self._log = (self.folder / "log.txt").open("ab")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        wait_until(lambda: ready.exists() or self._process.poll() is not None, patience_s=60)
        assert self._process.poll() is None or (self.folder / "died.txt").exists(), self.log

    def wait_for_death(self) -> None:
        assert self._process.wait(60) == -signal.SIGKILL, self.log

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

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
def test_a_study_is_analysed_and_sent_once_when_the_receiver_dies(moment, tmp_path, write_study):
    files = write_study(2)
    uids = [identify(path).sop_instance_uid for path in files]
    listener = KilledListener(tmp_path / "listener", kill_at=moment)
    listener.start()
    try:
        arrived = _send(listener.port, files)
        listener.wait_for_death()
        assert arrived == (moment not in ("received", "filed"))  # success is only said of what is safe
        listener.start()
        if not arrived:
            assert _send(listener.port, files)  # as every sender does that got no answer
        wait_until(lambda: len(listener.lines("sent.txt")) >= len(files))
        time.sleep(0.6)  # longer than the quiet time: something done twice would show
    finally:
        listener.kill()
    assert sorted(listener.lines("sent.txt")) == sorted(result_uid(uid) for uid in uids), listener.log
    analyses = listener.lines("analyses.txt")
    # Killed after the analysis but before its results were filed, it must run again: nothing is known of it.
    assert len(analyses) == (2 if moment == "analysed" else 1)
    assert set(analyses) == {" ".join(sorted(uids))}


def test_two_hundred_objects_from_four_associations_survive_random_kills(tmp_path):
    studies = [_tiny_study(tmp_path / f"study_{number}", 10, number) for number in range(20)]
    uids = {path: identify(path).sop_instance_uid for files in studies for path in files}
    listener = KilledListener(tmp_path / "listener", quiet_s=1.5)
    listener.start()
    senders = [
        threading.Thread(target=_send_until_taken, args=(listener.port, studies[number::_ASSOCIATIONS]))
        for number in range(_ASSOCIATIONS)
    ]
    chance = random.Random(7)
    try:
        for sender in senders:
            sender.start()
        for _ in range(4):
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
