"""From labelled pictures to a finished bundle: fit, calibrate, find outliers, export, record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ClaireDSALib.models.bundle import Bundle
from ClaireDSALib.models.bundle_writer import BundleDescription, write_bundle
from ClaireDSALib.models.labels import NINE_LABELS, LabelSet
from ClaireDSALib.models.networks import SharedTrunkClassifier
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.models.two_pictures import NINE_LABEL_CHOICE
from ClaireDSALib.training.augment import AugmentSettings, augment, plain
from ClaireDSALib.training.calibration import fit_temperatures
from ClaireDSALib.training.fit import fit, predict_logits, write_history
from ClaireDSALib.training.samples import SUBTRACTED_SUFFIX, LabelledPictures, load_simulated
from ClaireDSALib.training.settings import FitSettings
from ClaireDSALib.training.splits import split_patients
from ClaireDSALib.training.strange import strange_picture

CACHE_FACTOR = 256 / 224
"""Side of cached pictures over the network's, room for augmentation to move and rotate."""
ACCEPTED_SHARE = 0.97
"""Share of validation pictures that must not be called outliers; the rest are odd crops and empty runs."""


def train_bundle(
    data: Path,
    out: Path,
    settings: FitSettings,
    *,
    labels: LabelSet = NINE_LABELS,
    pictures: LabelledPictures | None = None,
    name: str = "dsa_image_properties",
    version: str = "0.1.0",
    data_source: str = "simulated runs (claire-dsa simulate)",
    volume: npt.NDArray[np.floating] | None = None,
    report: Callable[[str], None] = lambda _: None,
    log: Callable[[dict[str, float]], None] = lambda _: None,
) -> Bundle:
    """Train on a folder (or given pictures) and write ``out/<name>``.

    Parameters
    ----------
    data : Path
        Simulated set, see :func:`samples.load_simulated`; unused when ``pictures`` are given.
    out : Path
        Checkpoints, history and the bundle go here; an interrupted training continues.

    Returns
    -------
    Bundle
    """
    if pictures is None:
        report(f"reading {data}")
        pictures = load_simulated(data, labels, size_px=round(settings.size_px * CACHE_FACTOR))
    train, validation = training_parts(pictures, settings.seed)
    report(f"{len(train)} pictures to train on, {len(validation)} of other patients to validate")
    network, history = fit(train, validation, settings, out, volume=volume, report=report, log=log)
    assert isinstance(network, SharedTrunkClassifier)
    calibrate(network, validation, settings.input_spec)
    threshold = fit_outliers(network, train, validation, settings, volume=volume)
    write_history(history, out / "history.json")
    spec = replace(settings.input_spec, mean=(network.mean,), std=(network.std,))
    bundle = write_bundle(
        network,
        out / name,
        labels=pictures.labels,
        input_spec=spec,
        network_type="SharedTrunkClassifier",
        network_arguments={
            "class_counts": list(network.class_counts),
            "trunk": settings.trunk,
            "mean": network.mean,
            "std": network.std,
        },
        description=_description(version, data_source, settings, train, validation),
        outlier_threshold=threshold,
        pictures=NINE_LABEL_CHOICE if _has_both(pictures) else None,
    )
    report(f"wrote {bundle.folder}, hash {bundle.sha256}")
    return bundle


def training_parts(pictures: LabelledPictures, seed: int) -> tuple[LabelledPictures, LabelledPictures]:
    """Training and validation: the set's own ``train`` and ``validation`` splits, else 85 to 15 by patient.

    Pictures of a ``test`` split are never used.
    """
    steering = "val" if "val" in pictures.splits else "validation"
    if len(pictures.splits) and {"train", steering} <= set(pictures.splits.tolist()):
        return (
            pictures.subset(np.flatnonzero(pictures.splits == "train")),
            pictures.subset(np.flatnonzero(pictures.splits == steering)),
        )
    if len(pictures.splits):
        pictures = pictures.subset(np.flatnonzero(pictures.splits != "test"))
    first, second = split_patients(pictures.patients, (0.85, 0.15), seed)
    return pictures.subset(first), pictures.subset(second)


