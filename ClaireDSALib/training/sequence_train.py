"""From prepared runs to a sequence bundle: split by patient, fit, calibrate, choose the threshold, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.training.calibration import fit_temperature
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle
from ClaireDSALib.training.sequence_data import STACK_PX
from ClaireDSALib.training.sequence_evaluate import SequenceFigures, best_threshold, evaluate, fuse_pairs
from ClaireDSALib.training.sequence_examples import SequenceExample, load_examples
from ClaireDSALib.training.sequence_fit import SequenceFitSettings, fit, predict
from ClaireDSALib.training.splits import split_patients

_VALIDATION_SHARE = 0.15


def train_and_write(
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on ``data`` (``*.npz`` of :mod:`sequence_examples`) and write a bundle to ``out``; resumable.

    Temperature and threshold (highest Matthews coefficient of the pairs) come from validation patients.
    """
    import torch

    data, out = Path(data), Path(out)
    chosen = SequenceFitSettings(**dict(settings or {}))
    torch.set_num_threads(1 if chosen.device == "cpu" else torch.get_num_threads())
    examples = list(load_examples(data))
    patients = np.array([e.patient for e in examples])
    train_index, validation_index = split_patients(patients, (1 - _VALIDATION_SHARE, _VALIDATION_SHARE), chosen.seed)
    train = [examples[i] for i in train_index]
    validation = [examples[i] for i in validation_index]
    report(f"{len(train)} runs to train on, {len(validation)} to validate, {len(set(patients))} patients")
    network = fit(train, validation, chosen, out.with_suffix(".checkpoint.pt"), report=report)
    outputs = predict(network, validation, chosen.device)
    truth = np.array([e.thrombus for e in validation])
    temperature = fit_temperature(np.stack([np.zeros_like(outputs.logits), outputs.logits], 1), truth.astype(int))
    pair_truth, pair_logits, _ = fuse_pairs(validation, outputs.logits / temperature)
    threshold = best_threshold(pair_truth, pair_logits)
    figures = evaluate(validation, outputs, temperature=temperature, threshold=threshold)
    report(f"validation: {json.dumps(figures.to_dict())}")
    write_sequence_bundle(
        network.cpu(),
        out,
        size_px=STACK_PX,
        threshold=threshold,
        temperature=temperature,
        training=dict(settings or {}),
    )
    return out


def evaluate_bundle(bundle: str | Path, data: str | Path) -> SequenceFigures:
    """Figures of a bundle on a folder of prepared runs it was not trained on."""
    from ClaireDSALib.models.bundle import read_metadata
    from ClaireDSALib.models.networks.sequence_net import SequenceNet, SequenceNetConfig
    from ClaireDSALib.models.weights import load_weights

    section = read_metadata(Path(bundle))["sequence"]
    network = SequenceNet(SequenceNetConfig.from_dict(section["network"]["arguments"]))
    load_weights(network, Path(bundle) / section["weights"])
    examples: list[SequenceExample] = list(load_examples(Path(data)))
    return evaluate(
        examples,
        predict(network, examples),
        temperature=float(section["temperature"]),
        threshold=float(section["threshold"]),
    )
