"""The unit of work: one run, the two views of one biplane run, or the runs of one zip file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 1 << 16
_SAMPLE_BYTES = 1 << 12
_SAMPLES = 8


@dataclass(frozen=True)
class Unit:
    """What is analysed, committed and counted as one.

    Parameters
    ----------
    content : str
        SHA-256 over what the unit's files hold, see :func:`content_of`.
    run_ids : tuple of str
    paths : tuple of str
        Files to read.
    n_bytes : int
    centre : str
        Where it comes from, as the table shows it.
    patient_key : str
        Equal for equal patients, see :func:`ClaireDSALib.dsa.read_identity.patient_key`.
    """

    content: str
    run_ids: tuple[str, ...]
    paths: tuple[str, ...]
    n_bytes: int = 0
    centre: str = ""
    patient_key: str = ""

    def __post_init__(self) -> None:
        if not self.run_ids or not self.paths:
            msg = f"a unit needs runs and files; got {len(self.run_ids)} runs and {len(self.paths)} files"
            raise ValueError(msg)

    def key(self, recipe_sha256: str) -> str:
        """Name of the unit's result: content and recipe."""
        return hashlib.sha256(f"{recipe_sha256}\n{self.content}".encode()).hexdigest()


def content_of(instances: list[tuple[str, int, str]]) -> str:
    """Hash of what a unit is made of.

    Parameters
    ----------
    instances : list of (str, int, str)
        SOP instance UID, bytes of the file, and :func:`fingerprint` of the file.
    """
    lines = "\n".join(f"{uid} {size} {mark}" for uid, size, mark in sorted(instances))
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprint(path: Path, size: int) -> str:
    """Hash of samples of a file: its first and last 64 KiB and eight 4 KiB blocks in between.

    The whole of an archive cannot be read for every call, and a SOP instance UID with the size is not enough:
    de-identified copies keep both. Small files are hashed whole.
    """
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        found.update(stream.read(_HEAD_BYTES))
        if size > 2 * _HEAD_BYTES + _SAMPLES * _SAMPLE_BYTES:
            step = (size - 2 * _HEAD_BYTES) // (_SAMPLES + 1)
            for number in range(1, _SAMPLES + 1):
                stream.seek(_HEAD_BYTES + number * step)
                found.update(stream.read(_SAMPLE_BYTES))
            stream.seek(size - _HEAD_BYTES)
        found.update(stream.read())
    return found.hexdigest()[:32]
