"""Receivers in processes of their own, to be killed.

``python listener.py`` reads names of settings files, one a line, and forks a receiver for each; it answers with
the process id. Everything is imported once, so that a restart takes no time.

``kill_at`` names a moment at which it kills itself, once: a marker file remembers that it did. Destinations are
a folder: what arrives there is appended to ``sent.txt``, one line for each object.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ClaireDSALib.pacs.access import Limits
from ClaireDSALib.pacs.backoff import Backoff
from ClaireDSALib.pacs.destination import Answer, Outgoing
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.station import Station
from ClaireDSALib.pacs.storage_classes import presentation_contexts
from ClaireDSALib.pacs.transport import GuardedServer
from Testing.unit.pacs.quick import QuickAnalyser

WARM = (presentation_contexts(), GuardedServer)
"""Imported before the first fork."""
MOMENTS = ("received", "filed", "analysed", "to_send", "handed_over", "sent")


class FolderDestination:
    """Remembers what was handed over on disk, as an archive does."""

    name = "folder"

    def __init__(self, ledger: Path, die: Die) -> None:
        self._ledger, self._die = ledger, die

    def send(self, objects: Sequence[Outgoing]) -> list[Answer]:
        self._die("to_send")
        answers = []
        for one in objects:
            with self._ledger.open("a") as stream:
                stream.write(one.identity.sop_instance_uid + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._die("handed_over")
            answers.append(Answer(one.identity.sop_instance_uid, "sent"))
        return answers

    def has(self, one: Outgoing) -> bool:
        return self._ledger.exists() and one.identity.sop_instance_uid in self._ledger.read_text().split()

    def close(self) -> None:
        """Nothing is open."""


class Die:
    """Kills the process at its moment, unless that happened before."""

    def __init__(self, moment: str, marker: Path) -> None:
        self._moment, self._marker = moment, marker

    def __call__(self, moment: str) -> None:
        if moment == self._moment and not self._marker.exists():
            self._marker.write_text(moment)
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead leave no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(json.loads(Path(line.strip()).read_text()))
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def serve(given: dict) -> None:
    folder = Path(given["folder"])
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    die = Die(given.get("kill_at", ""), folder / "died.txt")
    settings = ListenSettings(
        folder / "spool",
        port=given["port"],
        health_port=-1,
        quiet_s=given.get("quiet_s", 0.4),
        reserve_gb=0,
        limits=Limits(connections_per_minute=100_000),
        backoff=Backoff(first_s=0.05, longest_s=0.2),
        most_interruptions=100,
    )
    analyser = QuickAnalyser(folder / "analyses.txt", lambda: die("analysed"))
    station = Station(settings, analyser=analyser, destinations=[FolderDestination(folder / "sent.txt", die)])
    _call_before(station.queue, "add_object", lambda: die("received"))
    _call_after(station.queue, "add_object", lambda: die("filed"))
    _call_after(station.outbox, "mark_sent", lambda: die("sent"))
    station.start()
    (folder / "port.txt").write_text(str(station.port))
    station.wait()


def _call_before(thing: object, name: str, hook) -> None:
    method = getattr(thing, name)

    def hooked(*arguments, **options):
        hook()
        return method(*arguments, **options)

    setattr(thing, name, hooked)


def _call_after(thing: object, name: str, hook) -> None:
    method = getattr(thing, name)

    def hooked(*arguments, **options):
        result = method(*arguments, **options)
        hook()
        return result

    setattr(thing, name, hooked)


if __name__ == "__main__":
    main()
