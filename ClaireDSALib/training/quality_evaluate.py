"""Figures of a quality bundle on held-out simulated patients, its vessels beside those of a large bundle."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.models.quality_reader import QualityReader
from ClaireDSALib.models.vessel_segmenter import VesselSegmenter
from ClaireDSALib.models.vessel_sequence import early_and_late
from ClaireDSALib.training.filtering_statistics import wilson
from ClaireDSALib.training.metrics import Estimate, balanced_accuracy, confusion_matrix, expected_calibration_error
from ClaireDSALib.training.quality_data import records
from ClaireDSALib.training.quality_rule import grade_of_record
from ClaireDSALib.training.vessel_scores import centerline_dice, dice, mean_over_patients
from ClaireDSALib.training.vessel_set import unpacked


@dataclass(frozen=True)
class QualityFigures:
    """What was measured.

    Attributes
    ----------
    n_runs, n_patients : int
        Graded runs.
    accuracy, accuracy_by_patient : Estimate
        Share of grades that are right; Wilson's interval, and a bootstrap over patients.
    balanced_accuracy, calibration_error : float
    confusion : tuple of tuples of int
        Rows: truth, columns: prediction, in the order of ``GRADES``.
    always_most_frequent : float
        Accuracy of naming the most frequent grade for every run.
    n_vessel_runs, n_vessel_patients : int
        Suitable runs with vessels, on which the following were measured.
    dice, cldice : Estimate
    large_dice, large_cldice : Estimate or None
        Of the large bundle on the same runs.
    large : str
        Name and version of the large bundle.
    """

    n_runs: int
    n_patients: int
    accuracy: Estimate
    accuracy_by_patient: Estimate
    balanced_accuracy: float
    calibration_error: float
    confusion: tuple[tuple[int, ...], ...]
    always_most_frequent: float
    n_vessel_runs: int
    n_vessel_patients: int
    dice: Estimate
    cldice: Estimate
    large_dice: Estimate | None = None
    large_cldice: Estimate | None = None
    large: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    reader: QualityReader,
    grade_sets: Sequence[Path],
    vessel_sets: Sequence[Path],
    *,
    split: str = "test",
    large: VesselSegmenter | None = None,
) -> QualityFigures:
    """Measure grades on some sets and vessels on others.

    Parameters
    ----------
    reader : QualityReader
    grade_sets, vessel_sets : sequence of Path
        Simulated sets with ``peak`` and ``region``, the second also with exact ``vessels``.
    split : str
    large : VesselSegmenter, optional
        Segments the same runs, as the analysis would: with the early and late parts where the set keeps frames.

    Raises
    ------
    ValueError
        When a set has no runs of the split.
    """
    probabilities, targets, patients = _grades(reader, grade_sets, split)
    right = probabilities.argmax(1) == targets
    scores = _vessels(reader, large, vessel_sets, split)
    who = [s["patient"] for s in scores]
    by_large = large is not None
    return QualityFigures(
        n_runs=len(targets),
        n_patients=len(set(patients)),
        accuracy=wilson(int(right.sum()), len(right)),
        accuracy_by_patient=mean_over_patients(right.astype(float).tolist(), patients),
        balanced_accuracy=balanced_accuracy(targets, probabilities.argmax(1)),
        calibration_error=expected_calibration_error(targets, probabilities),
        confusion=tuple(
            tuple(int(n) for n in row) for row in confusion_matrix(targets, probabilities.argmax(1), len(GRADES))
        ),
        always_most_frequent=float(np.bincount(targets).max() / len(targets)),
        n_vessel_runs=len(scores),
        n_vessel_patients=len(set(who)),
        dice=mean_over_patients([s["dice"] for s in scores], who),
        cldice=mean_over_patients([s["cldice"] for s in scores], who),
        large_dice=mean_over_patients([s["large_dice"] for s in scores], who) if by_large else None,
        large_cldice=mean_over_patients([s["large_cldice"] for s in scores], who) if by_large else None,
        large="" if large is None else f"{large.name} {large.version} ({large.sha256[:12]})",
    )


def milliseconds(model: Any, shape: tuple[int, int] = (512, 512), *, repeats: int = 15) -> float:
    """Median milliseconds of one picture through ``read`` or ``segment``, preparation included, one thread."""
    rng = np.random.default_rng(0)
    picture = rng.random(shape).astype(np.float32)
    run = model.read if hasattr(model, "read") else model.segment
    run(picture)
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        run(picture)
        spent.append(time.process_time() - start)
    return 1000 * float(np.median(spent))


def _grades(reader: QualityReader, sets: Sequence[Path], split: str) -> tuple[Any, Any, list[str]]:
    found, targets, patients = [], [], []
    for folder in sets:
        for record in records(folder):
            if record["split"] != split:
                continue
            with np.load(folder / record["npz"], allow_pickle=False) as arrays:
                if "peak" not in arrays:
                    continue
                opacity, region = arrays["peak"].astype(np.float32), arrays["region"]
                evidence, times = arrays.get("evidence"), known_times(arrays, opacity)
            if opacity.min() == opacity.max():  # the analysis refuses such a picture, and no grade is given
                continue
            valid, stored = None if region.all() else region, record["labels"]["subtraction"] == "subtracted"
            given = {"times": times, "evidence": evidence, "subtracted": stored}
            found.append(reader.read(opacity, valid, **given).probabilities)
            targets.append(GRADES.index(grade_of_record(record)))
            patients.append(str(record["patient"]))
    if not targets:
        msg = f"no runs of split {split!r} with a subtracted picture in {[folder.name for folder in sets]}"
        raise ValueError(msg)
    return np.array(found), np.array(targets), patients


def _vessels(
    reader: QualityReader, large: VesselSegmenter | None, sets: Sequence[Path], split: str
) -> list[dict[str, Any]]:
    scores: list[dict[str, Any]] = []
    for folder in sets:
        for record in records(folder):
            if record["split"] != split or not _suitable(record):
                continue
            with np.load(folder / record["npz"], allow_pickle=False) as arrays:
                if "peak" not in arrays or not arrays["vessels"][0].any():
                    continue
                opacity, region, truth = arrays["peak"].astype(np.float32), arrays["region"], arrays["vessels"][0]
                times = known_times(arrays, opacity)
            valid = None if region.all() else region
            mask = reader.read(opacity, valid, times=times).mask()
            line = {
                "patient": str(record["patient"]),
                "dice": dice(mask, truth),
                "cldice": centerline_dice(mask, truth),
            }
            if large is not None:
                mask = large.segment(opacity, valid, times=times).mask("vessel")
                line |= {"large_dice": dice(mask, truth), "large_cldice": centerline_dice(mask, truth)}
            scores.append(line)
    return scores


def known_times(arrays: Any, opacity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """What the frames tell beside their peak, in the unit of ``opacity``, where the set keeps it."""
    if "course" in arrays:
        return arrays["course"].astype(np.float32) * np.float32(np.percentile(opacity, 99.5))
    if "frames" not in arrays:
        return None
    return early_and_late(unpacked(arrays["frames"])) * np.float32(np.percentile(opacity, 99.5))


def _suitable(record: dict[str, Any]) -> bool:
    from ClaireDSALib.simulator.motion import GRADE_LIMITS

    return record["labels"]["contrast_fluid"] == "present" and record["quality"]["artefact"] < GRADE_LIMITS[1]


def write_figures(figures: QualityFigures, path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures.to_dict(), indent=1) + "\n", encoding="utf-8")
