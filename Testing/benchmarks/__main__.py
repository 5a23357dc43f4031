"""``python -m Testing.benchmarks``: measure everything, print medians and ratios."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import Testing.benchmarks as package
from Testing.benchmarks.measure import machine, measure_in_child, shares_in_child
from Testing.benchmarks.model import Benchmark, Target

PREFIX = "bench_"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; 1 with ``--check`` when a target is missed or could not be measured."""
    options = _options(arguments)
    found = [(m, b) for m, b in _benchmarks() if options.only.lower() in b.name.lower()]
    if options.list:
        print("\n".join(f"{b.name}: {b.job}" for _, b in found))
        return 0
    results = []
    for module, benchmark in found:
        with tempfile.TemporaryDirectory(prefix="claire-dsa-bench-") as folder:
            results.append(_run(module, benchmark, Path(folder), options))
        if not options.json:
            _print(results[-1])
    record = {"machine": machine(), "rounds": options.rounds, "benchmarks": results}
    if options.json:
        text = json.dumps(record, indent=1)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n", encoding="utf-8")
    missed = [t["text"] for r in results for t in r["targets"] if t["met"] is not True]
    print(_summary(results, missed), file=sys.stderr if options.json == "-" else sys.stdout)
    return 1 if options.check and missed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="processes per contender, taken in turn (default 5)")
    parser.add_argument("--only", default="", help="only benchmarks whose name contains this")
    parser.add_argument("--json", default="", metavar="FILE", help="write a record instead of tables; - for stdout")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="for one process (default 300)")
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    return parser.parse_args(arguments)


def _benchmarks() -> list[tuple[str, Benchmark]]:
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith(PREFIX))
    modules = [f"{package.__name__}.{name}" for name in names]
    return [(module, b) for module in modules for b in importlib.import_module(module).BENCHMARKS]


def _run(module: str, benchmark: Benchmark, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Take the contenders in turn, round after round, so that a busy minute hits all of them."""
    path = benchmark.prepare(folder)
    samples: dict[str, list[dict]] = {c.name: [] for c in benchmark.contenders}
    errors: dict[str, str] = {}
    for _ in range(options.rounds):
        for contender in benchmark.contenders:
            if contender.name in errors:
                continue
            sample = measure_in_child(module, benchmark.name, contender, path, options.timeout)
            if "error" in sample:
                errors[contender.name] = sample["error"]
            else:
                samples[contender.name].append(sample)
    medians = {name: _median(found) for name, found in samples.items() if found}
    answers = {m["answer"] for m in medians.values() if m["answer"]}
    if len(answers) > 1:
        errors["answers"] = f"the contenders disagree: {sorted(answers)}"
    shares = shares_in_child(module, benchmark.name, path, options.timeout) if benchmark.shares else {}
    if "error" in shares:
        errors["shares of the steps"] = shares.pop("error")
    ours = benchmark.contenders[0].name
    return {
        "name": benchmark.name,
        "job": benchmark.job,
        "ours": ours,
        "contenders": medians,
        "errors": errors,
        "shares": shares,
        "targets": [_judged(target, medians, ours, errors) for target in benchmark.targets],
    }


def _median(samples: list[dict]) -> dict[str, Any]:
    middle = {key: statistics.median(s[key] for s in samples) for key in ("seconds", "peak_mib", "work_mib")}
    spread = max(s["seconds"] for s in samples) - min(s["seconds"] for s in samples)
    return {**middle, "spread_seconds": spread, "answer": samples[0]["answer"], "n": len(samples)}


def _judged(target: Target, medians: dict[str, dict], ours: str, errors: dict[str, str]) -> dict[str, Any]:
    what = {"seconds": "time", "peak_mib": "peak memory", "work_mib": "memory for the work"}[target.quantity]
    if target.ours_at_most is not None:
        wanted = f"{what} at most {target.ours_at_most:g} s"
        value = medians.get(ours, {}).get(target.quantity)
        met = None if value is None else value <= target.ours_at_most
    else:
        least = target.peer_over_ours_at_least or 1.0
        wanted = (
            f"{what} at most 1/{least:g} of {target.peer}"
            if least > 1
            else f"{what} within {1 / least:g} x {target.peer}"
        )
        pair = medians.get(target.peer), medians.get(ours)
        value = pair[0][target.quantity] / pair[1][target.quantity] if all(pair) else None
        met = None if value is None else value >= least
    if "answers" in errors:
        met = False
    return {"text": wanted, "value": value, "met": met}


def _print(result: dict[str, Any]) -> None:
    print(f"\n{result['name']}  ({result['job']})")
    ours = result["contenders"].get(result["ours"])
    print(f"  {'':26s}{'median':>12s}{'spread':>10s}{'ratio':>8s}{'peak':>10s}{'work':>10s}")
    for name, m in result["contenders"].items():
        ratio = f"{m['seconds'] / ours['seconds']:.2f}" if ours else ""
        print(
            f"  {name:26s}{m['seconds'] * 1e3:9.1f} ms{m['spread_seconds'] * 1e3:7.1f} ms{ratio:>8s}"
            f"{m['peak_mib']:6.0f} MiB{m['work_mib']:6.0f} MiB"
        )
    for name, error in result["errors"].items():
        print(f"  {name:26s}not measured: {error}")
    if result["shares"]:
        largest = sorted(result["shares"].items(), key=lambda item: -item[1])
        print(f"  steps of {result['ours']}: {', '.join(f'{name} {share:.1%}' for name, share in largest)}")
    for target in result["targets"]:
        verdict = {True: "met", False: "MISSED", None: "NOT MEASURED"}[target["met"]]
        value = "" if target["value"] is None else f" ({target['value']:.2f})"
        print(f"  {verdict}: {target['text']}{value}")


def _summary(results: list[dict[str, Any]], missed: list[str]) -> str:
    total = sum(len(r["targets"]) for r in results)
    return f"\n{total - len(missed)} of {total} targets met" + (f"; not: {'; '.join(missed)}" if missed else "")


if __name__ == "__main__":
    sys.exit(main())
