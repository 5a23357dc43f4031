"""How long a person waits before anything happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from Testing.benchmarks.model import Benchmark, Contender, Target


def _import_library(_: Path) -> None:
    import ClaireDSALib  # noqa: F401

    if "torch" in sys.modules:
        msg = "importing ClaireDSALib loaded torch"
        raise RuntimeError(msg)


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _help(_: Path) -> None:
    _python("-c", "import sys; sys.argv = ['claire-dsa', '--help']; from ClaireDSALib.cli.main import run; run()")


def _bare(_: Path) -> None:
    _python("-c", "pass")


BENCHMARKS = (
    Benchmark(
        "import ClaireDSALib",
        "in a fresh interpreter; fails when torch comes with it",
        lambda folder: folder,
        (Contender("claire-dsa", _import_library, repeats=0),),
        (Target("seconds", ours_at_most=0.3),),
    ),
    Benchmark(
        "claire-dsa --help",
        "from the start of the interpreter to the exit",
        lambda folder: folder,
        (Contender("claire-dsa", _help), Contender("python -c pass", _bare)),
        (Target("seconds", ours_at_most=0.7),),
    ),
)
