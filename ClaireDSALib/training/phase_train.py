"""From a sequence bundle and runs with known phases to a bundle whose phase part was trained on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ClaireDSALib.training.phase_fit import PhaseFitSettings, check_runs, fit_phases
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle
from ClaireDSALib.training.sequence_examples import SequenceExample
from ClaireDSALib.training.sequence_train import load_network
from ClaireDSALib.training.splits import split_patients

_VALIDATION_SHARE = 0.2


def train_phases(
    bundle: str | Path,
    runs: Sequence[SequenceExample],
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    validation: Sequence[SequenceExample] = (),
    source: str = "",
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train the phase part of ``bundle`` and write the whole network as a new bundle to ``out``; resumable.

    Threshold and mixture of the thrombus verdict stay those of the bundle, as do the settings in
    ``configs/train.json``; how the phases were trained stands in the section ``sequence`` of its metadata.

    Parameters
    ----------
    bundle, out : str or Path
    runs : sequence of SequenceExample
    settings : mapping, optional
        Fields of ``PhaseFitSettings``.
    validation : sequence of SequenceExample
        Runs of other patients; without them a fifth of the patients in ``runs``.
    source : str
        Where the runs are from, for the bundle's record.
    report : callable
        Called with one line of progress at a time.

    Raises
    ------
    ValueError
        For fewer than two patients, or settings out of range.
    """
    import torch

    from ClaireDSALib.models.bundle import read_metadata
    from ClaireDSALib.models.hashing import bundle_files, bundle_sha256

    bundle, out = Path(bundle), Path(out)
    metadata = read_metadata(bundle)
    section = metadata["sequence"]
    chosen = replace(PhaseFitSettings(**dict(settings or {})), size_px=int(section["size_px"]))
    torch.set_num_threads(1 if chosen.device == "cpu" else torch.get_num_threads())
    train, held_out = _parts(runs, validation, chosen.seed)
    network = load_network(bundle)
    before = check_runs(network, held_out, chosen)
    report(f"{len(train)} runs to train on, {len(held_out)} to validate, {before.accuracy:.1%} of the frames right")
    network = fit_phases(network, train, held_out, chosen, out.with_suffix(".checkpoint.pt"), report=report)
    after = check_runs(network, held_out, replace(chosen, device="cpu"))
    record = {
        "settings": dict(settings or {}) | {"part": chosen.part},
        "parent": {"name": bundle.name, "version": str(metadata.get("version", ""))},
        "parent_sha256": bundle_sha256(bundle_files(bundle)),
        "runs": source or "prepared runs",
        "validation_frames_right": {"before": round(before.accuracy, 4), "after": round(after.accuracy, 4)},
        "largest_change_of_the_second_opinion": round(float(np.abs(after.opinions - before.opinions).max()), 6),
    }
    write_sequence_bundle(
        network,
        out,
        size_px=chosen.size_px,
        threshold=float(section["threshold"]),
        temperature=float(section["temperature"]),
        version=str(metadata.get("version", "")),
        training=json.loads((bundle / "configs" / "train.json").read_text(encoding="utf-8")).get("settings"),
        phase_training=record,
    )
    report(f"validation: {json.dumps(record['validation_frames_right'])}")
    return out


def _parts(
    runs: Sequence[SequenceExample], validation: Sequence[SequenceExample], seed: int
) -> tuple[list[SequenceExample], list[SequenceExample]]:
    if validation:
        return list(runs), list(validation)
    patients = np.array([one.patient for one in runs])
    if len(set(patients.tolist())) < 2:
        msg = f"phases need runs of at least two patients, one to validate with; got {sorted(set(patients.tolist()))}"
        raise ValueError(msg)
    share = max(_VALIDATION_SHARE, 1 / len(set(patients.tolist())))
    parts = split_patients(patients, (1 - share, share), seed)
    train, held_out = ([runs[i] for i in part] for part in parts)
    return train, held_out
