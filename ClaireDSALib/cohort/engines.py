"""What the coordinator asks of whoever runs the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ClaireDSALib.cohort.worker import Answer, Job, WorkerSpec


@dataclass(frozen=True)
class Event:
    """Something a worker says, or its death.

    Parameters
    ----------
    worker : int
    ready : bool
        Its models are loaded; before that it gets no job.
    unable : str
        Why it cannot work at all; nobody else could either.
    answer : Answer, optional
    death : str
        How it ended, in words; empty while it lives.
    """

    worker: int
    ready: bool = False
    unable: str = ""
    answer: Answer | None = None
    death: str = ""

    @classmethod
    def said(cls, worker: int, message: Answer | str) -> Event:
        """What a worker's message means: an answer, or why it cannot work (empty when it just started and can)."""
        if isinstance(message, Answer):
            return cls(worker, answer=message)
        return cls(worker, ready=not message, unable=message)


class Engine(Protocol):
    """Starts workers, hands them jobs, tells what came back."""

    name: str

    def start(self) -> int: ...

    def send(self, worker: int, job: Job) -> None: ...

    def wait(self, timeout_s: float) -> list[Event]: ...

    def stop(self, worker: int) -> None: ...

    def close(self) -> None: ...


def make_engine(name: str, spec: WorkerSpec, *, address: str | None = None, gpus_per_worker: float = 0.0) -> Engine:
    """The engine of that name.

    Parameters
    ----------
    name : {"local", "ray"}
    spec : WorkerSpec
    address : str, optional
        Of a running Ray cluster; Ray starts on this machine without one.
    gpus_per_worker : float
        What Ray reserves for each worker.

    Raises
    ------
    ValueError
        For another name.
    ModuleNotFoundError
        When Ray was asked for and is not installed.
    """
    if name == "local":
        from ClaireDSALib.cohort.local_engine import LocalEngine

        return LocalEngine(spec)
    if name == "ray":
        from ClaireDSALib.cohort.ray_engine import RayEngine

        return RayEngine(spec, address=address, gpus_per_worker=gpus_per_worker)
    msg = f"the engine is 'local' or 'ray'; got {name!r}"
    raise ValueError(msg)
