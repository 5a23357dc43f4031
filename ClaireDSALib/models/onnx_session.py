"""One way to open an ONNX graph of a bundle on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ClaireDSALib.dsa.threads import THREADS_VARIABLE, sharers, thread_budget
from ClaireDSALib.models.errors import BundleError


def open_session(path: Path, threads: int = 0) -> SharedSession:
    """Open a graph for threads that work side by side.

    Parameters
    ----------
    path : Path
    threads : int
        Always this many; by default the share of the cores that the asking thread has.

    Raises
    ------
    BundleError
        When the graph is missing or unreadable.
    """
    if not path.is_file():
        msg = f"{path.name} is missing from bundle {path.parent.parent.name!r}; add the bundle again"
        raise BundleError(msg)
    return SharedSession(path, threads)


class SharedSession:
    """A graph in onnxruntime with as many threads as the thread that asks has cores.

    Runs that are analysed side by side with all cores each would wait for one another. A session cannot change its
    threads, so it is opened again when the share changes, which happens between cases; one is kept. Idle threads do
    not spin.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path, self._always, self._lock = path, threads, threading.Lock()
        self.threads = self._wanted()
        """Of the session that is open; 0 where onnxruntime chose."""
        self._session = _opened(path, self.threads)

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Outputs of the graph, all of them when ``outputs`` is None."""
        return list(self._for_this_thread().run(outputs, dict(inputs)))

    def get_inputs(self) -> list[Any]:
        """Name, shape and type of every input."""
        return list(self._session.get_inputs())

    def _for_this_thread(self) -> Any:
        wanted = self._wanted()
        with self._lock:
            if wanted != self.threads:
                self.threads, self._session = wanted, _opened(self._path, wanted)
            return self._session

    def _wanted(self) -> int:
        """Threads; 0 leaves it to onnxruntime, which takes one per physical core."""
        if self._always:
            return self._always
        return thread_budget() if sharers() > 1 or THREADS_VARIABLE in os.environ else 0


def _opened(path: Path, threads: int) -> Any:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidProtobuf

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidProtobuf) as error:
        msg = f"{path.name} of bundle {path.parent.parent.name!r} or its weights cannot be read; add the bundle again"
        raise BundleError(msg) from error
