"""From prepared runs to a sequence bundle: split by patient, fit, calibrate, choose the threshold, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.networks.sequence_net import SequenceNet
from ClaireDSALib.training.roc import auc
from ClaireDSALib.training.sequence_assessable import assessable
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle
from ClaireDSALib.training.sequence_cache import NETWORK_PX
from ClaireDSALib.training.sequence_evaluate import SequenceFigures, best_threshold, evaluate, fuse_pairs
from ClaireDSALib.training.sequence_examples import SequenceExample, load_examples
from ClaireDSALib.training.sequence_fit import SequenceFitSettings, SequenceOutputs, fit, predict
from ClaireDSALib.training.splits import split_patients

_VALIDATION_SHARE = 0.15

_RIDGE = 0.02
"""On standardised parts; keeps their weights finite when validation runs are told apart without error."""


def train_and_write(
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    validation: str | Path | None = None,
    start: str | Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on ``data`` (``*.npz`` of :mod:`sequence_examples`) and write a bundle to ``out``; resumable.

    Parameters
    ----------
    data, out : str or Path
    settings : mapping, optional
        Fields of ``SequenceFitSettings``.
    validation : str or Path, optional
        Folder of other patients to validate on; without it 15 % of the patients in ``data``.
    start : str or Path, optional
        Bundle whose weights the training begins with; its batch normalisation is kept unless ``norm_until`` says else.
    report : callable
        Called with one line of progress at a time.
    """
    import torch

    data, out = Path(data), Path(out)
    settings = ({} if start is None else {"norm_until": 0.0}) | dict(settings or {})
    chosen = SequenceFitSettings(**settings)
    torch.set_num_threads(1 if chosen.device == "cpu" else torch.get_num_threads())
    examples = list(load_examples(data))
    if validation is None:
        patients = np.array([e.patient for e in examples])
        parts = split_patients(patients, (1 - _VALIDATION_SHARE, _VALIDATION_SHARE), chosen.seed)
        train, held_out = ([examples[i] for i in part] for part in parts)
    else:
        train, held_out = examples, list(load_examples(Path(validation)))
    n_patients = len({e.patient for e in train + held_out})
    report(f"{len(train)} runs to train on, {len(held_out)} to validate, {n_patients} patients")
    begin = None if start is None else load_network(Path(start))
    network = fit(train, held_out, chosen, out.with_suffix(".checkpoint.pt"), network=begin, report=report)
    figures = finish(network.cpu(), held_out, out, settings=settings, size_px=chosen.size_px)
    report(f"validation: {json.dumps(figures.to_dict())}")
    return out


def average_and_write(
    bundles: Sequence[str | Path],
    validation: str | Path,
    out: str | Path,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Average the maps branches of bundles that were trained apart, and write one bundle to ``out``.

    The recurrent branch is that of the first. Threshold and mixture are chosen anew on ``validation``, prepared runs of
    patients that no bundle was trained on.

    Raises
    ------
    ValueError
        When the networks differ in size, or the size of their input.
    """
    import torch

    from ClaireDSALib.models.bundle import read_metadata

    torch.set_num_threads(1)  # small pictures: more threads wait for each other
    folders = [Path(one) for one in bundles]
    sizes = {int(read_metadata(one)["sequence"]["size_px"]) for one in folders}
    if len(sizes) != 1:
        msg = f"only bundles with one input size can be averaged, not {sorted(sizes)} px"
        raise ValueError(msg)
    joined = SequenceNet.averaged([load_network(one) for one in folders])
    held_out = list(load_examples(Path(validation)))
    figures = finish(joined, held_out, Path(out), settings={}, size_px=sizes.pop())
    report(f"validation: {json.dumps(figures.to_dict())}")
    return Path(out)


def finish(
    network: SequenceNet,
    validation: Sequence[SequenceExample],
    out: Path,
    *,
    settings: Mapping[str, Any],
    size_px: int = NETWORK_PX,
) -> SequenceFigures:
    """Weigh the branches, choose the threshold with the highest Matthews coefficient of pairs, write the bundle.

    The verdict is that of the temporal maps alone where the other parts do not tell the validation pairs apart better.
    """
    import torch

    outputs = predict(network, validation, size_px=size_px)
    usable = assessable(validation)
    truth = np.array([e.thrombus for e in validation])
    kept = [validation[i] for i in np.flatnonzero(usable)]
    mixes = [fit_mix(truth[usable], outputs, usable, count) for count in (1, outputs.parts.shape[1] - 1)]
    judged = [fuse_pairs(kept, outputs.mixed(mix)[usable]) for mix in mixes]
    best = int(np.argmax([auc(one.truth, one.logits).value for one in judged]))
    mix, pairs = mixes[best], judged[best]
    network.mix.data = torch.tensor(mix)
    threshold = best_threshold(pairs.truth, pairs.logits)
    write_sequence_bundle(network, out, size_px=size_px, threshold=threshold, temperature=1.0, training=settings)
    return evaluate(validation, outputs, mix=mix, temperature=1.0, threshold=threshold)


def fit_mix(
    truth: npt.NDArray[np.bool_], outputs: SequenceOutputs, chosen: npt.NDArray[np.bool_], count: int | None = None
) -> tuple[float, ...]:
    """Weights of the first ``count`` parts of the verdict (None: all) and a constant: calibrated log odds.

    No weight is negative but the constant; parts that are left out weigh nothing.
    """
    from scipy.optimize import minimize

    every = outputs.parts[chosen, :-1]
    parts = every[:, :count]
    centre, spread = parts.mean(0), np.maximum(parts.std(0), 1e-6)
    design = np.concatenate([(parts - centre) / spread, np.ones((len(parts), 1))], 1)
    sign = np.where(truth, 1.0, -1.0)

    def loss(weights: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sign * (design @ weights)).mean() + _RIDGE * (weights[:-1] ** 2).sum())

    bounds = [(0.0, 10.0)] * parts.shape[1] + [(-10.0, 10.0)]
    found = minimize(loss, np.append(np.full(parts.shape[1], 0.1), 0.0), bounds=bounds, method="L-BFGS-B").x
    weights = found[:-1] / spread
    left_out = (0.0,) * (every.shape[1] - parts.shape[1])
    return (*weights.tolist(), *left_out, float(found[-1] - weights @ centre))


def evaluate_bundle(bundle: str | Path, data: str | Path) -> SequenceFigures:
    """Figures of a bundle on a folder of prepared runs it was not trained on."""
    import torch

    from ClaireDSALib.models.bundle import read_metadata

    torch.set_num_threads(1)  # small pictures: more threads wait for each other
    section = read_metadata(Path(bundle))["sequence"]
    network = load_network(Path(bundle))
    examples: list[SequenceExample] = list(load_examples(Path(data)))
    return evaluate(
        examples,
        predict(network, examples, size_px=int(section["size_px"])),
        mix=network.mix.tolist(),
        temperature=float(section["temperature"]),
        threshold=float(section["threshold"]),
    )


def load_network(bundle: Path) -> SequenceNet:
    """The network of a bundle with its weights."""
    from ClaireDSALib.models.bundle import read_metadata
    from ClaireDSALib.models.networks.sequence_net import SequenceNetConfig
    from ClaireDSALib.models.weights import load_weights

    section = read_metadata(bundle)["sequence"]
    network = SequenceNet(SequenceNetConfig.from_dict(section["network"]["arguments"]))
    load_weights(network, bundle / section["weights"])
    return network.eval()
