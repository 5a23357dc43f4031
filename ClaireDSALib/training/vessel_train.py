"""From a simulated set to a vessel bundle: fit, write, and choose calibration, thresholds and cleaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ClaireDSALib.models.networks.vessel_net import CHANNELS, VesselNet
from ClaireDSALib.models.vessel_segmenter import VesselSegmenter
from ClaireDSALib.training.vessel_bundle import set_choices, write_vessel_bundle
from ClaireDSALib.training.vessel_choices import VesselChoices, choose
from ClaireDSALib.training.vessel_evaluate import is_suitable
from ClaireDSALib.training.vessel_examples import VesselExample, load_examples
from ClaireDSALib.training.vessel_fit import VesselFitSettings, fit

_MOST_IN_VALIDATION = 12
"""Pictures looked at during training; the choices at the end use all."""


def train_and_write(
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    times: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on a set of :mod:`vessel_set` and write a bundle to ``out``; resumable.

    Parameters
    ----------
    data, out : str or Path
    settings : mapping, optional
        Fields of :class:`~ClaireDSALib.training.vessel_fit.VesselFitSettings`; ``channels`` sets the widths.
    times : bool
        Show the network the early and late parts of the passage, where frames are known.
    report : callable
    """
    import torch

    data, out, chosen = Path(data), Path(out), dict(settings or {})
    channels = tuple(int(c) for c in chosen.pop("channels", CHANNELS))
    fit_settings = VesselFitSettings(**chosen)
    torch.set_num_threads(1 if fit_settings.device == "cpu" else torch.get_num_threads())
    train = load_examples(data, "train", times=times)
    validation = load_examples(data, "validation", times=times)
    shown = [one for one in validation if is_suitable(one.facts or {}) and one.truth[0].any()]
    report(f"{len(train)} runs to train on, {len(validation)} to validate")
    network = VesselNet(channels, in_channels=3 if times else 1)
    fit(
        train,
        shown[:_MOST_IN_VALIDATION],
        fit_settings,
        out.with_suffix(".checkpoint.pt"),
        network=network,
        report=report,
    )
    write_vessel_bundle(network.cpu(), out, training=dict(settings or {}))
    made = choose_for(out, validation)
    report(f"validation: Dice {made.dice:.3f}, clDice {made.cldice:.3f}, thresholds {made.thresholds}")
    return out


def choose_for(bundle: Path, validation: Sequence[VesselExample]) -> VesselChoices:
    """Choose calibration, thresholds and cleaning on validation runs without severe motion, and write them down."""
    kept = [one for one in validation if (one.facts or {}).get("motion") != "severe"]
    set_choices(bundle, calibration=[[1.0, 0.0]] * 3)
    made = choose(raw_logits(VesselSegmenter(bundle), kept), kept)
    set_choices(bundle, **made.to_dict())
    return made


def raw_logits(segmenter: VesselSegmenter, examples: Sequence[VesselExample]) -> list[npt.NDArray[np.floating]]:
    """(3, H, W) logits of each example, through the bundle as the analysis uses it."""
    found = []
    for one in examples:
        maps = segmenter.segment(one.opacity.astype(np.float32), times=one.absolute_times()).maps
        maps = np.clip(maps.astype(np.float64), 1e-7, 1 - 1e-7)
        found.append(np.log(maps / (1 - maps)).astype(np.float16))
    return found
