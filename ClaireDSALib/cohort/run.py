"""One cohort, from what the user named to the table and the page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ClaireDSALib.cohort.analyst import AnalystSpec
from ClaireDSALib.cohort.claims import Claims
from ClaireDSALib.cohort.discovery import CentreFrom, Planner
from ClaireDSALib.cohort.dispatch import Dispatcher, Limits
from ClaireDSALib.cohort.engines import make_engine
from ClaireDSALib.cohort.index import Index
from ClaireDSALib.cohort.journal import Journal, read_troubles
from ClaireDSALib.cohort.places import Places
from ClaireDSALib.cohort.progress import CohortProgress, RunClock, Tell
from ClaireDSALib.cohort.recipe import Recipe, make_recipe
from ClaireDSALib.cohort.sources import places_of
from ClaireDSALib.cohort.store import Store
from ClaireDSALib.cohort.worker import Answer, Job, WorkerSpec
from ClaireDSALib.dsa.read_identity import SALT_VARIABLE
from ClaireDSALib.pipeline.settings import Settings


@dataclass(frozen=True)
class CohortOptions:
    """How a cohort is worked through; nothing here changes an answer.

    Parameters
    ----------
    engine : {"local", "ray"}
    workers : int
        Processes; 0 takes one for each core this process may use.
    address : str, optional
        Of a Ray cluster.
    gpus_per_worker : float
        Ray only.
    lanes : int
        Runs analysed side by side in each worker; more than one is for GPUs.
    centre_from : {"auto", "institution", "folder", "none"}
    retry_failed : bool
    write_csv, with_dates, with_sources : bool
        Beside the table: CSV; the day of the acquisition as a column; which run came from which file, below ``work``.
    limits : Limits
    analyst : AnalystSpec, optional
        Another analyst than the product's, for tests.

    Raises
    ------
    ValueError
        When a number is negative.
    """

    engine: str = "local"
    workers: int = 0
    address: str | None = None
    gpus_per_worker: float = 0.0
    lanes: int = 1
    centre_from: CentreFrom = "auto"
    retry_failed: bool = False
    write_csv: bool = False
    with_dates: bool = False
    with_sources: bool = False
    limits: Limits = field(default_factory=Limits)
    analyst: AnalystSpec | None = None

    def __post_init__(self) -> None:
        if self.workers < 0 or self.lanes < 1 or self.gpus_per_worker < 0:
            msg = (
                "workers and gpus_per_worker must not be negative and lanes at least 1; "
                f"got {self.workers}, {self.gpus_per_worker}, {self.lanes}"
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class CohortResult:
    """What a call did.

    Parameters
    ----------
    runs, failed : int
        Runs in the table, and those of them without an answer.
    analysed : int
        Runs analysed by this call; the others were finished before.
    not_used : int
        Files and runs that were not used.
    table, page : Path
    """

    runs: int
    failed: int
    analysed: int
    not_used: int
    table: Path
    page: Path


class CohortBusyError(RuntimeError):
    """Another call works in the same folder."""


def run_cohort(
    source: Path,
    out: Path,
    settings: Settings | None = None,
    options: CohortOptions | None = None,
    tell: Tell = lambda _: None,
) -> CohortResult:
    """Analyse what is not yet analysed, then write table and page.

    Parameters
    ----------
    source : Path
        Folder, file, or TSV with a column ``path``.
    out : Path
        The cohort's folder. A call goes on where the one before stopped, however that ended.
    settings : Settings, optional
        Of the analysis. Other settings, bundles or code mean other results; those there are stay.
    options : CohortOptions, optional
    tell : callable
        Takes a :class:`ClaireDSALib.cohort.progress.CohortProgress`.

    Returns
    -------
    CohortResult

    Raises
    ------
    FileNotFoundError
        When ``source`` is not there.
    CohortBusyError
        When another call works in ``out``.
    RuntimeError
        When no worker can start, or results cannot be written.
    ValueError
        For a list that cannot be read.
    """
    options = options or CohortOptions()
    recipe = make_recipe(settings or Settings(maps=False))
    for _ in places_of(source):  # a list that is none is refused before anything is made
        pass
    places = Places(out)
    places.make()
    claims = Claims(places.claims)
    try:
        if not claims.hold_cohort():
            msg = f"another call works on the cohort in {out}; wait for it or take another folder"
            raise CohortBusyError(msg)
        index = Index(places.index)
        try:
            planner = Planner(out, options.centre_from)
            planner.discover(places_of(source), index, lambda *state: tell(CohortProgress(*state)))
            analysed = _Analysis(places, index, recipe, options, tell).run()
            tell(CohortProgress("table", 0, 1))
            return _write_outputs(places, index, recipe, options, analysed)
        finally:
            index.close()
    finally:
        claims.close()


class _Analysis:
    def __init__(self, places: Places, index: Index, recipe: Recipe, options: CohortOptions, tell: Tell) -> None:
        self._places, self._index, self._recipe = places, index, recipe
        self._options, self._tell = options, tell
        self._store, self._journal = Store(places.results), Journal(places.journal)
        self._analysed = 0

    def run(self) -> int:
        """Analyse what is open; how many runs that were."""
        try:
            self._store.sweep()
            deaths = self._reconcile()
            open_units, done_runs, failed_runs = self._count(deaths)
            _, total = self._index.n_units_and_runs()
            self._clock = RunClock(total, done_runs, failed_runs)
            self._journal.write("call", recipe=self._recipe.sha256, runs=total, done=done_runs)
            self._tell(self._clock.state())
            if open_units:
                self._dispatch(open_units, deaths)
        finally:
            self._journal.close()
        return self._analysed

    def _reconcile(self) -> Any:
        """Write the line that a killed worker owes: its result was in place, its ``done`` was not."""
        unfinished, deaths = read_troubles(self._places.journal)
        for key in sorted(unfinished):
            if self._store.has(key):
                self._journal.write("done", key, outcome="failed" if self._store.failed(key) else "done", late=True)
        return deaths

    def _count(self, deaths: Any) -> tuple[int, int, int]:
        """Open units, and the runs that are finished and failed; failures are forgotten when they are to be retried."""
        open_units = done_runs = failed_runs = 0
        for unit in self._index.units():
            key = unit.key(self._recipe.sha256)
            if not self._store.has(key):
                open_units += 1
                continue
            failed = self._store.failed(key)
            if failed and self._options.retry_failed:
                self._journal.write("retry", key)
                self._store.remove(key)
                deaths.pop(key, None)
                open_units += 1
                continue
            done_runs += len(unit.run_ids)
            failed_runs += len(unit.run_ids) if failed else 0
        return open_units, done_runs, failed_runs

    def _dispatch(self, open_units: int, deaths: Any) -> None:
        cores = usable_cores()
        n_workers = min(self._options.workers or cores, open_units)
        spec = WorkerSpec(
            out=str(self._places.out.resolve()),
            recipe_sha256=self._recipe.sha256,
            analyst=self._options.analyst or _product_analyst(self._recipe, self._options.lanes),
            lanes=self._options.lanes,
            threads=max(1, cores // n_workers) if self._options.address is None else 1,
            environment={SALT_VARIABLE: os.environ[SALT_VARIABLE]} if SALT_VARIABLE in os.environ else {},
        )
        engine = make_engine(
            self._options.engine, spec, address=self._options.address, gpus_per_worker=self._options.gpus_per_worker
        )
        try:
            Dispatcher(
                engine,
                spec,
                n_workers,
                self._store,
                self._journal,
                limits=self._options.limits,
                deaths=deaths,
                finished=self._finished,
            ).run(self._open_jobs())
        finally:
            engine.close()

    def _open_jobs(self) -> Iterator[Job]:
        for unit in self._index.units():
            key = unit.key(self._recipe.sha256)
            if not self._store.has(key):
                yield Job(unit, key)

    def _finished(self, answer: Answer, runs: int) -> None:
        self._analysed += runs
        self._tell(self._clock.add(runs, failed=answer.verdict == "failed"))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _product_analyst(recipe: Recipe, lanes: int) -> AnalystSpec:
    hashes = {task: reference.sha256 for task, reference in recipe.bundles.items()}
    arguments = {"settings": recipe.settings.to_dict(), "bundles": hashes, "lanes": lanes}
    return AnalystSpec("ClaireDSALib.cohort.analyst:case_analyst", arguments)


def _write_outputs(places: Places, index: Index, recipe: Recipe, options: CohortOptions, analysed: int) -> CohortResult:
    from ClaireDSALib.cohort.page import write_page
    from ClaireDSALib.cohort.table import write_csv, write_failures, write_table
    from ClaireDSALib.export.atomic import write_text

    store = Store(places.results)
    counts = write_table(places.table, index, store, recipe, with_dates=options.with_dates)
    write_failures(places.failures, places.table)
    if options.write_csv:
        write_csv(places.csv, places.table)
    not_used = _write_list(places.not_used, ("source", "reason"), index.not_used())
    if options.with_sources:
        found = ((run_id, path) for unit in index.units() for run_id in unit.run_ids for path in unit.paths)
        _write_list(places.sources, ("run_id", "source"), found)
    write_text(places.record, json.dumps({"recipe": recipe.to_dict(), "recipe_sha256": recipe.sha256}, indent=1) + "\n")
    write_page(places, index, store, recipe)
    return CohortResult(counts.runs, counts.failed, analysed, not_used, places.table, places.page)


def _write_list(path: Path, head: tuple[str, str], lines: Iterable[tuple[str, str]]) -> int:
    """Two columns, tab-separated; how many lines there are below the head."""
    from ClaireDSALib.export.atomic import writing

    count = 0
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write("\t".join(head) + "\n")
        for first, second in lines:
            stream.write(f"{_cell(first)}\t{_cell(second)}\n")
            count += 1
    return count


def _cell(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ").replace("\r", " ")
