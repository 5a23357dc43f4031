"""The worker's own side: ``python -m ClaireDSALib.pipeline.worker_process``.

Reads jobs from standard input, answers on standard output, keeps models warm in between.
It ends when its input closes (the application quit or died), when told to, or after idling.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from ClaireDSALib.pipeline import worker_protocol as protocol
from ClaireDSALib.pipeline.progress import Cancelled, Progress

_DEFAULT_IDLE_S = 600.0


def main() -> int:
    """Serve jobs until the input closes."""
    answers = _claim_stdout()
    return _Server(answers, idle_s=float(os.environ.get("CLAIRE_DSA_WORKER_IDLE_S", _DEFAULT_IDLE_S))).serve()


class _Server:
    def __init__(self, answers: TextIO, *, idle_s: float) -> None:
        self._answers = answers
        self._answers_lock = threading.Lock()
        self._idle_s = idle_s
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[str] = set()
        self._models: Any = None

    def serve(self) -> int:
        threading.Thread(target=self._listen, daemon=True, name="listen").start()
        self._say("ready", protocol=protocol.PROTOCOL_VERSION, pid=os.getpid())
        while True:
            try:
                job = self._jobs.get(timeout=self._idle_s)
            except queue.Empty:
                return 0
            if job["kind"] == "quit":
                return 0
            self._run(job)

    def _listen(self) -> None:
        """Take messages while a job runs; leave at once when the application is gone."""
        for line in sys.stdin:
            message = protocol.decode(line)
            if message["kind"] == "cancel":
                self._cancelled.add(message["job"])
            else:
                self._jobs.put(message)
                if message["kind"] == "quit":
                    return
        _clean_up_after_a_dead_application()
        os._exit(0)

    def _run(self, job: dict[str, Any]) -> None:
        job_id = job["job"]
        try:
            self._analyze(job_id, job)
        except Cancelled:
            self._say("cancelled", job=job_id)
        except Exception as error:  # noqa: BLE001 - the process boundary: everything becomes a message
            traceback.print_exc(file=sys.stderr)
            self._say(
                "failed",
                job=job_id,
                message=f"{type(error).__name__}: {error}",
                out_of_memory=_ran_out_of_memory(error),
            )

    def _analyze(self, job_id: str, job: dict[str, Any]) -> None:
        from ClaireDSALib.pipeline.analyze import analyze
        from ClaireDSALib.pipeline.settings import Settings

        folder = Path(job["folder"])

        def cancelled() -> bool:
            return job_id in self._cancelled

        def progress(state: Progress) -> None:
            self._say(
                "progress", job=job_id, fraction=state.fraction, step=state.step, run_id=state.run_id, text=state.text
            )

        told: dict[str, set[str]] = {}

        def on_run(report: Any, arrays: Any) -> None:
            told[report.run_id] = set(arrays)
            name = f"run_{report.run_id}"
            files = protocol.write_arrays(folder / name, arrays)
            self._say("run", job=job_id, report=_plain(report), folder=name, files=files)

        progress(Progress(0.0, "read"))
        series, pairs, skipped = _inputs(job, cancelled)
        result = analyze(
            series,
            Settings.from_dict(job["settings"]),
            pairs=pairs,
            skipped=skipped,
            progress=progress,
            cancel=cancelled,
            on_run=on_run,
            models=self._warm_models(job),
        )
        more = []
        for run_id, arrays in result.arrays.items():
            if late := {name: array for name, array in arrays.items() if name not in told.get(run_id, set())}:
                place = f"case_{run_id}"  # what only the whole case shows, such as a comparison of two runs
                files = protocol.write_arrays(folder / place, late)
                more.append({"run_id": run_id, "folder": place, "files": files})
        self._say("done", job=job_id, report=result.report.to_dict(), more=more)

    def _warm_models(self, job: dict[str, Any]) -> Any:
        from ClaireDSALib.pipeline.model_set import ModelSet

        if self._models is None:
            self._models = ModelSet()
        self._models.fallbacks.extend(job.get("fallbacks", ()))
        return self._models

    def _say(self, kind: str, **values: Any) -> None:
        with self._answers_lock:
            self._answers.write(protocol.encode(kind, **values))
            self._answers.flush()


def _claim_stdout() -> TextIO:
    """Keep standard output for messages; whatever else prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return channel


def _clean_up_after_a_dead_application() -> None:
    """Delete the job files when the application died without closing its worker (not on Windows)."""
    folder, application = os.environ.get("CLAIRE_DSA_WORKER_FOLDER"), os.environ.get("CLAIRE_DSA_WORKER_APPLICATION")
    if not folder or not application or os.name == "nt":
        return
    for _ in range(20):
        try:
            os.kill(int(application), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        time.sleep(0.05)


def _inputs(job: dict[str, Any], cancelled: Any) -> tuple[list[Any], list[Any], list[Any]]:
    from ClaireDSALib.pipeline.series_store import load_series

    wanted = set(job.get("run_ids") or ())
    series = [load_series(folder) for folder in job.get("stored", ())]
    pairs: list[Any] = []
    skipped: list[Any] = []
    if job.get("paths"):
        if cancelled():
            raise Cancelled
        from ClaireDSALib.dsa.read import read

        # All at once: the two views of a biplane run may lie in different files.
        found = read(tuple(job["paths"]))
        series += found.series
        pairs += found.pairs
        skipped += found.skipped
    if wanted:
        series = [s for s in series if s.run_id in wanted]
        pairs = [p for p in pairs if {p.ap.run_id, p.lateral.run_id} <= wanted]
    return series, pairs, skipped


def _plain(report: Any) -> dict[str, Any]:
    from ClaireDSALib.pipeline.report import run_to_dict

    return run_to_dict(report)


def _ran_out_of_memory(error: BaseException) -> bool:
    from ClaireDSALib.pipeline.model_set import is_out_of_memory

    return isinstance(error, MemoryError) or is_out_of_memory(error)


if __name__ == "__main__":
    sys.exit(main())
