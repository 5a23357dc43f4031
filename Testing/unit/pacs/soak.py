"""Keep a receiver busy for minutes and watch that it does not grow: ``python -m Testing.unit.pacs.soak --minutes 10``.

Four senders store small studies without pause, while others send garbage, hang and come under a wrong name. Prints
memory, open files and threads every half minute, and at the end what was received, analysed and sent.
"""

from __future__ import annotations

import argparse
import logging
import resource
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from pydicom.uid import generate_uid

from ClaireDSALib.pacs.access import Limits
from ClaireDSALib.pacs.destination import Answer
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.station import Station
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.quick import QuickAnalyser

_SENDERS, _OBJECTS = 4, 5


class Sink:
    """A destination that counts."""

    name = "sink"

    def __init__(self) -> None:
        self.uids: list[str] = []

    def send(self, objects):
        self.uids += [one.identity.sop_instance_uid for one in objects]
        return [Answer(one.identity.sop_instance_uid, "sent") for one in objects]

    def has(self, one):
        return False

    def close(self):
        """Nothing is open."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.getLogger("ClaireDSALib").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name:
        folder, sink = Path(name), Sink()
        settings = ListenSettings(
            folder / "spool", port=0, health_port=-1, quiet_s=1.0, reserve_gb=0, keep_days=20 / 86400,
            limits=Limits(negotiation_s=2, pdu_s=2, idle_s=5, connections_per_minute=100_000),
        )  # fmt: skip
        with Station(settings, analyser=QuickAnalyser(folder / "ledger"), destinations=[sink]) as station:
            stop = threading.Event()
            sent = [0] * _SENDERS
            threads = [
                threading.Thread(target=_send, args=(station.port, folder, n, sent, stop)) for n in range(_SENDERS)
            ]
            threads.append(threading.Thread(target=_annoy, args=(station.port, stop), daemon=True))
            for thread in threads:
                thread.start()
            _watch(station, seconds)
            stop.set()
            for thread in threads:
                thread.join()
            while any(one["state"] != "done" for one in station.queue.studies()):
                time.sleep(0.2)
            print(
                f"sent by storescu {sum(sent)}, received {station.metrics.get('objects_received_total'):.0f},"
                f" results delivered {len(sink.uids)}, of these different {len(set(sink.uids))},"
                f" refused or cut off {station.metrics.get('connections_refused_total'):.0f}"
            )


def _send(port: int, folder: Path, number: int, sent: list[int], stop: threading.Event) -> None:
    pixels = build.raw_run(1, 16)
    while not stop.is_set():
        study, place = generate_uid(), folder / f"sender_{number}"
        place.mkdir(exist_ok=True)
        files = [build.write_run(place / f"{n}.dcm", pixels, StudyInstanceUID=study) for n in range(_OBJECTS)]
        command = ["storescu", "-aec", "CLAIRE_DSA", "127.0.0.1", str(port), *map(str, files)]
        done = subprocess.run(command, check=False, capture_output=True)
        sent[number] += len(files) if done.returncode == 0 else 0


def _annoy(port: int, stop: threading.Event) -> None:
    held: list[socket.socket] = []
    kinds = (b"GET / HTTP/1.1\r\n\r\n", b"\x01", struct.pack(">BBL", 1, 0, 0xFFFFFFFF), b"")
    while not stop.wait(0.25):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(kinds[len(held) % len(kinds)])
        held.append(connection)
        if len(held) > 40:
            for one in held:
                one.close()
            held.clear()
    for one in held:
        one.close()


def _watch(station: Station, seconds: float) -> None:
    begin = time.monotonic()
    page = resource.getpagesize()
    while (passed := time.monotonic() - begin) < seconds:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6
        files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        spool = int(subprocess.run(["du", "-sk", station.spool.folder], capture_output=True).stdout.split()[0]) / 1e3
        print(
            f"{passed:5.0f} s  {resident:6.1f} MB  {files:3} files  {threads:3} threads  spool {spool:6.2f} MB "
            f" {station.metrics.get('objects_received_total'):.0f} objects",
            flush=True,
        )
        time.sleep(min(30.0, seconds - passed))


if __name__ == "__main__":
    main()
