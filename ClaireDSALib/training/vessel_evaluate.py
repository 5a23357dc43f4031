"""Measure a vessel bundle on simulated patients, and on real MinIPs with expert labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.segmentation import segment_classical
from ClaireDSALib.models.vessel_segmenter import VesselProbabilities
from ClaireDSALib.training.metrics import Estimate
from ClaireDSALib.training.vessel_scores import centerline_dice, dice, mean_over_patients

if TYPE_CHECKING:
    from ClaireDSALib.training.vessel_examples import VesselExample

Segment = Callable[["VesselExample"], VesselProbabilities]

FIGURES = ("dice", "cldice", "artery_dice", "vein_dice", "av_dice")


@dataclass(frozen=True)
class RunScore:
    """One run; NaN where the truth is empty, and for arteries and veins where they are not told apart.

    ``av_dice`` is the mean of artery and vein where both are there, else the one that is. ``false_fraction`` is the
    share of the picture called vessel in a run without any.
    """

    patient: str
    vendor: str
    motion: str
    suitable: bool
    size_px: int
    dice: float
    cldice: float
    artery_dice: float
    vein_dice: float
    av_dice: float
    false_fraction: float
    injected: str = ""


@dataclass(frozen=True)
class VesselFigures:
    """Means with 95 % intervals over patients: group of runs -> figure -> estimate; and the runs themselves."""

    n_runs: int
    n_patients: int
    groups: dict[str, dict[str, Estimate]]
    counts: dict[str, int]
    runs: tuple[RunScore, ...]
    false_fraction: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def is_suitable(facts: dict[str, Any]) -> bool:
    """Whether a run is fit for vessel segmentation by its true properties.

    The label rules of the analysis on the truth: contrast, intracranial, AP or lateral, no severe motion. The quality
    grade, which the analysis asks too, is not asked here. All runs of a set can be subtracted.
    """
    labels = facts["labels"]
    return (
        labels["contrast_fluid"] == "present"
        and labels["region"] == "intracranial"
        and labels["projection"] in ("ap", "lateral")
        and facts["motion"] != "severe"
    )


def score_runs(examples: Sequence[VesselExample], segment: Segment) -> list[RunScore]:
    """Scores of every run at its own resolution."""
    return [_score(one, segment(one)) for one in examples]


def summarise(scores: Sequence[RunScore], *, n_boot: int = 1000) -> VesselFigures:
    """Means with intervals over all suitable runs, by vendor look, motion, size and injected vessel."""
    suitable = [s for s in scores if s.suitable]
    groups: dict[str, list[RunScore]] = {"suitable": suitable}
    for name in ("none", "mild", "severe"):
        groups[f"motion {name}"] = [s for s in scores if s.motion == name and np.isfinite(s.dice)]
    for vendor in sorted({s.vendor for s in suitable}):
        groups[f"vendor {vendor}"] = [s for s in suitable if s.vendor == vendor]
    for size in sorted({s.size_px for s in suitable}):
        groups[f"{size} px"] = [s for s in suitable if s.size_px == size]
    for vessel in sorted({s.injected for s in suitable if s.injected}):
        groups[f"injected {vessel}"] = [s for s in suitable if s.injected == vessel]
    groups = {name: members for name, members in groups.items() if members}
    empty = [s.false_fraction for s in scores if np.isfinite(s.false_fraction)]
    return VesselFigures(
        n_runs=len(scores),
        n_patients=len({s.patient for s in scores}),
        groups={name: _means(members, n_boot) for name, members in groups.items()},
        counts={name: len(members) for name, members in groups.items()},
        runs=tuple(scores),
        false_fraction=float(np.mean(empty)) if empty else float("nan"),
    )


def with_bundle(segmenter: Any, *, times: bool = True, frames: bool = True) -> Segment:
    """Segment examples as the analysis does.

    Parameters
    ----------
    segmenter : VesselSegmenter
    times : bool
        False hides the early and late parts, and the frames.
    frames : bool
        False hides the frames from the network that tells arteries from veins over time.
    """

    def segment(one: VesselExample) -> VesselProbabilities:
        opacity = one.opacity.astype(np.float32)
        parts = one.absolute_times() if times else None
        samples = one.absolute_frames() if times and frames else None
        return segmenter.segment(opacity, one.region, times=parts, samples=samples)

    return segment


def classically(one: VesselExample) -> VesselProbabilities:
    """The baseline, as probabilities that are 0 or 1; it does not tell arteries from veins."""
    mask = segment_classical(opacity=one.opacity.astype(np.float32), valid_region=one.region).mask
    empty = np.zeros_like(mask)
    return VesselProbabilities(np.stack([mask, empty, empty]).astype(np.float32), (0.5, 0.5, 0.5), channels=("vessel",))


def opacity_of_minip(minip: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Relative opacity of a subtracted MinIP that comes as a display picture ``(H, W)``, contrast dark.

    Consoles show subtracted pictures on a logarithmic scale, so opacity is the distance from the background, the
    commonest grey value, as a share of the range.
    """
    values = np.asarray(minip, np.float32)
    spread = float(values.max() - values.min())
    return (np.median(values) - values) / max(spread, 1e-6)


def score_real(folder: Path, segmenter: Any) -> dict[str, float]:
    """Dice of the vessel mask against the experts', picture name -> Dice.

    Parameters
    ----------
    folder : Path
        Holds ``*_minip.png`` and ``*_label.png`` (0 is background).
    segmenter : VesselSegmenter

    Raises
    ------
    FileNotFoundError
        When there is no such picture.
    """
    from PIL import Image

    files = sorted(folder.glob("*_minip.png"))
    if not files:
        msg = f"{folder} holds no *_minip.png with *_label.png"
        raise FileNotFoundError(msg)
    scores = {}
    for file in files:
        minip = np.asarray(Image.open(file).convert("L"))
        truth = np.asarray(Image.open(file.with_name(file.name.replace("_minip", "_label"))).convert("L")) > 0
        scores[file.stem.removesuffix("_minip")] = dice(
            segmenter.segment(opacity_of_minip(minip)).mask("vessel"), truth
        )
    return scores


def _score(one: VesselExample, found: VesselProbabilities) -> RunScore:
    facts = one.facts or {}
    vessel = found.mask("vessel")
    apart = "artery" in found.channels
    artery = dice(found.mask("artery"), one.truth[1]) if apart else float("nan")
    vein = dice(found.mask("vein"), one.truth[2]) if apart else float("nan")
    both = [value for value in (artery, vein) if np.isfinite(value)]
    return RunScore(
        patient=one.patient,
        vendor=facts.get("vendor", ""),
        motion=facts.get("motion", ""),
        suitable=is_suitable(facts) and bool(one.truth[0].any()),
        size_px=one.truth.shape[1],
        dice=dice(vessel, one.truth[0]),
        cldice=centerline_dice(vessel, one.truth[0]),
        artery_dice=artery,
        vein_dice=vein,
        av_dice=float(np.mean(both)) if both else float("nan"),
        false_fraction=float("nan") if one.truth[0].any() else float(vessel.mean()),
        injected=facts.get("injected", ""),
    )


def _means(scores: Sequence[RunScore], n_boot: int) -> dict[str, Estimate]:
    patients = [s.patient for s in scores]
    return {name: mean_over_patients([getattr(s, name) for s in scores], patients, n_boot=n_boot) for name in FIGURES}
