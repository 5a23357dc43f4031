"""``make demo``: simulate a case, review it, and open it in the browser viewer.

With ``--no-open``, or where there is no display, it only says where the results are and how to open them;
``--serve`` starts the viewer without opening a browser.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLAIRE = (sys.executable, "-m", "ClaireDSALib.cli.main")


def main() -> int:
    """Do the three steps and return the exit code of the one that failed."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--no-open", action="store_true", help="only write, then say where it is")
    parser.add_argument("--serve", action="store_true", help="start the viewer and print its address, open no browser")
    parser.add_argument("--out", type=Path, default=ROOT / "demo", help="folder of the demo (default: demo/)")
    arguments = parser.parse_args()
    case, review = arguments.out / "case", arguments.out / "review"

    if not case.is_dir():
        _simulate(case)
    print("Reviewing it ...", flush=True)
    code = subprocess.run([*CLAIRE, "review", str(case), "--out", str(review)], cwd=ROOT, check=False).returncode
    if code != 0:
        return code
    if arguments.serve:
        _say_where(case, review)
        return subprocess.run([*CLAIRE, "view", str(case), "--no-open"], cwd=ROOT, check=False).returncode
    return _say_where(case, review) if arguments.no_open or not _has_display() else _open(case, review)


def _simulate(case: Path) -> None:
    """Write the simulated case beside its place and rename it, so that an interrupted demo starts again."""
    from ClaireDSALib.simulator.demo import write_demo_case

    print("Simulating a case ...", flush=True)
    unfinished = case.with_name(".case.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_demo_case(unfinished, truth=False)
    unfinished.rename(case)


def _say_where(case: Path, review: Path) -> int:
    print(f"\nThe simulated case:  {case}")
    print(f"Its review page:     {review / 'index.html'}")
    print(f"Its report:          {review / 'report.json'}")
    if _has_viewer():
        print(f"The viewer:          {Path(sys.executable).with_name('claire-dsa')} view {case}")
    return 0


def _open(case: Path, review: Path) -> int:
    _say_where(case, review)
    if _has_viewer():
        return subprocess.run([*CLAIRE, "view", str(case)], cwd=ROOT, check=False).returncode
    import webbrowser

    webbrowser.open((review / "index.html").as_uri())
    return 0


def _has_viewer() -> bool:
    return importlib.util.find_spec("ClaireDSALib.cli.view") is not None


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    sys.exit(main())
