"""Read angiographic runs from a file, a folder, a zip or a DICOMDIR."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import FileBytes
from ClaireDSALib.dsa.dicom_instance import Instance, examine_instance
from ClaireDSALib.dsa.series import DsaSeries, FrameRef, Intensity, Pair, Skipped
from ClaireDSALib.dsa.sources import DicomFrames

ReadProgress = Callable[[int, int, str], None]
"""``progress(done, total, what)``: files examined so far, files in all, a word on the step."""


@dataclass(frozen=True)
class ReadResult:
    """Everything found below one path."""

    series: tuple[DsaSeries, ...]
    pairs: tuple[Pair, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read(path: str | Path, *, progress: ReadProgress | None = None) -> ReadResult:
    """Find every angiographic run below ``path``."""
    root = Path(path)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    series, skipped = [], []
    for k, file in enumerate(files):
        label = file.name if file == root else file.relative_to(root).as_posix()
        try:
            series.append(_series(examine_instance(label, FileBytes.of(file))))
        except UnusableError as error:
            skipped.append(Skipped(label, str(error)))
        if progress is not None:
            progress(k + 1, len(files), "read")
    return ReadResult(tuple(series), (), tuple(skipped))


def _series(instance: Instance) -> DsaSeries:
    run_id = hashlib.sha256(instance.sop_instance_uid.encode()).hexdigest()[:12]
    frames = DicomFrames(
        instance.source, instance.form, instance.spans, big_endian=instance.big_endian, name=f"run {run_id}"
    )
    return DsaSeries(
        run_id=run_id,
        frames=frames,
        times_s=np.arange(instance.n_frames, dtype=np.float64),
        frame_refs=tuple(FrameRef(instance.sop_instance_uid, k + 1) for k in range(instance.n_frames)),
        intensity=Intensity(bits_stored=instance.bits_stored),
        warnings=instance.warnings,
    )


class _CallableModule(types.ModuleType):
    """``ClaireDSALib.dsa.read`` names this module once it is imported, and the function before: both can be called."""

    def __call__(self, path: str | Path, *, progress: ReadProgress | None = None) -> ReadResult:
        return read(path, progress=progress)


sys.modules[__name__].__class__ = _CallableModule
