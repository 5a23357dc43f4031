"""Run the test suite: quick unit tests on all cores, then what needs a scene, a desktop or a browser, one by one.

Pieces run in processes of their own because Slicer's core, the stand-in desktop and the browser tests each want
the process for themselves. Extra arguments go to every pytest call.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PIECES = (
    ("unit", ["-n", "2", "--dist", "worksteal"]),
    ("mrml", []),
    ("slicer", []),
    ("web", []),
)

_NO_TESTS = 5
_SUMMARY = re.compile(r"\d+ \w+.* in \d+\.\d+s")
"""Pytest's closing line; a piece that dies before it counts as failed by its exit code."""
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error|errors|xfailed)\b")


def main() -> int:
    """Return 1 when any piece failed; close with one line that sums them up."""
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    failed_pieces = []
    for name, options in PIECES:
        folder = ROOT / "Testing" / name
        if not any(folder.rglob("test_*.py")):
            continue
        start = time.monotonic()
        code, counts = _run(folder, options)
        for kind, number in counts.items():
            totals[kind] += number
        if code not in (0, _NO_TESTS):
            failed_pieces.append(name)
        print(f"-- {name}: exit code {code}, {time.monotonic() - start:.0f} s", flush=True)
    if failed_pieces:
        print(f"failed: {', '.join(failed_pieces)}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if failed_pieces or totals["passed"] == 0 else 0


def _run(folder: Path, options: list[str]) -> tuple[int, dict[str, int]]:
    command = [sys.executable, "-m", "pytest", str(folder), *options, *sys.argv[1:]]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace")
    last = ""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        last = line if _SUMMARY.search(line) else last
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for number, kind in _COUNT.findall(last):
        key = "failed" if kind.startswith("error") else "passed" if kind == "xfailed" else kind
        counts[key] += int(number)
    return process.wait(), counts


if __name__ == "__main__":
    sys.exit(main())
