"""Does a site look like what a bundle was trained on, and would adapting pay? A comparison without labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import nn

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.networks import SharedTrunkClassifier
from ClaireDSALib.models.networks.outputs import softmax_per_label
from ClaireDSALib.models.weights import load_network
from ClaireDSALib.training.adaptation.measures import feature_distance
from ClaireDSALib.training.adaptation.parts import head_logits
from ClaireDSALib.training.adaptation.prepared import prepare_pictures
from ClaireDSALib.training.adaptation.statistics import features_of
from ClaireDSALib.training.drift_suggest import Suggestion, suggest
from ClaireDSALib.training.drift_tests import feature_shift, holm, prediction_shift
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.train_bundle import ACCEPTED_SHARE, training_parts

ALPHA = 0.01
STRONG_DISTANCE = 0.15
"""Feature distance (in variances of the source) from which a new look is called strong: the simulated second look of
``docs/adaptation.md``, which costs 0.19 of balanced accuracy, lies 0.27 away."""
STRONG_OUTLIERS = 0.15
FOR_CHECKING, FOR_ADAPTING = 40, 100
"""Labelled runs: to measure a label within about 0.12, and to adapt with a validation of its own."""
N_STRANGE, N_NEIGHBOURS = 5, 3


@dataclass(frozen=True)
class LabelDrift:
    """Predicted class shares of one label at both sites; ``p`` is adjusted for the number of labels."""

    name: str
    classes: tuple[str, ...]
    at_source: tuple[float, ...]
    at_site: tuple[float, ...]
    p: float

    @property
    def moved(self) -> bool:
        return self.p < ALPHA


@dataclass(frozen=True)
class Strange:
    """A run of the site that the network finds strange, and the training runs nearest to it."""

    name: str
    score: float
    neighbours: tuple[tuple[str, float], ...]
    """Name and distance in spreads of the features."""


@dataclass(frozen=True)
class Drift:
    """What a comparison found."""

    bundle: str
    version: str
    sha256: str
    n_source: int
    n_site: int
    n_patients: int
    outlier_share: float | None
    """Share of the site's runs above the bundle's threshold."""
    outlier_share_source: float | None
    outlier_p: float
    distance: float
    distance_p: float
    labels: tuple[LabelDrift, ...]
    strange: tuple[Strange, ...]
    severity: str
    """``none``, ``mild`` or ``strong``."""
    labels_to_collect: int
    advice: tuple[str, ...]
    suggestions: tuple[Suggestion, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What a network makes of one site's pictures."""

    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    """NaN for a network without outlier score."""


def compare(bundle: Bundle, source: LabelledPictures, site: LabelledPictures, *, n_suggest: int = 0) -> Drift:
    """Compare a site's runs with a bundle's training data.

    Parameters
    ----------
    bundle : Bundle
    source : LabelledPictures
        What the bundle was trained on, or pictures like it; its validation part is used, because a network is surer
        of the pictures it was trained on.
    site : LabelledPictures
        Labels are not looked at.
    n_suggest : int
        Runs to name for labelling; 0 names as many as the advice asks for.

    Raises
    ------
    ValueError
        When the site has fewer than eight runs.
    """
    if len(site) < 8:
        msg = f"a comparison needs at least 8 runs of the site; got {len(site)}"
        raise ValueError(msg)
    network = load_network(bundle)
    training, held_out = training_parts(source, 0)
    known, here, there = (look_at(network, bundle, p) for p in (training, held_out, site))
    labels = _label_drifts(bundle, here, there, held_out, site)
    distance = feature_distance(here.features, there.features)
    distance_p = feature_shift(here.features, there.features, held_out.patients, site.patients)
    outliers = _outliers(bundle, here, there)
    severity = _severity(distance, distance_p, outliers, labels)
    collect = {"none": 0, "mild": FOR_CHECKING, "strong": FOR_ADAPTING}[severity]
    wanted = n_suggest or collect
    return Drift(
        bundle=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        n_source=len(held_out),
        n_site=len(site),
        n_patients=len(np.unique(site.patients)),
        outlier_share=outliers[0],
        outlier_share_source=outliers[1],
        outlier_p=outliers[2],
        distance=distance,
        distance_p=distance_p,
        labels=labels,
        strange=_strangest(there, known, site, training),
        severity=severity,
        labels_to_collect=collect,
        advice=_advice(severity, distance, distance_p, outliers, labels, collect),
        suggestions=tuple(
            suggest(there.features, there.probabilities, site.names, site.patients, bundle.labels, wanted)
        ),
    )


