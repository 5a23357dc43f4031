"""Ways of finding vessels, arteries and veins side by side on the same held-out runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ClaireDSALib.models.vessel_segmenter import VesselProbabilities
from ClaireDSALib.training.vessel_evaluate import (
    RunScore,
    Segment,
    VesselFigures,
    classically,
    score_runs,
    summarise,
    with_bundle,
)
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_scores import mean_over_patients
from ClaireDSALib.training.vessel_set import unpacked

AS_USED = "bundle as the analysis uses it"
WITH_TIMES, MINIP_ONLY = "bundle with early and late parts", "bundle on the MinIP alone"
CLASSICAL, SEQUENCE = "classical baseline", "sequence network"
FRAMES_KNOWN = "runs with frames: "
"""Begins the names of ways that are compared on runs with frames alone."""


def compare(
    examples: Sequence[VesselExample], segmenter: Any, sequence: Path | None = None
) -> dict[str, VesselFigures]:
    """Figures of each way, first the bundle as the analysis uses it; then, when it has a network over the frames, what
    that network adds, on the runs with frames.

    Parameters
    ----------
    examples : sequence of VesselExample
    segmenter : VesselSegmenter
    sequence : Path, optional
        Bundle folder of a sequence network. Then only runs with frames count, for every way, because the comparison
        has to be on the same runs. It tells arteries from veins inside the vessels of the first way.
    """
    if sequence is not None:
        examples = [one for one in examples if one.frames is not None]
    over_frames = segmenter.artery_vein is not None
    first = AS_USED if over_frames else WITH_TIMES if segmenter.uses_times else MINIP_ONLY
    ways: dict[str, Segment] = {first: with_bundle(segmenter)}
    if segmenter.uses_times:
        ways[MINIP_ONLY] = with_bundle(segmenter, times=False)
    if sequence is not None:
        ways[SEQUENCE] = with_sequence(segmenter, sequence)
    ways[CLASSICAL] = classically
    scores = {name: score_runs(examples, way) for name, way in ways.items()}
    found = {name: summarise(some) for name, some in scores.items()}
    if over_frames:
        known = [k for k, one in enumerate(examples) if one.frames is not None]
        with_times = score_runs([examples[k] for k in known], with_bundle(segmenter, frames=False))
        found[FRAMES_KNOWN + SEQUENCE] = summarise([scores[AS_USED][k] for k in known])
        found[FRAMES_KNOWN + WITH_TIMES] = summarise(with_times)
        found[FRAMES_KNOWN + MINIP_ONLY] = summarise([scores[MINIP_ONLY][k] for k in known])
    return found


def with_sequence(segmenter: Any, folder: Path) -> Segment:
    """Vessels by the bundle, arteries and veins inside them by a sequence network."""
    from ClaireDSALib.models.cave_segmenter import CaveSegmenter

    reader = CaveSegmenter(folder)
    bundle = with_bundle(segmenter)

    def segment(one: VesselExample) -> VesselProbabilities:
        found = bundle(one)
        if one.frames is None:
            msg = f"a run of patient {one.patient} has no frames for the sequence network"
            raise ValueError(msg)
        classes = reader.classes(unpacked(one.frames), one.truth.shape[1:])
        maps = np.concatenate([found.maps[:1], classes])
        return VesselProbabilities(maps, (found.thresholds[0], *reader.thresholds[1:]), found.cleaning)

    return segment


def paired_difference(
    first: VesselFigures, second: VesselFigures, figure: str = "av_dice"
) -> tuple[float, float, float, float]:
    """Mean of second minus first over suitable runs, its 95 % interval and Wilcoxon's p, both over patients."""
    pairs = [(a, b) for a, b in zip(first.runs, second.runs, strict=True) if a.suitable]
    differences = [getattr(b, figure) - getattr(a, figure) for a, b in pairs]
    patients = [a.patient for a, _ in pairs]
    estimate = mean_over_patients(differences, patients)
    means = _per_patient(differences, patients)
    p = float(stats.wilcoxon(means).pvalue) if len(means) > 5 and np.any(means) else float("nan")
    return estimate.value, estimate.low, estimate.high, p


def _per_patient(values: Sequence[float], patients: Sequence[str]) -> npt.NDArray[np.float64]:
    names = np.array(patients)
    numbers = np.array(values)
    means = [np.nanmean(numbers[names == n]) for n in np.unique(names) if np.isfinite(numbers[names == n]).any()]
    return np.array(means)


__all__ = [
    "AS_USED",
    "CLASSICAL",
    "FRAMES_KNOWN",
    "MINIP_ONLY",
    "SEQUENCE",
    "WITH_TIMES",
    "RunScore",
    "compare",
    "paired_difference",
]
