"""Workers as Ray actors: on many machines and GPUs, scheduled by Ray."""

from __future__ import annotations

import itertools
import logging
import os
from typing import Any

from ClaireDSALib.cohort.engines import Event
from ClaireDSALib.cohort.worker import Answer, Job, WorkerCore, WorkerSpec


class RayEngine:
    """One actor per worker; Ray places them and gives each its GPU.

    The input and the cohort's folder must have the same path on every machine.

    Parameters
    ----------
    spec : WorkerSpec
    address : str, optional
        Of a running cluster (``auto``, ``host:6379`` ...); without one Ray starts on this machine.
    gpus_per_worker : float

    Raises
    ------
    ModuleNotFoundError
        When Ray is not installed.
    """

    name = "ray"

    def __init__(self, spec: WorkerSpec, *, address: str | None = None, gpus_per_worker: float = 0.0) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a cohort goes anywhere
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # a busy machine is no broken one
        import ray

        self._ray = ray
        self._spec = spec
        self._own = not ray.is_initialized()
        if self._own:
            here: dict[str, Any] = {} if address else {"include_dashboard": False}
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
        options: dict[str, Any] = {"num_cpus": spec.threads, "num_gpus": gpus_per_worker, "max_concurrency": spec.slots}
        self._actor = ray.remote(**options)(_Actor)
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        self._numbers = itertools.count()

    def start(self) -> int:
        """Ask Ray for a worker; it may have to wait for a free place."""
        number = next(self._numbers)
        actor: Any = self._actor.remote(self._spec)
        self._actors[number] = actor
        self._waiting[actor.prepare.remote()] = number
        return number

    def send(self, worker: int, job: Job) -> None:
        self._waiting[self._actors[worker].process.remote(job)] = worker

    def wait(self, timeout_s: float) -> list[Event]:
        """Answers and deaths; several jobs of one dead actor are one death."""
        if not self._waiting:
            return []
        references = list(self._waiting)
        ready, _ = self._ray.wait(references, num_returns=1, timeout=timeout_s)
        if ready:
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        events: list[Event] = []
        for reference in ready:
            worker = self._waiting.pop(reference, None)
            if worker is None:
                continue
            try:
                events.append(Event.said(worker, self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                self.stop(worker)
                events.append(Event(worker, death=_how_it_ended(error)))
        return events

    def stop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._waiting = {reference: one for reference, one in self._waiting.items() if one != worker}
        if actor is not None:
            self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        for number in list(self._actors):
            self.stop(number)
        if self._own:
            self._ray.shutdown()


class _Actor:
    def __init__(self, spec: WorkerSpec) -> None:
        self._core = WorkerCore(spec)

    def prepare(self) -> str:
        try:
            self._core.prepare()
        except Exception as error:  # noqa: BLE001 - the process boundary, as in the local engine
            return f"{type(error).__name__}: {error}"
        return ""

    def process(self, job: Job) -> Answer | str:
        try:
            return self._core.process(job)
        except Exception as error:  # noqa: BLE001 - as in the local engine
            return f"{type(error).__name__}: {error}"


def _how_it_ended(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "exit" in line.lower() or "died" in line.lower()), "")
    return (told or type(error).__name__)[:200]
