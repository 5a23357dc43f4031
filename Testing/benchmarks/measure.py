"""Measure one contender: the child process, and the parent that starts it."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Testing.benchmarks.model import Contender

ROOT = Path(__file__).resolve().parents[2]

_MIB = 2**20


def measure_in_child(module: str, benchmark: str, contender: Contender, input_path: Path, timeout_s: float) -> dict:
    """Run one contender in a fresh Python; ``{"error": sentence}`` when it cannot run."""
    missing = [name for name in contender.imports if not _importable(name)]
    if missing:
        return {"error": f"{', '.join(missing)} is not installed"}
    return _answer([module, benchmark, contender.name, str(input_path)], timeout_s)


def shares_in_child(module: str, benchmark: str, input_path: Path, timeout_s: float) -> dict:
    """Share of each step of our way, measured in a fresh Python."""
    return _answer([module, benchmark, "", str(input_path)], timeout_s)


def _answer(arguments: list[str], timeout_s: float) -> dict:
    command = [sys.executable, "-m", "Testing.benchmarks.measure", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {timeout_s:g} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_here(contender: Contender, input_path: Path) -> dict[str, Any]:
    """Seconds (median of the repeats), memory and a fingerprint of the answer, in this very process."""
    for name in contender.imports:
        importlib.import_module(name)
    before = _resident_mib()
    answer: object = None
    if contender.repeats:
        answer = contender.run(input_path)
    seconds = []
    for _ in range(max(1, contender.repeats)):
        start = time.perf_counter()
        answer = contender.run(input_path)
        seconds.append(time.perf_counter() - start)
    peak = _peak_mib()
    return {
        "seconds": statistics.median(seconds),
        "peak_mib": peak,
        "work_mib": max(0.0, peak - before),
        "answer": _fingerprint(answer),
    }


def machine() -> Mapping[str, Any]:
    """What the numbers were measured on."""
    import platform

    return {
        "processors": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def _fingerprint(answer: object) -> str:
    """Same arrays, same text; empty for None."""
    if answer is None:
        return ""
    import numpy as np

    array = np.ascontiguousarray(answer)
    return f"{array.shape} {hashlib.sha256(array.astype(np.float64).tobytes()).hexdigest()[:16]}"


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux that starts with what the parent had when it forked.
        line = next(row for row in status.read_text(encoding="ascii").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / _MIB
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / _MIB
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / _MIB


def _resident_mib() -> float:
    import psutil

    return psutil.Process().memory_info().rss / _MIB


def _main(module: str, benchmark: str, contender: str, input_path: str) -> None:
    benchmarks = importlib.import_module(module).BENCHMARKS
    chosen = next(b for b in benchmarks if b.name == benchmark)
    if not contender:
        print(json.dumps(dict(chosen.shares(Path(input_path)))))
        return
    which = next(c for c in chosen.contenders if c.name == contender)
    print(json.dumps(measure_here(which, Path(input_path))))


if __name__ == "__main__":
    _main(*sys.argv[1:5])
