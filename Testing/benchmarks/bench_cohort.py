"""A cohort of simulated series: killed ten times, on one and two workers, local against Ray, and its memory.

Beside the scaling of the cohort stands what the machine gives: the same analyses in plain loops of one and of two
processes, without coordinator, queue, results or reading ahead.

Takes minutes and both cores, so it is no part of ``python -m Testing.benchmarks``::

    python -m Testing.benchmarks.bench_cohort                       # everything, 300 series
    python -m Testing.benchmarks.bench_cohort --only scaling --series 60
    python -m Testing.benchmarks.bench_cohort --data folder         # keep the simulated series there

The series are small (96 x 96) and simulated. Thirty runs are simulated in full; the others are the same runs of other
made-up patients, with noise of their own, other UIDs, centres and dates.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.measure import ROOT, _peak_mib, machine

BENCHMARKS = ()
"""Nothing for the common table: these are experiments with a verdict, not contenders for one job."""

SIZE_PX = 96
_SIMULATED = 30
_RUNS_PER_CASE = 5
_LOOK_EVERY_S = 0.5
_EXPERIMENTS = ("kills", "memory", "scaling")


def main() -> int:
    """Run the experiments, print one JSON record; 1 when a target is missed."""
    options = _options()
    if options.child:
        return _child(*options.child)
    with tempfile.TemporaryDirectory(prefix="claire-dsa-cohort-") as temporary:
        work = Path(temporary)
        data = write_series(options.data or work / "series", options.series)
        record: dict[str, Any] = {"machine": machine(), "series": options.series}
        for name in _EXPERIMENTS:
            if options.only in ("", name):
                record[name] = globals()[f"measure_{name}"](data, work, options)
                print(json.dumps({name: record[name]}), flush=True)
        record["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(record, indent=1))
    missed = [name for name in _EXPERIMENTS if name in record and not record[name]["met"]]
    print(f"missed: {', '.join(missed)}" if missed else "all met", file=sys.stderr)
    return 1 if missed else 0


def write_series(folder: Path, wanted: int) -> Path:
    """Write ``wanted`` simulated series below ``folder/first`` .. unless they are there; return the folder."""
    done = folder / f"{wanted}.complete"
    if done.exists():
        return folder
    from ClaireDSALib.simulator.case import simulate_case

    bases = max(1, min(_SIMULATED, wanted) // _RUNS_PER_CASE)
    number = variant = 0
    cases = [simulate_case(seed, runs=_RUNS_PER_CASE, size=SIZE_PX) for seed in range(bases)]
    while number < wanted:
        for case in cases:
            for run in case.runs[: wanted - number]:
                place = folder / f"patient{case.seed:02d}_{variant:02d}"
                place.mkdir(parents=True, exist_ok=True)
                _variant(case, run, variant).save_as(place / f"{run.run_id}.dcm", enforce_file_format=True)
                number += 1
        variant += 1
    done.touch()
    return folder


def _variant(case: Any, run: Any, variant: int) -> Any:
    """The run as a made-up other patient's: own noise, UIDs, name, centre, device and date."""
    from pydicom.uid import generate_uid

    from ClaireDSALib.simulator.dicom import xa_dataset

    dataset = xa_dataset(case, run)

    def other(uid: str) -> str:
        return generate_uid(entropy_srcs=["cohort benchmark", str(variant), str(uid)])

    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, other(getattr(dataset, keyword)))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    for item in dataset.get("ReferencedImageSequence", ()):
        item.ReferencedSOPInstanceUID = other(item.ReferencedSOPInstanceUID)
    dataset.PatientID, dataset.PatientName = f"SIM{case.seed:02d}-{variant:02d}", f"SIMULATED^{case.seed:02d}"
    dataset.InstitutionName = f"Simulated centre {case.seed % 3 + 1}"
    dataset.Manufacturer = f"Maker {'ABC'[case.seed % 3]}"
    year = str(2023 + variant % 3)
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, year + getattr(dataset, keyword)[4:])
    if variant:
        kind = np.uint8 if dataset.BitsAllocated == 8 else np.dtype("<u2")
        count = int(dataset.get("NumberOfFrames", 1)) * SIZE_PX * SIZE_PX
        stored = np.frombuffer(dataset.PixelData, kind)[:count].astype(np.float32)
        rng = np.random.default_rng([case.seed, variant, int(run.plan.seed)])
        top = 2**dataset.BitsStored - 1
        noisy = np.clip(np.round(stored + rng.normal(0, 0.004 * top, stored.shape)), 0, top).astype(kind).tobytes()
        dataset.PixelData = noisy + b"\0" * (len(noisy) % 2)
    return dataset


