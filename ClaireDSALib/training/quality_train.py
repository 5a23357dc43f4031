"""From simulated sets to a quality bundle: fit, write, then temperature, threshold and cleaning on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_reader import INPUTS, QualityReader
from ClaireDSALib.training.calibration import fit_temperature
from ClaireDSALib.training.quality_bundle import set_quality_choices, write_quality_bundle
from ClaireDSALib.training.quality_data import QualityExample, load_examples
from ClaireDSALib.training.quality_fit import QualityFitSettings, fit
from ClaireDSALib.training.quality_head import refit_head
from ClaireDSALib.training.vessel_scores import centerline_dice, dice

_THRESHOLDS = tuple(round(0.3 + 0.05 * k, 2) for k in range(9))
_MOST_FOR_THRESHOLD = 60


def train_and_write(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    vessel_weights: Sequence[float] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on sets with vessel truth and write a bundle to ``out``; resumable.

    Parameters
    ----------
    data : path or sequence of paths
        Sets of :mod:`vessel_set` or :mod:`label_set`; a set that is named twice counts twice.
    out : str or Path
    settings : mapping, optional
        Fields of :class:`~ClaireDSALib.training.quality_fit.QualityFitSettings`; ``network`` holds the network's
        arguments.
    vessel_weights : sequence of float, optional
        What the vessel truth of each set counts; 1 unless given.
    report : callable
    """
    import torch

    torch.set_num_threads(1)
    folders = [Path(data)] if isinstance(data, (str, Path)) else [Path(one) for one in data]
    weights = list(vessel_weights or [1.0] * len(folders))
    chosen, out = dict(settings or {}), Path(out)
    arguments = {"in_channels": len(INPUTS[-1])} | dict(chosen.pop("network", {}))
    train = [
        replace(one, vessel_weight=one.vessel_weight * weight)
        for folder, weight in zip(folders, weights, strict=True)
        for one in load_examples(folder, ["train"])
    ]
    validation = [one for folder in dict.fromkeys(folders) for one in load_examples(folder, ["validation"])]
    order = np.random.default_rng(0).permutation(len(validation))
    validation = [validation[k] for k in order]
    report(f"{len(train)} runs to train on, {len(validation)} to validate")
    network = fit(
        train,
        validation,
        QualityFitSettings(**chosen),
        out.with_suffix(".checkpoint.pt"),
        network=QualityNet(**arguments),
        report=report,
    )
    refit_head(network, train, validation, report=report)
    write_quality_bundle(network, out, network_arguments=arguments, training=dict(settings or {}))
    report(f"validation: {choose_for(out, validation)}")
    return out


def choose_for(bundle: Path, validation: Sequence[QualityExample]) -> dict[str, float]:
    """Choose temperature and vessel threshold on validation runs, and write them down.

    The threshold is the one with the best mean of Dice and clDice over suitable runs.
    """
    reader = QualityReader(bundle)
    found = [reader.read(one.image, times=one.times) for one in validation]
    logits = np.log(np.clip([f.probabilities for f in found], 1e-12, 1.0))
    temperature = fit_temperature(logits, np.array([one.grade for one in validation]))
    shown = [(f, e.vessels) for f, e in zip(found, validation, strict=True) if e.vessels is not None and e.suitable]
    shown = [(f, truth) for f, truth in shown if truth.any()][:_MOST_FOR_THRESHOLD]
    scores = {}
    for threshold in _THRESHOLDS if shown else ():
        masks = [(f.cleaning.mask(f.vessels, threshold), truth) for f, truth in shown]
        scores[threshold] = float(np.mean([dice(m, t) + centerline_dice(m, t) for m, t in masks])) / 2
    best = max(scores, key=lambda t: scores[t]) if scores else 0.5
    set_quality_choices(bundle, temperature=round(temperature, 4), threshold=best)
    return {"temperature": temperature, "threshold": best, "mean of Dice and clDice": scores.get(best, float("nan"))}
