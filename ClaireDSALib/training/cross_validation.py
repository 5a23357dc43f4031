"""Cross-validation over folds of patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.training.fit import fit, mean_macro_auc, predict_logits
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.settings import FitSettings
from ClaireDSALib.training.splits import patient_folds, split_patients


def cross_validate(
    pictures: LabelledPictures,
    settings: FitSettings,
    out: Path,
    folds: int,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train once per fold and measure on its left-out patients.

    A seventh of the other patients steers the training, so that the fold itself is seen only once. An interrupted
    cross-validation continues where it stopped.

    Returns
    -------
    dict
        Per label the macro AUC of every fold, with mean and standard deviation over folds.
    """
    values: dict[str, list[float]] = {name: [] for name in pictures.labels.names}
    for number, (rest, held_out) in enumerate(patient_folds(pictures.patients, folds, settings.seed)):
        first, second = split_patients(pictures.patients[rest], (6 / 7, 1 / 7), settings.seed)
        train, steer = pictures.subset(rest[first]), pictures.subset(rest[second])
        report(f"fold {number + 1} of {folds}: {len(train)} to train, {len(held_out)} held out")
        network, _ = fit(train, steer, settings, out / f"fold{number}", report=report)
        test = pictures.subset(held_out)
        _, per_label = mean_macro_auc(predict_logits(network, test.images, settings.input_spec), test)
        for name, value in per_label.items():
            values[name].append(value)
    return {
        name: {"folds": v, "mean": float(np.nanmean(v)), "standard_deviation": float(np.nanstd(v, ddof=1))}
        for name, v in values.items()
    }
