"""From simulated sets to a quality bundle: fit, write, then temperature, threshold and cleaning on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.networks.quality_net import QualityNet
from ClaireDSALib.models.quality_reader import INPUTS, QualityFindings, QualityReader
from ClaireDSALib.training.calibration import fit_temperature
from ClaireDSALib.training.quality_bundle import set_quality_choices, write_quality_bundle
from ClaireDSALib.training.quality_data import QualityExample, load_examples
from ClaireDSALib.training.quality_fit import QualityFitSettings, fit
from ClaireDSALib.training.quality_head import refit_head
from ClaireDSALib.training.vessel_choices import choose_mask
from ClaireDSALib.training.vessel_scores import centerline_dice, dice

_MOST_FOR_MASK = 120
_LARGEST_PX = 1024
"""Runs of every size of a simulated set say which mask is best; the network was trained on smaller ones."""


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


def choose_for(bundle: Path, validation: Sequence[QualityExample]) -> dict[str, Any]:
    """Choose temperature, vessel threshold and cleaning on validation runs, and write them down."""
    reader = QualityReader(bundle)
    found = [reader.read(one.image, times=one.times) for one in validation]
    logits = np.log(np.clip([f.probabilities for f in found], 1e-12, 1.0))
    temperature = fit_temperature(logits, np.array([one.grade for one in validation]))
    set_quality_choices(bundle, temperature=round(temperature, 4))
    return {"temperature": temperature} | _choose_mask(bundle, found, validation)


def choose_masks_anew(
    data: str | Path | Sequence[str | Path], bundle: str | Path, *, report: Callable[[str], None] = lambda _: None
) -> Path:
    """Choose threshold and cleaning of the vessels alone; network and grades stay what they are.

    Parameters
    ----------
    data : path or sequence of paths
        Sets with vessel truth; their validation runs are used.
    bundle : str or Path
        Folder of a quality bundle, changed in place.
    report : callable

    Raises
    ------
    ValueError
        When no suitable validation run shows a vessel.
    """
    folders = [Path(data)] if isinstance(data, (str, Path)) else [Path(one) for one in data]
    validation = [one for folder in folders for one in load_examples(folder, ["validation"], largest_px=_LARGEST_PX)]
    validation = [one for one in validation if one.suitable and one.vessels is not None and one.vessels.any()]
    if not validation:
        msg = "threshold and cleaning of vessels need suitable validation runs with vessels; there is none"
        raise ValueError(msg)
    reader = QualityReader(Path(bundle))
    found = [reader.read(one.image, times=one.times) for one in validation]
    before = _agreement([(f.mask(), one.vessels) for f, one in zip(found, validation, strict=True)])
    report(f"{len(validation)} suitable validation runs, mean of Dice and clDice so far {before:.4f}")
    report(f"chosen: {_choose_mask(Path(bundle), found, validation)}")
    return Path(bundle)


def _choose_mask(
    bundle: Path, found: Sequence[QualityFindings], validation: Sequence[QualityExample]
) -> dict[str, Any]:
    """Threshold and cleaning with the best mean of Dice and clDice over suitable runs with vessels."""
    pairs = ((f.vessels, e.vessels) for f, e in zip(found, validation, strict=True) if e.suitable)
    shown = [(chart, truth) for chart, truth in pairs if truth is not None and truth.any()][:_MOST_FOR_MASK]
    if not shown:
        return {"threshold": QualityReader(bundle).threshold, "mean of Dice and clDice": float("nan")}
    threshold, cleaning = choose_mask(*zip(*shown, strict=True))
    set_quality_choices(bundle, threshold=threshold, cleaning=cleaning.to_dict())
    agreement = _agreement([(cleaning.mask(chart, threshold), truth) for chart, truth in shown])
    return {"threshold": threshold, **cleaning.to_dict(), "mean of Dice and clDice": agreement}


def _agreement(masks: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]) -> float:
    """Mean of Dice and clDice over masks and their truths."""
    return float(np.mean([(dice(mask, truth) + centerline_dice(mask, truth)) / 2 for mask, truth in masks]))
