"""Simulated pictures with vessel truth, ready for training and measuring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.vessel_input import relative_channels, strongest_opacity
from ClaireDSALib.models.vessel_sequence import early_and_late
from ClaireDSALib.training.simulated_set import read_index
from ClaireDSALib.training.vessel_set import unpacked

_MOST_CENTRES = 3000


@dataclass(frozen=True)
class VesselExample:
    """One picture and its truth.

    Attributes
    ----------
    opacity : (H, W) float16 ndarray
        Peak opacity, contrast positive.
    truth : (3, H, W) bool ndarray
        Vessel, artery, vein.
    patient : str
    times : (4, H, W) or (2, H, W) float16 ndarray or None
        Pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE`, relative to the 99.5th percentile of ``opacity``;
        only early and late in sets made before 0.4.0, None when frames are not known.
    facts : dict
        Line of the index: vendor look, motion, spacing and others.
    region : (H, W) bool ndarray or None
        Inside the collimator.
    frames : (N, H, W) uint8 ndarray or None
        Packed opacity once a second, when asked for and known.
    """

    opacity: npt.NDArray[np.float16]
    truth: npt.NDArray[np.bool_]
    patient: str
    times: npt.NDArray[np.float16] | None = None
    facts: dict[str, Any] | None = None
    region: npt.NDArray[np.bool_] | None = None
    frames: npt.NDArray[np.uint8] | None = None

    @cached_property
    def image(self) -> npt.NDArray[np.float16]:
        """(5, H, W) channels of the network at the picture's own size."""
        return relative_channels(self.opacity.astype(np.float32), self.times).astype(np.float16)

    def absolute_times(self) -> npt.NDArray[np.float32] | None:
        """``times`` in the unit of ``opacity``."""
        return None if self.times is None else self.times.astype(np.float32) * self._strongest

    def absolute_frames(self) -> npt.NDArray[np.float32] | None:
        """``frames`` (N, H, W) in the unit of ``opacity``."""
        return None if self.frames is None else unpacked(self.frames) * self._strongest

    @cached_property
    def _strongest(self) -> np.float32:
        return np.float32(strongest_opacity(self.opacity.astype(np.float32)))

    @cached_property
    def centres(self) -> npt.NDArray[np.intp]:
        """(K, 2) rows and columns of some vessel pixels."""
        places = np.argwhere(self.truth[0])
        return places[:: max(1, len(places) // _MOST_CENTRES)]


def load_examples(
    folder: str | Path,
    split: str | None = None,
    *,
    times: bool = True,
    frames: bool = False,
    known: Iterable[str] = (),
    per_patient: int = 0,
) -> list[VesselExample]:
    """Examples of a set made by :func:`~ClaireDSALib.training.vessel_set.make_vessel_set`.

    Parameters
    ----------
    folder : str or Path
    split : "train", "validation", "test" or None for all
    times : bool
        Read what the frames tell beside their peak.
    frames : bool
        Keep the frames, for sequence networks.
    known : iterable of str
        Files (``npz`` of the index) to leave out, because they are loaded already.
    per_patient : int
        Take at most so many runs of a patient, in order; 0 takes all.

    Raises
    ------
    FileNotFoundError
        Without an index.
    """
    folder, skip = Path(folder), set(known)
    lines = read_index(folder, f"claire-dsa train vessels --data {folder}")
    wanted = [line for line in lines if split in (None, line["split"]) and line["npz"] not in skip]
    taken: Counter[str] = Counter()
    examples = []
    for line in wanted:
        taken[line["patient"]] += 1
        if not per_patient or taken[line["patient"]] <= per_patient:
            examples.append(_load(folder, line, times, frames))
    return examples


def _load(folder: Path, line: dict[str, Any], times: bool, frames: bool) -> VesselExample:
    with np.load(folder / line["npz"]) as arrays:
        stack = arrays["frames"] if (times or frames) and "frames" in arrays else None
        parts = arrays["course"] if times and "course" in arrays else None
        if times and parts is None and stack is not None:
            parts = early_and_late(unpacked(stack)).astype(np.float16)
        return VesselExample(
            opacity=arrays["peak"],
            truth=arrays["vessels"],
            patient=line["patient"],
            times=parts,
            facts=line,
            region=arrays["region"],
            frames=stack if frames else None,
        )
