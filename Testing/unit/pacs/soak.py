"""Keep a receiver busy for minutes and judge whether it grows: ``python -m Testing.unit.pacs.soak --minutes 10``.

Four senders (storescu) store small studies without pause, every tenth with a large object, while others send garbage,
hang and come under a wrong name, and a monitor asks for ``/healthz`` and ``/metrics``. Results go to dcmtk's storescp.
The receiver is a process of its own: memory of whoever sends and counts is not weighed.

Prints memory, open files and threads every half minute, and at the end what was received and sent, the memory at the
start, in the middle and at the end, and its slope over the last two thirds with a 95 % interval. Exit code 1 when the
interval reaches above ``--most-bytes-per-object``, or when an object was lost or delivered twice. ``--leak 1000`` keeps
a thousand bytes per object on purpose, to see that such a leak is found.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import generate_uid

from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.pacs.growth import Growth, growth

_SENDERS, _OBJECTS, _LARGE_EVERY = 4, 5, 10
_SAMPLE_EVERY_S, _SAY_EVERY_S = 3.0, 30.0
_ROOT = Path(__file__).resolve().parents[3]


class Sink:
    """dcmtk's storescp, with a line in its log for each object."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._log = folder, folder.with_suffix(".log")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = ["storescp", "-v", "-aet", "SINK", "-od", str(folder), str(self.port)]
        self._process = subprocess.Popen(command, stdout=self._log.open("w"), stderr=subprocess.STDOUT)

    def counts(self) -> tuple[int, int]:
        """Objects that came, and different ones among them."""
        came = len(re.findall(r"Received Store Request", self._log.read_text(errors="replace")))
        return came, sum(1 for _ in self._folder.iterdir())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Child:
    """The receiver's process and what it says of itself."""

    def __init__(self, folder: Path, sink_port: int, leak_bytes: int) -> None:
        arguments = [str(folder), str(sink_port), str(leak_bytes)]
        command = [sys.executable, "-m", "Testing.unit.pacs.soak_station", *arguments]
        self.process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = self._hear()
        self.port, self._health_port = told["port"], told["health_port"]

    def state(self) -> dict[str, Any]:
        """What it says, after its pages were looked at as monitoring does."""
        for page in ("healthz", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/{page}", timeout=60) as answer:
                answer.read()
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        self.process.communicate(timeout=60)

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            msg = f"the receiver ended with exit code {self.process.wait()}"
            raise RuntimeError(msg)
        return json.loads(line)


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sink = Sink(folder / "sink")
        try:
            child = Child(folder, sink.port, options.leak)
            stop, sent = threading.Event(), [0] * _SENDERS
            senders = [
                threading.Thread(target=_send, args=(child.port, folder, n, sent, stop)) for n in range(_SENDERS)
            ]
            senders.append(threading.Thread(target=_annoy, args=(child.port, stop), daemon=True))
            for thread in senders:
                thread.start()
            samples = _watch(child, options.minutes * 60)
            stop.set()
            for thread in senders:
                thread.join()
            while (last := child.state())["waiting"]:
                time.sleep(0.2)
            child.close()
            delivered, different = sink.counts()
            resent = [line for line in (folder / "log.txt").read_text().splitlines() if "sent again" in line]
        finally:
            sink.close()
    print(
        f"sent by storescu {sum(sent)}, received {last['received']}, results delivered {delivered}, of these different"
        f" {different}, refused or cut off {last['refused']}"
    )
    print("".join(f"  {line}\n" for line in resent[:5]), end="")
    once = sum(sent) == last["received"] == delivered == different
    flat = _judge(samples).high <= options.most_bytes_per_object
    print(f"{'no growth' if flat else 'GROWTH'}; {'each exactly once' if once else 'LOST OR TWICE'}")
    return 0 if flat and once else 1


def _judge(samples: Sequence[dict[str, Any]]) -> Growth:
    resident = [one["resident"] for one in samples]
    first, middle, end = (resident[k] / 1e6 for k in (0, len(samples) // 2, -1))
    print(f"memory {first:.1f} MB at the start, {middle:.1f} in the middle, {end:.1f} at the end")
    last = samples[len(samples) // 3 :]
    objects = [one["received"] for one in last]
    rate = (objects[-1] - objects[0]) / (last[-1]["at"] - last[0]["at"])
    print(f"slope over the last two thirds ({objects[-1] - objects[0]} objects, {rate:.1f} a second):")
    kinds = {
        "resident": ("resident memory", "bytes"),
        "in_use": ("handed out by malloc", "bytes"),
        "blocks": ("Python's blocks", "blocks"),
        "harness": ("resident memory of this harness, not judged", "bytes"),
    }
    found = {key: growth(objects, [one[key] for one in last]) for key in kinds}
    for key, (what, unit) in kinds.items():
        slope, low, high = found[key]
        print(f"  {what}: {slope:+.1f} {unit} per object (95 % interval {low:+.1f} to {high:+.1f})")
    return found["resident"]


def _send(port: int, folder: Path, number: int, sent: list[int], stop: threading.Event) -> None:
    small, large = build.raw_run(1, 16), build.raw_run(16, 256)
    place, turn = folder / f"sender_{number}", 0
    place.mkdir()
    while not stop.is_set():
        study = generate_uid()
        runs = [small] * _OBJECTS if turn % _LARGE_EVERY else [large, *[small] * (_OBJECTS - 1)]
        files = [build.write_run(place / f"{n}.dcm", run, StudyInstanceUID=study) for n, run in enumerate(runs)]
        command = ["storescu", "-aec", "CLAIRE_DSA", "127.0.0.1", str(port), *map(str, files)]
        done = subprocess.run(command, check=False, capture_output=True)
        sent[number] += len(files) if done.returncode == 0 else 0
        turn += 1


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


def _watch(child: Child, seconds: float) -> list[dict[str, Any]]:
    begin, said, samples = time.monotonic(), -_SAY_EVERY_S, []
    while (passed := time.monotonic() - begin) < seconds:
        harness = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        state = {**child.state(), "at": passed, "harness": harness}
        samples.append(state)
        if passed - said >= _SAY_EVERY_S:
            said = passed
            print(
                f"{passed:5.0f} s  {state['resident'] / 1e6:6.1f} MB, {state['in_use'] / 1e6:5.1f} from malloc,"
                f" {state['blocks']} blocks  {state['files']:3} files  {state['threads']:3} threads "
                f" {state['received']} objects  (harness {harness / 1e6:.1f} MB)",
                flush=True,
            )
        time.sleep(min(_SAMPLE_EVERY_S, max(0.0, seconds - passed)))
    return samples


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m Testing.unit.pacs.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--most-bytes-per-object", type=float, default=100.0)
    parser.add_argument("--leak", type=int, default=0, help="bytes kept for each object on purpose")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
