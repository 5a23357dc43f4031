"""One way to open an ONNX graph of a bundle on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ClaireDSALib.dsa.threads import THREADS_VARIABLE
from ClaireDSALib.models.errors import BundleError


def open_session(path: Path, threads: int = 0) -> Any:
    """onnxruntime session whose idle threads do not spin; several sessions share the cores.

    Raises
    ------
    BundleError
        When the graph is missing or unreadable.
    """
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidProtobuf

    if not path.is_file():
        msg = f"{path.name} is missing from bundle {path.parent.parent.name!r}; add the bundle again"
        raise BundleError(msg)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get(THREADS_VARIABLE, "0"))
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidProtobuf) as error:
        msg = f"{path.name} of bundle {path.parent.parent.name!r} or its weights cannot be read; add the bundle again"
        raise BundleError(msg) from error