def measure_kills(data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill the whole process group ten times; table and journal must be those of an undisturbed call."""
    from ClaireDSALib.cohort.journal import read_account

    whole, killed = work / "whole", work / "killed"
    undisturbed = _call(data, whole, "local", options.workers)
    journal, moments = killed / "work" / "journal", []
    rng = random.Random(options.seed)
    targets = sorted(rng.randrange(options.series) for _ in range(options.kills))
    for target in targets:
        process = _start(data, killed, "local", options.workers)
        while process.poll() is None:
            done = sum(read_account(journal).done.values()) if journal.is_dir() else 0
            if done >= target:
                time.sleep(rng.uniform(0, 1.0))
                break
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            moments.append(done)
        process.communicate()
    last = _call(data, killed, "local", options.workers)
    account = read_account(journal)
    same = _table(whole) == _table(killed)
    once = set(account.done.values()) == {1} and not account.more_than_once()
    begun_again = sum(account.started.values()) - len(account.done)
    return {
        "met": same and once and last["runs"] == undisturbed["runs"] == options.series,
        "kills": len(moments),
        "units_done_at_each_kill": moments,
        "tables_equal": same,
        "units": len(account.done),
        "units_analysed_more_than_once": account.more_than_once(),
        "units_begun_again_because_killed": begun_again,
        "runs": last["runs"],
        "failed": last["failed"],
    }


def measure_memory(data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory of the coordinator for few and for all series."""
    few = min(50, options.series // 3)
    small = _call(_some(data, work, few), work / "few", "local", options.workers)
    large = _call(data, work / "all", "local", options.workers)
    growth = large["peak_mib"] - small["peak_mib"]
    return {
        "met": growth < 0.1 * small["peak_mib"],
        "series": [few, options.series],
        "coordinator_peak_mib": [round(small["peak_mib"], 1), round(large["peak_mib"], 1)],
        "growth_mib": round(growth, 1),
        "largest_worker_peak_mib": [round(small["worker_peak_mib"], 1), round(large["worker_peak_mib"], 1)],
    }


def measure_scaling(data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs per second from the first unit begun to the last one done; engines in turn, the median of the rounds."""
    engines = ("plain", *options.engines.split(","))
    part = _some(data, work, min(options.scaling_series, options.series))
    rates: dict[str, list[float]] = {f"{engine} {n}": [] for engine in engines for n in (1, 2)}
    overhead_ms: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for engine in engines:
            for n in (1, 2):
                out, name = work / f"scaling_{number}_{engine}_{n}", f"{engine} {n}"
                told = _call(part, out, engine, n)
                rates[name].append(told["runs"] / (told.get("at_work_s") or _seconds_at_work(out)))
                if "coordinator_ms_per_run" in told:
                    overhead_ms.setdefault(name, []).append(told["coordinator_ms_per_run"])
    scaling = {
        engine: [round(two / one, 2) for one, two in zip(rates[f"{engine} 1"], rates[f"{engine} 2"], strict=True)]
        for engine in engines
    }
    return {
        "met": float(np.median(scaling[engines[1]])) >= 1.6,
        "series": min(options.scaling_series, options.series),
        "runs_per_s": {name: round(float(np.median(found)), 2) for name, found in rates.items()},
        "two_over_one": scaling,
        "two_over_one_median": {engine: float(np.median(found)) for engine, found in scaling.items()},
        "coordinator_ms_per_run": {name: round(float(np.median(found)), 1) for name, found in overhead_ms.items()},
        "load": os.getloadavg()[0],
    }


def _some(data: Path, work: Path, wanted: int) -> Path:
    """A list of so many series, evenly spread over all."""
    files = sorted(data.rglob("*.dcm"))
    chosen = [files[k * len(files) // wanted] for k in range(wanted)]
    path = work / f"{wanted}.tsv"
    path.write_text("path\n" + "".join(f"{file.resolve()}\n" for file in chosen))
    return path


def _seconds_at_work(out: Path) -> float:
    from ClaireDSALib.cohort.journal import entries

    lines = [entry for entry in entries(out / "work" / "journal") if entry["what"] in ("started", "done")]
    return max(entry["at"] for entry in lines) - min(entry["at"] for entry in lines)


def _start(source: Path, out: Path, engine: str, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "Testing.benchmarks.bench_cohort", "--child", str(source), str(out), engine]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, str(workers)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def _call(source: Path, out: Path, engine: str, workers: int) -> dict[str, Any]:
    process = _start(source, out, engine, workers)
    told, _ = process.communicate()
    if process.returncode:
        msg = f"the cohort ended with exit code {process.returncode}"
        raise RuntimeError(msg)
    return json.loads(told.strip().splitlines()[-1])


def _child(source: str, out: str, engine: str, workers: str) -> int:
    """One call of the cohort in a process of its own; the shipped bundles, one thread for each worker."""
    import psutil

    from ClaireDSALib.cohort import run as cohort_run

    if engine == "plain":
        print(json.dumps(plain_loops(source, out, int(workers))))
        return 0
    largest, looked_at, used = [0.0], [0.0], list[float]()

    def watch(progress: Any) -> None:
        if progress.step == "runs":
            used.append(time.process_time())
        if time.monotonic() - looked_at[0] < _LOOK_EVERY_S:  # each look takes as long as a tenth of a small run
            return
        looked_at[0] = time.monotonic()
        for child in psutil.Process().children():
            try:
                largest[0] = max(largest[0], child.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                continue

    cohort_run.usable_cores = lambda: int(workers)  # one thread each, so that more workers are what is compared
    start = time.perf_counter()
    options = cohort_run.CohortOptions(engine=engine, workers=int(workers))
    result = cohort_run.run_cohort(Path(source), Path(out), None, options, watch)
    told = {
        "seconds": time.perf_counter() - start,
        "runs": result.runs,
        "failed": result.failed,
        "peak_mib": _peak_mib(),
        "worker_peak_mib": largest[0],
        "coordinator_ms_per_run": 1e3 * (used[-1] - used[0]) / max(1, result.analysed),
    }
    print(json.dumps(told))
    return 0


def plain_loops(source: str, out: str, n_processes: int) -> dict[str, Any]:
    """The cohort's units read and analysed in ``n_processes`` loops and nothing else: what the machine gives."""
    from ClaireDSALib.cohort import run as cohort_run
    from ClaireDSALib.cohort.discovery import Planner
    from ClaireDSALib.cohort.index import Index
    from ClaireDSALib.cohort.places import Places
    from ClaireDSALib.cohort.recipe import make_recipe
    from ClaireDSALib.cohort.sources import places_of
    from ClaireDSALib.cohort.worker import WorkerSpec, limit_threads
    from ClaireDSALib.pipeline.settings import Settings

    places, recipe = Places(Path(out)), make_recipe(Settings(maps=False))
    places.make()
    index = Index(places.index)
    Planner(Path(out), "auto").discover(places_of(Path(source)), index, lambda step, done, total: None)
    units = list(index.units())
    index.close()
    spec = WorkerSpec(out=out, recipe_sha256=recipe.sha256, analyst=cohort_run._product_analyst(recipe, 1))
    limit_threads(spec)
    context = multiprocessing.get_context("spawn")
    ready, spans = context.Barrier(n_processes), context.Queue()
    loops = [
        context.Process(target=_plain_loop, args=(spec, units[number::n_processes], ready, spans))
        for number in range(n_processes)
    ]
    for loop in loops:
        loop.start()
    ends = [spans.get() for _ in loops]
    for loop in loops:
        loop.join()
    seconds = max(end for _, end in ends) - min(start for start, _ in ends)
    return {"runs": sum(len(unit.run_ids) for unit in units), "at_work_s": seconds}


def _plain_loop(spec: Any, units: Any, ready: Any, spans: Any) -> None:
    analyst = spec.analyst.make()
    analyst.prepare()
    analyst.analyse(analyst.load(units[0]), cpu_only=False)  # what is imported late
    ready.wait()
    start = time.monotonic()
    for unit in units:
        analyst.analyse(analyst.load(unit), cpu_only=False)
    spans.put((start, time.monotonic()))


def _table(out: Path) -> list[dict[str, Any]]:
    from ClaireDSALib.cohort.columns import VOLATILE
    from ClaireDSALib.cohort.table import read_rows

    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in read_rows(out / "cohort.parquet")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks.bench_cohort", description=__doc__)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2, help="for kills and memory")
    parser.add_argument("--rounds", type=int, default=3, help="of the scaling experiment")
    parser.add_argument("--scaling-series", type=int, default=300)
    parser.add_argument("--engines", default="local,ray", help="of the scaling experiment; the first is judged")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--only", default="", choices=("", *_EXPERIMENTS))
    parser.add_argument("--data", type=Path, help="folder for the simulated series; kept")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
