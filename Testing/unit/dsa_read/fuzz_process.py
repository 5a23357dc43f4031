"""Mutate DICOM files and read them, in a process whose memory is limited: ``python -m ... FOLDER SECONDS SEED``.

Before each file its seed and mutation are written to ``FOLDER/last.txt``, so that even a crash of
a native library names what caused it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from ClaireDSALib.dsa.decode_errors import DecodeError
from ClaireDSALib.dsa.decode_stream import for_each_frame
from ClaireDSALib.dsa.read import read
from Testing.unit.dsa_read import dicom_builder as build

SLOWEST_FILE_S = 10.0
"""Processor time that no damaged file of these sizes may take; CharLS needs 3 s to give up on one megapixel."""
MEMORY_BYTES = 1536 * 2**20
"""Address space over what the libraries take: the files are smaller than 2 MiB."""
_LARGEST_SHARED_FILE = 2 * 2**20
_SMALL_FILE_BYTES = 30_000
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)


def main(folder: Path, seconds: float, seed: int) -> None:
    """Mutate until the time is over; print what happened as JSON."""
    originals = _originals()
    _limit_memory()
    counts = {"files": 0, "read": 0, "refused": 0, "undecodable": 0, "slowest_s": 0.0}
    end = time.monotonic() + seconds
    path = folder / "mutated.dcm"
    while time.monotonic() < end:
        rng = np.random.default_rng(seed + counts["files"])
        name, data = _choose(originals, rng)
        mutated, what = mutate(data, rng)
        (folder / "last.txt").write_text(f"seed {seed + counts['files']}: {what} of {name}")
        path.write_bytes(mutated)
        start = time.process_time()
        counts[use(path)] += 1
        counts["slowest_s"] = max(counts["slowest_s"], time.process_time() - start)
        counts["files"] += 1
    import resource  # POSIX only; the test that starts this process skips elsewhere

    counts["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(counts))


def use(path: Path) -> str:
    """Read a file and decode all its frames; return ``read``, ``refused`` or ``undecodable``."""
    found = read(path)
    assert found.series or found.skipped, "neither a run nor a reason"
    assert all(one.reason and "\n" not in one.reason for one in found.skipped)
    for series in found.series:
        try:
            for_each_frame(series, lambda index, frame, shape=series.shape: _check(frame, shape), 2)
        except DecodeError:
            return "undecodable"
    return "read" if found.series else "refused"


def mutate(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Damage a file in one of several ways, the header more often than its share of the bytes."""
    out = bytearray(data)
    kind = rng.choice(["bytes", "bytes", "head", "head", "cut", "insert", "delete", "copy", "length", "tail"])
    head = min(len(out), 2500)
    if kind in ("bytes", "head"):
        for _ in range(int(rng.integers(1, 12))):
            out[int(rng.integers(128, head if kind == "head" else len(out)))] = _byte(rng)
    elif kind == "cut":
        del out[int(rng.integers(len(out))) :]
    elif kind == "insert":
        position = int(rng.integers(132, len(out)))
        out[position:position] = bytes(_byte(rng) for _ in range(int(rng.integers(1, 64))))
    elif kind == "delete":
        position = int(rng.integers(132, len(out)))
        del out[position : position + int(rng.integers(1, 64))]
    elif kind == "copy":
        a, b = (int(x) for x in rng.integers(132, len(out), 2))
        size = int(rng.integers(1, 200))
        out[a : a + size] = out[b : b + size]
    elif kind == "length":
        position = int(rng.integers(132, head - 4))
        out[position : position + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])).to_bytes(
            4, "little"
        )
    else:
        for position in rng.integers(max(132, len(out) - 300), len(out), 6):
            out[int(position)] = _byte(rng)
    return bytes(out), str(kind)


def _choose(originals: list[tuple[str, bytes]], rng: np.random.Generator) -> tuple[str, bytes]:
    """Take a small file three times out of four: megapixels take long and fail in the same ways."""
    small = [one for one in originals if len(one[1]) < _SMALL_FILE_BYTES]
    several = small if rng.random() < 0.75 else originals
    return several[int(rng.integers(len(several)))]


def _byte(rng: np.random.Generator) -> int:
    return int(rng.choice(_INTERESTING)) if rng.random() < 0.5 else int(rng.integers(256))


def _check(frame: np.ndarray, shape: tuple[int, int]) -> None:
    assert frame.shape == shape
    assert frame.dtype in (np.uint8, np.uint16)


def _originals() -> list[tuple[str, bytes]]:
    made = []
    for syntax in (*build.LOSSLESS, *build.LOSSY):
        frames = build.raw_run(5, 40)
        made.append((f"simulated {syntax}", build.to_bytes(build.build(frames, transfer_syntax=syntax, FrameTime=100))))
    enhanced = build.build_enhanced(
        build.raw_run(4, 32),
        times=[f"2026010210150{k}" for k in range(4)],
        angles=[(float(k), 0.0) for k in range(4)],
        MaskSubtractionSequence=[build.item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1])],
    )
    made.append(("simulated enhanced", build.to_bytes(enhanced)))
    shared = Path(os.environ.get("CLAIRE_DSA_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    for pattern in ("xa_nema/*.dcm", "xa_rubo/*.DCM", "dicom_oddities/*.dcm"):
        for file in sorted(shared.glob(pattern)):
            if file.stat().st_size <= _LARGEST_SHARED_FILE:
                made.append((file.name, file.read_bytes()))
    return made


def _limit_memory() -> None:
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
