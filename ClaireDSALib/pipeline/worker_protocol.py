"""What the application and its worker process say to each other: one JSON object per line.

Application to worker: ``hello``, ``job``, ``cancel``, ``quit``. Worker to application: ``ready``,
``progress``, ``run``, ``done``, ``failed``, ``cancelled``. Arrays never travel on the line: a message
names ``.npy`` files in the job's folder, which the other side memory-maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL_VERSION = 1


def encode(kind: str, **values: Any) -> str:
    """One message as one line."""
    return json.dumps({"kind": kind, **values}, allow_nan=False) + "\n"


def decode(line: str) -> dict[str, Any]:
    """Read one line.

    Raises
    ------
    ValueError
        When the line is no message.
    """
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        msg = f"expected a JSON object with a kind; got {line[:80]!r}"
        raise ValueError(msg)
    return message


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Save arrays as ``.npy`` and return name -> file name; numbered, so that any name is safe."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for number, (name, array) in enumerate(arrays.items()):
        files[name] = f"{number:03d}.npy"
        np.save(folder / files[name], np.ascontiguousarray(array))
    return files


def read_arrays(folder: Path, files: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Memory-map what :func:`write_arrays` saved."""
    return {name: np.load(folder / Path(file).name, mmap_mode="r") for name, file in files.items()}