def look_at(network: nn.Module, bundle: Bundle, pictures: LabelledPictures) -> Seen:
    """Features, calibrated probabilities and outlier scores of pictures."""
    features = features_of(network, prepare_pictures(pictures, bundle.input_spec))
    with torch.inference_mode():
        tensor = torch.from_numpy(features)
        sizes = tuple(len(label.classes) for label in bundle.labels.labels)
        temperature = network.temperature.repeat_interleave(torch.tensor(sizes))  # type: ignore[operator, union-attr]
        probabilities = softmax_per_label(head_logits(network, tensor) / temperature, sizes).numpy()
        has_score = isinstance(network, SharedTrunkClassifier) and bundle.outlier_threshold is not None
        scores = network.outliers(tensor).numpy() if has_score else np.full(len(features), np.nan, np.float32)
    return Seen(features, probabilities, scores)


def _label_drifts(
    bundle: Bundle, here: Seen, there: Seen, held_out: LabelledPictures, site: LabelledPictures
) -> tuple[LabelDrift, ...]:
    predicted = {
        label.name: [x.probabilities[:, bundle.labels.slice_of(label.name)].argmax(axis=1) for x in (here, there)]
        for label in bundle.labels.labels
    }
    p_values = holm(
        [
            prediction_shift(*predicted[label.name], held_out.patients, site.patients, len(label.classes))
            for label in bundle.labels.labels
        ]
    )
    found = []
    for label, p in zip(bundle.labels.labels, p_values, strict=True):
        shares = [np.bincount(x, minlength=len(label.classes)) / len(x) for x in predicted[label.name]]
        first, second = (tuple(float(v) for v in x) for x in shares)
        found.append(LabelDrift(label.name, label.classes, first, second, p))
    return tuple(found)


def _outliers(bundle: Bundle, here: Seen, there: Seen) -> tuple[float | None, float | None, float]:
    """Shares above the threshold at site and source, and the chance of at least that many at the site."""
    if bundle.outlier_threshold is None or np.isnan(there.scores).any():
        return None, None, 1.0
    above = there.scores > bundle.outlier_threshold
    at_source = float((here.scores > bundle.outlier_threshold).mean())
    expected = min(max(at_source, 1 - ACCEPTED_SHARE), 0.999)
    p = float(stats.binomtest(int(above.sum()), len(above), expected, alternative="greater").pvalue)
    return float(above.mean()), at_source, p


def _strangest(there: Seen, known: Seen, site: LabelledPictures, training: LabelledPictures) -> tuple[Strange, ...]:
    spread = max(float(np.sqrt(known.features.var(axis=0).sum())), 1e-9)
    gaps = np.stack([np.linalg.norm(known.features - f, axis=1) for f in there.features]) / spread
    order = np.argsort(-(there.scores if np.isfinite(there.scores).all() else gaps.min(axis=1)))[:N_STRANGE]
    found = []
    for k in order:
        near = np.argsort(gaps[k])[:N_NEIGHBOURS]
        neighbours = tuple((training.names[i], float(gaps[k, i])) for i in near)
        found.append(Strange(site.names[k], float(there.scores[k]), neighbours))
    return tuple(found)


def _severity(
    distance: float,
    distance_p: float,
    outliers: tuple[float | None, float | None, float],
    labels: tuple[LabelDrift, ...],
) -> str:
    share, _, outlier_p = outliers
    found = distance_p < ALPHA or outlier_p < ALPHA or any(label.moved for label in labels)
    if not found:
        return "none"
    strong = (distance_p < ALPHA and distance >= STRONG_DISTANCE) or (
        outlier_p < ALPHA and (share or 0) >= STRONG_OUTLIERS
    )
    return "strong" if strong else "mild"


def _advice(
    severity: str,
    distance: float,
    distance_p: float,
    outliers: tuple[float | None, float | None, float],
    labels: tuple[LabelDrift, ...],
    collect: int,
) -> tuple[str, ...]:
    share, at_source, p = outliers
    lines = [f"Features of the site lie {distance:.2f} source variances away (p {distance_p:.3f})."]
    if share is not None and at_source is not None:
        lines.append(f"{share:.0%} of the runs are called strange, {at_source:.0%} at the source (p {p:.2g}).")
    if moved := [label.name for label in labels if label.moved]:
        lines.append(f"Predicted classes are mixed otherwise than at the source: {', '.join(moved)}.")
        lines.append("That may be other cases as well as another look; only labelled runs can tell.")
    lines.append(
        {
            "none": "No drift was found: adaptation is not advisable.",
            "mild": f"A mild drift: label about {collect} runs and measure before you adapt.",
            "strong": (
                f"A strong drift: adaptation is advisable. Label about {collect} runs; 30 already help, and with "
                "fewer than 40 none can be kept back to check the result."
            ),
        }[severity]
    )
    return tuple(lines)
