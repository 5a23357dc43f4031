"""Measure a label bundle on pictures with known labels; one result for JSON and page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.classifier import Classifier
from ClaireDSALib.models.frame_reader import tempered
from ClaireDSALib.models.two_pictures import BrightestReading
from ClaireDSALib.training.augment import plain
from ClaireDSALib.training.metrics import LabelMetrics, label_metrics, reliability
from ClaireDSALib.training.samples import LabelledPictures, RunEvidence

PUBLISHED_AUC: dict[str, tuple[float, str]] = {
    "contrast_fluid": (0.98, "AUC"),
    "projection": (0.94, "macro AUC; oblique 0.80"),
}
"""What arXiv 2508.12755 states per label; over all its nine labels AUC 0.91 to 0.98, precision 0.70 to 1.00."""
PUBLISHED_WARNING = (
    "The published figures were measured on 1,758 clinical MinIPs of one registry with that paper's labels; "
    "ours on other data. They stand side by side for orientation and must not be compared as if on one test set."
)


@dataclass(frozen=True)
class Evaluation:
    """All figures of one bundle on one set."""

    bundle: str
    version: str
    sha256: str
    engine: str
    data: str
    n_pictures: int
    n_patients: int
    labels: tuple[LabelMetrics, ...]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    """Group (for instance vendor) -> label -> macro AUC."""
    reliability: dict[str, list[tuple[float, float, int]]] = field(default_factory=dict)
    outlier_share: float | None = None
    """Share of these pictures called "not a cerebral angiogram"."""

    @property
    def mean_macro_auc(self) -> float:
        return float(np.nanmean([label.macro_auc.value for label in self.labels]))

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["mean_macro_auc"] = self.mean_macro_auc
        data["published"] = {"warning": PUBLISHED_WARNING, "auc": {k: v[0] for k, v in PUBLISHED_AUC.items()}}
        return _finite(data)


def evaluate(
    classifier: Classifier,
    pictures: LabelledPictures,
    *,
    data: str,
    n_boot: int = 400,
    progress: Callable[[int, int], None] = lambda _i, _n: None,
) -> tuple[Evaluation, npt.NDArray[np.float32]]:
    """Classify every picture and compare.

    Returns
    -------
    Evaluation
    probabilities : (N, K) float32 ndarray

    Raises
    ------
    ValueError
        When the pictures' labels are not those of the bundle.
    """
    if classifier.bundle.labels.names != pictures.labels.names:
        msg = f"bundle has labels {classifier.bundle.labels.names}, the pictures have {pictures.labels.names}"
        raise ValueError(msg)
    probabilities, scores = predict(classifier, pictures, progress)
    threshold = classifier.bundle.outlier_threshold
    result = Evaluation(
        bundle=classifier.name,
        version=classifier.version,
        sha256=classifier.sha256,
        engine=f"{classifier.engine} on {classifier.device}",
        data=data,
        n_pictures=len(pictures),
        n_patients=len(set(pictures.patients.tolist())),
        labels=measure(pictures, probabilities, n_boot=n_boot),
        groups=_by_group(pictures, probabilities),
        reliability=_reliabilities(pictures, probabilities),
        outlier_share=None if threshold is None else float((scores > threshold).mean()),
    )
    return result, probabilities


def predict(
    classifier: Classifier, pictures: LabelledPictures, progress: Callable[[int, int], None] = lambda _i, _n: None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities ``(N, K)`` and outlier scores ``(N,)``, with all that is known of the runs weighed in."""
    spec, probabilities, scores = classifier.bundle.input_spec, [], []
    for k, image in enumerate(pictures.images):
        outputs = classifier.run_prepared(plain(image, spec)[None])
        found = outputs.probabilities[0].astype(np.float64)
        probabilities.append(_as_analysed(classifier, found, pictures.runs[k]) if pictures.runs else found)
        scores.append(outputs.outlier_score[0])
        progress(k + 1, len(pictures))
    return np.stack(probabilities).astype(np.float32), np.asarray(scores, np.float32)


def _as_analysed(classifier: Classifier, found: npt.NDArray[np.float64], run: RunEvidence) -> npt.NDArray[np.float64]:
    """Probabilities (K,) of one picture with those labels replaced that the analysis reads off something else."""
    bundle = classifier.bundle
    if run.brightest is not None:
        for name, how in bundle.pictures.brightest.items():
            chances = brightest_probabilities(classifier, name, how, run.brightest)
            if classifier.finder is not None and classifier.finder.label == name:
                chances = classifier.finder.chances(classifier.finder.find(run.brightest), tuple(chances))
            found[bundle.labels.slice_of(name)] = chances
    if run.evidence is not None and bundle.frames is not None:
        place = bundle.labels.slice_of(bundle.frames.label)
        found[place] = bundle.frames.combined(found[place], run.evidence, run.stored_subtracted)
    return found


def brightest_probabilities(
    classifier: Classifier, label: str, how: BrightestReading, picture: npt.NDArray[np.uint16]
) -> npt.NDArray[np.float64]:
    """Probabilities of one label read off a kept picture (S, S) of the largest values over time."""
    spec, place = replace(classifier.bundle.input_spec, size_px=how.size_px), classifier.bundle.labels.slice_of(label)
    chances = classifier.run_prepared(plain(picture, spec)[None]).probabilities[:, place]
    return tempered(chances, how.temperature)[0]


def measure(
    pictures: LabelledPictures, probabilities: npt.NDArray[np.floating], *, n_boot: int = 400
) -> tuple[LabelMetrics, ...]:
    """Figures of every label over the pictures for which it is known."""
    found = []
    for position, label in enumerate(pictures.labels.labels):
        known = pictures.targets[:, position] >= 0
        part = probabilities[known][:, pictures.labels.slice_of(label.name)]
        found.append(label_metrics(label.name, label.classes, pictures.targets[known, position], part, n_boot=n_boot))
    return tuple(found)


def _by_group(pictures: LabelledPictures, probabilities: npt.NDArray[np.floating]) -> dict[str, dict[str, float]]:
    groups = {}
    for group in sorted(set(pictures.groups.tolist()) - {""}):
        chosen = np.flatnonzero(pictures.groups == group)
        metrics = measure(pictures.subset(chosen), probabilities[chosen], n_boot=0)
        groups[str(group)] = {m.name: m.macro_auc.value for m in metrics}
    return groups


def _reliabilities(
    pictures: LabelledPictures, probabilities: npt.NDArray[np.floating]
) -> dict[str, list[tuple[float, float, int]]]:
    curves = {}
    for position, label in enumerate(pictures.labels.labels):
        known = pictures.targets[:, position] >= 0
        part = probabilities[known][:, pictures.labels.slice_of(label.name)]
        curves[label.name] = reliability(pictures.targets[known, position], part)
    return curves


def _finite(value: Any) -> Any:
    """JSON has no NaN: such figures become null."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write the figures."""
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(evaluation.to_dict(), indent=1) + "\n", encoding="utf-8")
