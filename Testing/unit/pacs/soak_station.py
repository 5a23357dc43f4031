"""The receiver of :mod:`Testing.unit.pacs.soak` in a process of its own, so that nothing but the product is weighed.

Prints its ports, then answers every line on its input with one line of JSON. With ``leak_bytes`` it keeps so many bytes
of memory for each object on purpose: the soak must find that.
"""

from __future__ import annotations

import ctypes
import json
import logging
import resource
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ClaireDSALib.pacs.access import Limits
from ClaireDSALib.pacs.remote import Remote
from ClaireDSALib.pacs.settings import ListenSettings
from ClaireDSALib.pacs.station import Station
from Testing.unit.pacs.quick import QuickAnalyser


class LeakyAnalyser(QuickAnalyser):
    """Keeps some bytes for each object."""

    def __init__(self, ledger: Path, leak_bytes: int) -> None:
        super().__init__(ledger)
        self._leak_bytes, self._kept = leak_bytes, list[bytes]()

    def analyse(self, files: Sequence[Path], folder: Path) -> list[Path]:
        if self._leak_bytes:
            self._kept += [b"\1" * self._leak_bytes + b"%d" % number for number in range(len(files))]
        return super().analyse(files, folder)


def main(folder: Path, sink_port: int, leak_bytes: int) -> None:
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    logging.basicConfig(filename=folder / "log.txt", level=logging.INFO, format="%(asctime)s %(message)s")
    settings = ListenSettings(
        folder / "spool", port=0, health_port=0, quiet_s=1.0, reserve_gb=0, keep_days=20 / 86400,
        limits=Limits(negotiation_s=2, pdu_s=2, idle_s=5, connections_per_minute=100_000),
        destinations=(Remote(f"dicom://SINK@127.0.0.1:{sink_port}"),),
    )  # fmt: skip
    with Station(settings, analyser=LeakyAnalyser(folder / "ledger", leak_bytes)) as station:
        _say({"port": station.port, "health_port": station.health_port})
        for _ in sys.stdin:
            _say(_state(station))


def _state(station: Station) -> dict[str, Any]:
    counts = station.queue.counts()["studies"]
    return {
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        "in_use": _malloc_in_use(),
        "blocks": sys.getallocatedblocks(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "received": int(station.metrics.get("objects_received_total")),
        "refused": int(station.metrics.get("connections_refused_total")),
        "waiting": sum(n for state, n in counts.items() if state != "done"),
    }


_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
"""Fields of glibc's ``struct mallinfo2``, all ``size_t``; see mallinfo(3)."""


class _MallInfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO)


def _malloc_in_use() -> int:
    """Bytes that the C library handed out and did not get back, in all its arenas; 0 where it cannot tell."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = _MallInfo
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
