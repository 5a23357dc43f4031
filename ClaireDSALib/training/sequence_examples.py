"""Prepared runs with truth, small enough to keep thousands in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_LOW, _SPAN = -0.5, 2.0
"""Relative opacity is stored in 8 bits over -0.5 to 1.5."""


@dataclass(frozen=True)
class SequenceExample:
    """One run of T frames as the sequence network sees it, and the truth.

    Attributes
    ----------
    stack : (T, S, S) uint8 ndarray
        Relative opacity, see :func:`pack`.
    times_s : (T,) float64 ndarray
    phases : (T,) int8 ndarray
        Index into ``PHASES``.
    thrombus : bool
    site : (row, column)
        In pixels of the stack; NaN without thrombus or when it lies outside the picture.
    territory : (S/4, S/4) uint8 ndarray
        Share of missing perfusion, 0 to 255.
    patient, view, site_name, pair : str
        ``pair`` is equal for the two views of one injection.
    pixel_mm : float
        Size of a pixel of the stack at the isocentre; NaN when unknown.
    missing_mm2 : float
        Area at the isocentre of the missing territory inside the collimator, each pixel weighted with the share of
        its tissue that is missing; 0 without thrombus, NaN when unknown.
    """

    stack: npt.NDArray[np.uint8]
    times_s: npt.NDArray[np.float64]
    phases: npt.NDArray[np.int8]
    thrombus: bool
    site: tuple[float, float]
    territory: npt.NDArray[np.uint8]
    patient: str
    view: str
    site_name: str
    pair: str
    pixel_mm: float = float("nan")
    missing_mm2: float = float("nan")


def pack(relative: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Relative opacity -0.5..1.5 to 0..255."""
    return np.round(np.clip((relative - _LOW) / _SPAN, 0, 1) * 255).astype(np.uint8)


def unpack(stack: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Inverse of :func:`pack` to 1/255 of the range."""
    return stack.astype(np.float32) * np.float32(_SPAN / 255) + np.float32(_LOW)


def save_examples(path: Path, examples: Sequence[SequenceExample]) -> None:
    """Write examples to one compressed npz, through a temporary file."""
    arrays: dict[str, npt.NDArray] = {}
    for number, one in enumerate(examples):
        for name in ("stack", "times_s", "phases", "territory"):
            arrays[f"{number}.{name}"] = getattr(one, name)
        arrays[f"{number}.site"] = np.asarray(one.site, np.float64)
        arrays[f"{number}.mm"] = np.asarray([one.pixel_mm, one.missing_mm2])
        arrays[f"{number}.thrombus"] = np.asarray(one.thrombus)
        arrays[f"{number}.text"] = np.asarray([one.patient, one.view, one.site_name, one.pair])
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, n=np.asarray(len(examples)), **arrays)
    temporary.replace(path)


def load_examples(folder: Path) -> Iterator[SequenceExample]:
    """All examples of all ``*.npz`` in a folder, in the order of the file names."""
    for path in sorted(folder.glob("*.npz")):
        if path.name.endswith(".part.npz"):
            continue
        with np.load(path, allow_pickle=False) as data:
            for number in range(int(data["n"])):
                patient, view, site_name, pair = map(str, data[f"{number}.text"])
                yield SequenceExample(
                    stack=data[f"{number}.stack"],
                    times_s=data[f"{number}.times_s"],
                    phases=data[f"{number}.phases"],
                    thrombus=bool(data[f"{number}.thrombus"]),
                    site=(float(data[f"{number}.site"][0]), float(data[f"{number}.site"][1])),
                    territory=data[f"{number}.territory"],
                    patient=patient,
                    view=view,
                    site_name=site_name,
                    pair=pair,
                    pixel_mm=float(data[f"{number}.mm"][0]),
                    missing_mm2=float(data[f"{number}.mm"][1]),
                )
