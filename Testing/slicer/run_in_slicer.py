"""Batch work in 3D Slicer without a window, and the same under ``python`` with the slicer-core wheel.

    Slicer --no-splash --no-main-window --testing --python-script Testing/slicer/run_in_slicer.py analyse IN OUT
    Slicer --no-splash --testing --python-script Testing/slicer/run_in_slicer.py selftest
    python Testing/slicer/run_in_slicer.py analyse IN OUT

``analyse`` reads every run below IN, analyses it and writes the report, its pictures and a scene (``case.mrb``) to
OUT. ``selftest`` runs the module's own test (in Slicer only).

Exit codes: 0 done, 1 nothing usable found, 2 bad usage, 3 some runs failed, 4 an error stopped the work.
Research software, not a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import Any

DONE, NOTHING, USAGE, SOME_FAILED, ERROR = 0, 1, 2, 3, 4
ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return USAGE if stop.code else DONE
    try:
        return _selftest() if options.verb == "selftest" else _analyse(options)
    except Exception:
        traceback.print_exc()
        return ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run_in_slicer.py", description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    analyse = verbs.add_parser("analyse", help="analyse the runs of a file or folder")
    analyse.add_argument("source", type=Path)
    analyse.add_argument("target", type=Path)
    analyse.add_argument("--settings", type=Path, help="JSON file with analysis settings")
    analyse.add_argument("--no-pictures", action="store_true", help="write report and scene only")
    verbs.add_parser("selftest", help="run the module's own test (in Slicer)")
    return parser


def _analyse(options: argparse.Namespace) -> int:
    from ClaireDSALib import mrml
    from ClaireDSALib.dsa import read
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.settings import Settings

    if not options.source.exists():
        print(f"there is no {options.source}", file=sys.stderr)
        return NOTHING
    settings = Settings.from_dict(json.loads(options.settings.read_text(encoding="utf-8")) if options.settings else {})
    found = read(options.source)
    for skipped in found.skipped:
        print(f"left out: {skipped.source}: {skipped.reason}")
    if not found.series:
        return NOTHING
    result = analyze(found.series, settings, pairs=found.pairs, skipped=found.skipped)
    options.target.mkdir(parents=True, exist_ok=True)
    host = _host(mrml)
    mrml.show_case(host, found.series, result, pairs=found.pairs)
    mrml.save_scene(host, options.target / "case.mrb")
    if options.no_pictures:
        (options.target / "report.json").write_text(result.report.to_json(), encoding="utf-8")
    else:
        from ClaireDSALib.export.files import write_case

        write_case(options.target, found.series, result)
    failed = [run for run in result.report.runs if run.error]
    for run in failed:
        print(f"failed: {run.run_id}: {run.error}")
    print(f"{len(result.report.runs)} runs analysed, {len(failed)} failed: {options.target}")
    return SOME_FAILED if failed else DONE


def _host(mrml: Any) -> Any:
    """The running application's scene, or one of our own on the slicer-core wheel."""
    import slicer

    if not hasattr(slicer, "app"):
        return mrml.CoreHost()
    slicer.mrmlScene.Clear()
    sys.path.insert(0, str(ROOT / "ClaireDSA"))
    from ClaireDSAWidgets.host import DesktopHost

    return DesktopHost()


def _selftest() -> int:
    import slicer

    if not hasattr(slicer, "app"):
        print("the self-test needs 3D Slicer; under plain python use analyse", file=sys.stderr)
        return USAGE
    slicer.selfTests["ClaireDSA"]()
    return DONE


def _leave(code: int) -> None:
    """End the application with a code: without ``--testing`` Slicer would stay open otherwise."""
    try:
        import slicer.util

        in_slicer = hasattr(sys.modules["slicer"], "app")
    except ImportError:
        in_slicer = False
    if in_slicer:
        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _leave(main(sys.argv[1:]))