def calibrate(network: SharedTrunkClassifier, validation: LabelledPictures, spec: InputSpec) -> None:
    """Set the temperatures from validation pictures."""
    logits = predict_logits(network, validation.images, spec)
    found = fit_temperatures(logits, validation.targets, validation.labels)
    with torch.no_grad():
        network.temperature.copy_(torch.tensor(found))


def fit_outliers(
    network: SharedTrunkClassifier,
    train: LabelledPictures,
    validation: LabelledPictures,
    settings: FitSettings,
    *,
    volume: npt.NDArray[np.floating] | None = None,
    n_fit: int = 600,
    n_judge: int = 300,
) -> float:
    """Fit the distance on training features, weigh it against the detector, and return the threshold.

    Both parts are scaled by the gap they leave between validation pictures with varied looks and made-up outliers, so
    that they count alike; the threshold accepts :data:`ACCEPTED_SHARE` of the validation pictures as they are.
    """
    rng = np.random.default_rng(settings.seed + 1)
    size = settings.size_px

    def look(images: list[npt.NDArray[np.uint16]]) -> torch.Tensor:
        return _features(network, [augment(x, size, rng, AugmentSettings(), settings.views) for x in images])

    def varied(pictures: LabelledPictures, n: int) -> torch.Tensor:
        wanted = min(n, max(64, len(pictures)))  # few pictures are looked at several times, each time varied
        chosen = rng.choice(len(pictures), wanted, replace=wanted > len(pictures))
        return _features(
            network, [augment(pictures.images[i], size, rng, AugmentSettings(), settings.views) for i in chosen]
        )

    with torch.no_grad():
        network.outliers.fit(varied(train, n_fit))
        inside = varied(validation, n_judge)
        outside = look([strange_picture(train.images.shape[1], rng, volume=volume) for _ in range(min(n_judge, 100))])
        detector_gap = network.outliers.detector(outside).median() - network.outliers.detector(inside).median()
        distance_in, distance_out = (network.outliers.distance(f).log() for f in (inside, outside))
        gap = (distance_out.median() - distance_in.median()).clamp(min=0.05)
        network.outliers.distance_weight.copy_((detector_gap.clamp(min=0.5) / gap).clamp(max=20.0))
        clean = _features(network, [plain(x, settings.input_spec) for x in validation.images])
        return float(torch.quantile(network.outliers(clean), ACCEPTED_SHARE))


def _has_both(pictures: LabelledPictures) -> bool:
    """The set holds subtracted pictures of unsubtracted runs, and the nine labels that are read off them."""
    known = set(NINE_LABEL_CHOICE.subtracted) <= set(pictures.labels.names)
    return known and any(name.endswith(SUBTRACTED_SUFFIX) for name in pictures.names)


def _features(network: SharedTrunkClassifier, images: list[npt.NDArray[np.float32]]) -> torch.Tensor:
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            batch = torch.from_numpy(np.stack(images[start : start + 32]))
            parts.append(network.features(batch.contiguous(memory_format=torch.channels_last)))
    return torch.cat(parts)


def _description(
    version: str, data_source: str, settings: FitSettings, train: LabelledPictures, validation: LabelledPictures
) -> BundleDescription:
    words = (
        f"Image properties of a MinIP of a cerebral angiogram with calibrated probabilities and closed-form "
        f"class-activation maps; one trunk, {len(train.labels.labels)} linear heads. Trained on {len(train)} pictures "
        f"({data_source}), calibrated on {len(validation)} of other patients."
    )
    return BundleDescription(
        title="Image properties of a cerebral angiogram",
        description=words,
        version=version,
        data_source=data_source,
        training=settings.to_dict(),
    )


def load_volume(path: str | Path) -> npt.NDArray[np.float32]:
    """CT volume ``(z, y, x)`` in Hounsfield units, sliced for outliers."""
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).astype(np.float32)


def summary(pictures: LabelledPictures) -> dict[str, Any]:
    """Counts for the record: pictures, patients and classes."""
    return json.loads(
        json.dumps({"pictures": len(pictures), "patients": len(set(pictures.patients)), "classes": pictures.counts()})
    )
