"""Pictures for the quality network: relative opacity, the vessels it shows and the grade of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.models.vessel_input import RELATIVE_RANGE, relative_channels, relative_opacity
from ClaireDSALib.simulator.motion import GRADE_LIMITS
from ClaireDSALib.training.quality_rule import grade_of_record
from ClaireDSALib.training.simulated_set import read_index

_CODE = 127.5
_SEVERE_WEIGHT = 0.3
"""Weight of the vessels of a run with severe motion: they were carried away from where the truth has them."""


@dataclass(frozen=True)
class QualityExample:
    """One picture and its truth.

    Attributes
    ----------
    packed : (H, W) uint8 ndarray
        Relative opacity, -0.5 to 1.5 over 0 to 255.
    vessels : (H, W) bool ndarray or None
        None where the set's vessels are not to be learnt from.
    grade : int
        Index into ``GRADES``.
    patient : str
    vessel_weight : float
        What the vessels count in the loss.
    suitable : bool
        Contrast shown, motion not severe: what the vessel figures are measured on.
    packed_course : (4, H, W) uint8 ndarray or None
        What the frames tell beside their peak, packed alike; None where they are not known.
    """

    packed: npt.NDArray[np.uint8]
    vessels: npt.NDArray[np.bool_] | None
    grade: int
    patient: str
    vessel_weight: float = 1.0
    suitable: bool = True
    packed_course: npt.NDArray[np.uint8] | None = None

    @property
    def image(self) -> npt.NDArray[np.float32]:
        """(H, W) relative opacity."""
        return _unpacked(self.packed)

    @property
    def times(self) -> npt.NDArray[np.float32] | None:
        """(4, H, W) pictures of :data:`~ClaireDSALib.models.vessel_input.COURSE`, relative."""
        return None if self.packed_course is None else _unpacked(self.packed_course)

    def channels(self, count: int) -> npt.NDArray[np.float32]:
        """(count, H, W) relative opacity and what the frames tell; 0 where that is not known."""
        return relative_channels(self.image, self.times if count > 1 else None, n_channels=count)


def pack(opacity: npt.NDArray[Any], region: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Relative opacity of a peak opacity, outside the collimator 0, in 256 steps; same shape."""
    image = relative_opacity(np.where(region, opacity.astype(np.float32), np.float32(0)))
    return _packed(image)


def load_examples(
    folder: Path,
    splits: Sequence[str],
    *,
    vessels: bool = True,
    largest_px: int = 512,
    progress: Callable[[int], None] = lambda _: None,
) -> list[QualityExample]:
    """Read the runs of a simulated set that have a peak opacity.

    Parameters
    ----------
    folder : Path
        Holds ``index.jsonl`` and NPZ files with ``peak``, ``region`` and ``vessels``.
    splits : sequence of str
        Which of ``train``, ``validation`` and ``test`` to read.
    vessels : bool
        Whether the set's vessels may be learnt from.
    largest_px : int
        Larger pictures are left out.
    progress : callable
        Called with the number of pictures read.
    """
    found: list[QualityExample] = []
    for record in records(folder):
        if record["split"] not in splits:
            continue
        example = read_example(folder, record, vessels=vessels)
        if example is not None and max(example.packed.shape) <= largest_px:
            found.append(example)
            progress(len(found))
    return found


def read_example(folder: Path, record: dict[str, Any], *, vessels: bool = True) -> QualityExample | None:
    """One run of a set, or None when it has no peak opacity, or one without any structure."""
    with np.load(folder / record["npz"], allow_pickle=False) as arrays:
        if "peak" not in arrays:
            return None
        packed = pack(arrays["peak"], arrays["region"])
        if packed.min() == packed.max():
            return None
        mask = arrays["vessels"][0] if vessels and "vessels" in arrays else None
        course = _packed(arrays["course"]) if "course" in arrays else None
    severe = record["quality"]["artefact"] >= GRADE_LIMITS[1]
    shown = record["labels"]["contrast_fluid"] == "present"
    return QualityExample(
        packed,
        mask,
        GRADES.index(grade_of_record(record)),
        str(record["patient"]),
        _SEVERE_WEIGHT if severe else 1.0,
        suitable=shown and not severe,
        packed_course=course,
    )


def _packed(relative: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.round((np.clip(relative.astype(np.float32), *RELATIVE_RANGE) + 0.5) * _CODE).astype(np.uint8)


def _unpacked(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return packed.astype(np.float32) / np.float32(_CODE) - np.float32(0.5)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Lines of a set's index, one for each run.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    seen: set[str] = set()
    for record in read_index(folder, f"claire-dsa train label-set --out {folder}"):
        if record["npz"] not in seen:  # label sets list the two pictures of a run apart
            seen.add(record["npz"])
            yield record
