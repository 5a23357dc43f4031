"""Read angiographic runs from a file, a folder, a zip or a DICOMDIR."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_header import quiet
from ClaireDSALib.dsa.pairing import find_pairs
from ClaireDSALib.dsa.read_files import ReadProgress, gather
from ClaireDSALib.dsa.read_grouping import Run, group_into_runs
from ClaireDSALib.dsa.read_run import series_from_headers, series_with_pixels
from ClaireDSALib.dsa.series import DsaSeries, Pair, Skipped

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ReadResult:
    """Everything found below one path.

    ``series`` stand in the order in which their files were found; ``pairs`` refer to them.
    """

    series: tuple[DsaSeries, ...]
    pairs: tuple[Pair, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read(path: PathLike | Sequence[PathLike], *, progress: ReadProgress | None = None) -> ReadResult:
    """Find every angiographic run below ``path``.

    Headers are read and up to seven frames per run decoded, to judge polarity, subtraction and
    picture area; all other frames are decoded when they are asked for.

    Parameters
    ----------
    path : path or sequence of paths
        Files, folders (searched through), zip files, or a DICOMDIR.
    progress : callable, optional
        ``progress(done, total, step)`` with step ``files`` and then ``runs``.

    Returns
    -------
    ReadResult
        Runs, biplane pairs, and for every file that was not used one sentence why.

    Raises
    ------
    FileNotFoundError
        When ``path`` itself does not exist. Nothing that a file contains raises.

    Examples
    --------
    >>> found = read("study")  # doctest: +SKIP
    >>> [(series.run_id, series.n_frames) for series in found.series]  # doctest: +SKIP
    [('1f0c...', 96)]
    """
    return _read(path, series_with_pixels, progress)


def examine(path: PathLike | Sequence[PathLike], *, progress: ReadProgress | None = None) -> ReadResult:
    """Find every run from headers alone, without decoding: for lists and import dialogs.

    As :func:`read`, but polarity, subtraction and picture area are only what the headers say.
    Frames can be read all the same.
    """
    return _read(path, series_from_headers, progress)


def _read(
    path: PathLike | Sequence[PathLike], describe: Callable[[Run], DsaSeries], progress: ReadProgress | None
) -> ReadResult:
    named = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    with quiet():
        return _read_all([Path(one) for one in named], describe, progress or _ignore)


def _read_all(paths: Sequence[Path], describe: Callable[[Run], DsaSeries], progress: ReadProgress) -> ReadResult:
    gathered = gather(paths, progress)
    found: list[tuple[Run, DsaSeries]] = []
    skipped = list(gathered.skipped)
    runs = group_into_runs(gathered.instances)
    for done, run in enumerate(runs):
        try:
            found.append((run, describe(run)))
        except UnusableError as error:
            skipped.append(Skipped(run.label, str(error)))
        progress(done + 1, len(runs), "runs")
    return ReadResult(tuple(series for _, series in found), find_pairs(found), tuple(skipped))


def _ignore(done: int, total: int, step: str) -> None:
    """Nobody wants to know."""


class _CallableModule(types.ModuleType):
    """``ClaireDSALib.dsa.read`` names this module once it is imported, and the function before: both can be called."""

    def __call__(self, path: PathLike | Sequence[PathLike], *, progress: ReadProgress | None = None) -> ReadResult:
        return read(path, progress=progress)


sys.modules[__name__].__class__ = _CallableModule
