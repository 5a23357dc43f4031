"""From a simulated set to a vessel bundle: fit, write, and choose calibration, thresholds and cleaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ClaireDSALib.models.bundle import read_metadata
from ClaireDSALib.models.networks.vessel_cascade import VesselCascade
from ClaireDSALib.models.networks.vessel_net import CHANNELS, VesselNet
from ClaireDSALib.models.vessel_segmenter import INPUTS, VesselSegmenter
from ClaireDSALib.training.artery_vein_bundle import keep_artery_vein
from ClaireDSALib.training.vessel_bundle import set_choices, write_vessel_bundle
from ClaireDSALib.training.vessel_choices import VesselChoices, choose
from ClaireDSALib.training.vessel_evaluate import is_suitable
from ClaireDSALib.training.vessel_examples import VesselExample, load_examples

_MOST_IN_VALIDATION = 12
"""Pictures looked at during training of a U-Net."""
_MOST_FOR_CHOICES = 120
_MOST_OVER_TIME = 40
"""Pictures looked at during training of a sequence network."""


def train_and_write(
    data: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    network: str = "cascade",
    start: str | Path | Sequence[str | Path] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train on a set of :mod:`vessel_set` and write a bundle to ``out``; a U-Net's training is resumable.

    Parameters
    ----------
    data, out : str or Path
    settings : mapping, optional
        Fields of :class:`~ClaireDSALib.training.vessel_pixels.PixelFitSettings` for a cascade, of
        :class:`~ClaireDSALib.training.vessel_fit.VesselFitSettings` for a U-Net; ``network`` overrides the argument.
        With ``whole``, a U-Net goes on from ``start`` with whole pictures and the normalisation it has, and the others
        are fields of :class:`~ClaireDSALib.training.vessel_whole.WholeFitSettings`. ``threads`` of the CPU, 1 unless
        given (torch's own choice beside a GPU), are no property of the bundle and not written to it.
    network : "cascade", "unet", "sequence" or "none"
        A cascade takes minutes on a CPU; a U-Net wants a GPU or hours. "sequence" adds to the bundle in ``out`` the
        network over the frames that tells arteries from veins, with the settings of
        :class:`~ClaireDSALib.training.vessel_sequence_fit.SequenceFitSettings`. "none" trains nothing and chooses
        calibration, thresholds and cleaning of the bundle in ``out`` anew.
    start : path or sequence of paths, optional
        Bundle with a U-Net whose weights a U-Net's training begins with; of several the mean, which is often better
        than each where they went different ways from one start. With 0 steps it is written as it is. The network over
        the frames of the first is taken along.
    report : callable

    Raises
    ------
    ValueError
        For another network, "sequence" and "none" without a bundle, a start that is not for it, or whole pictures
        without a start.
    """
    data, out, chosen = Path(data), Path(out), dict(settings or {})
    starts = [Path(start)] if isinstance(start, (str, Path)) else [Path(one) for one in start]
    kind = str(chosen.pop("network", network))
    refuse_unusable(kind, out, starts, whole=bool(chosen.get("whole")))
    if kind == "sequence":
        return _add_sequence(data, out, chosen, report)
    if kind == "none":
        return _choose_anew(data, out, report)
    threads = chosen.pop("threads", 1 if chosen.get("device", "cpu") == "cpu" else None)
    if threads is not None:
        torch.set_num_threads(int(threads))
    train, validation = load_examples(data, "train"), load_examples(data, "validation")
    report(f"{len(train)} runs to train on, {len(validation)} to validate")
    if kind == "cascade":
        trained: VesselCascade | VesselNet = _fit_cascade(train, chosen, report)
    else:
        begin = mean_unet(starts) if starts else None
        trained = _fit_unet(train, validation, dict(chosen), out, begin, report)
    over_time = read_metadata(starts[0])["vessels"].get("artery_vein") if starts else None
    write_vessel_bundle(trained, out, training={"network": kind, **chosen})
    if over_time:
        keep_artery_vein(over_time, starts[0], out)
        report("the network over the frames is that of the start; --network none chooses its thresholds anew")
    made = choose_for(out, validation)
    report(f"validation: Dice {made.dice:.3f}, clDice {made.cldice:.3f}, thresholds {made.thresholds}")
    return out


def refuse_unusable(kind: str, out: Path, starts: Sequence[Path], *, whole: bool = False) -> None:
    """Refuse what :func:`train_and_write` cannot do, before anybody simulates or loads runs for it.

    Raises
    ------
    ValueError
        As :func:`train_and_write` says.
    """
    if kind not in ("cascade", "unet", "sequence", "none"):
        msg = f"unknown vessel network {kind!r}; there are cascade, unet and sequence, and none for new choices alone"
        raise ValueError(msg)
    if starts and kind != "unet":
        msg = f"a training of {kind!r} cannot start from the weights of a bundle, a unet's can"
        raise ValueError(msg)
    if kind in ("sequence", "none") and not (out / "configs" / "metadata.json").is_file():
        msg = f"{out} is no vessel bundle; train a cascade or a unet there first"
        raise ValueError(msg)
    if whole and not starts:
        msg = "whole pictures are for a U-Net that has learnt from patches; name its bundle as the start"
        raise ValueError(msg)


def _fit_cascade(
    train: Sequence[VesselExample], settings: Mapping[str, Any], report: Callable[[str], None]
) -> VesselCascade:
    from ClaireDSALib.training.vessel_pixels import PixelFitSettings, fit_cascade

    return fit_cascade(train, PixelFitSettings(**settings), report=report)


def _fit_unet(
    train: Sequence[VesselExample],
    validation: Sequence[VesselExample],
    settings: dict[str, Any],
    out: Path,
    begin: VesselNet | None,
    report: Callable[[str], None],
) -> VesselNet:
    from ClaireDSALib.training.vessel_fit import VesselFitSettings, fit

    filled = [one for one in _suitable(validation) if one.truth[0].any()]
    checkpoint = out.with_suffix(".checkpoint.pt")
    if settings.pop("whole", False):
        from ClaireDSALib.training.vessel_whole import WholeFitSettings, fit_whole

        assert begin is not None  # asked above
        fit_whole(train, filled, WholeFitSettings(**settings), checkpoint, begin, report=report)
        return begin.cpu()
    shown = _spread(filled, _MOST_IN_VALIDATION)
    channels = tuple(settings.pop("channels", CHANNELS))
    unet = begin or VesselNet(channels, in_channels=len(INPUTS[-1]))
    fit(train, shown, VesselFitSettings(**settings), checkpoint, network=unet, report=report)
    return unet.cpu()


def _add_sequence(data: Path, out: Path, settings: dict[str, Any], report: Callable[[str], None]) -> Path:
    from ClaireDSALib.training.artery_vein_bundle import add_artery_vein, choose_artery_vein
    from ClaireDSALib.training.vessel_sequence_fit import SHRINK, SequenceFitSettings, fit_sequence, small
    from ClaireDSALib.training.vessel_set import SEQUENCE_PX

    torch.set_num_threads(1)
    parts = []
    for split in ("train", "validation"):
        runs = load_examples(data, split, frames=True)
        still = [one for one in runs if one.frames is not None and (one.facts or {}).get("motion") != "severe"]
        parts.append([one for one in still if one.truth[0].any()])
    train, validation = parts
    report(f"{len(train)} runs with frames to train on, {len(validation)} to validate")
    shown = [small(one) for one in _spread(validation, _MOST_OVER_TIME)]
    checkpoint = out.with_suffix(".sequence.pt")
    trained = fit_sequence(list(map(small, train)), shown, SequenceFitSettings(**settings), checkpoint, report=report)
    add_artery_vein(trained, out, SEQUENCE_PX // SHRINK)
    report(f"validation: {choose_artery_vein(out, _suitable(validation))}")
    return out


def _choose_anew(data: Path, out: Path, report: Callable[[str], None]) -> Path:
    from ClaireDSALib.training.artery_vein_bundle import choose_artery_vein

    validation = _suitable(load_examples(data, "validation", frames=True))
    made = choose_for(out, validation)
    report(f"{len(validation)} suitable runs: Dice {made.dice:.3f}, clDice {made.cldice:.3f}, {made.to_dict()}")
    if VesselSegmenter(out).artery_vein is not None:
        report(f"arteries and veins: {choose_artery_vein(out, validation)}")
    return out


def load_unet(bundle: Path) -> VesselNet:
    """The U-Net of a vessel bundle with its weights.

    Raises
    ------
    ValueError
        When the bundle holds another network.
    """
    from ClaireDSALib.models.weights import load_weights

    section = read_metadata(bundle)["vessels"]
    if section["network"]["type"] != VesselNet.__name__:
        msg = f"{bundle} holds a {section['network']['type']}, not a U-Net"
        raise ValueError(msg)
    arguments = section["network"]["arguments"]
    network = VesselNet(tuple(arguments["channels"]), in_channels=int(arguments["in_channels"]))
    load_weights(network, bundle / section["weights"])
    return network


def mean_unet(bundles: Sequence[Path]) -> VesselNet:
    """U-Net whose weights are the mean of those of bundles.

    Raises
    ------
    ValueError
        When a bundle holds another network, or one of other widths.
    """
    network, *others = [load_unet(bundle) for bundle in bundles]
    if any((one.channels, one.in_channels) != (network.channels, network.in_channels) for one in others):
        msg = f"only networks of one size have a mean; {[bundle.name for bundle in bundles]} differ"
        raise ValueError(msg)
    states = [one.state_dict() for one in (network, *others)]
    network.load_state_dict(
        {
            name: torch.stack([state[name].float() for state in states]).mean(0).to(first.dtype)
            for name, first in states[0].items()
        }
    )
    return network


def choose_for(bundle: Path, validation: Sequence[VesselExample]) -> VesselChoices:
    """Choose calibration, thresholds and cleaning on suitable validation runs, and write them down."""
    kept = _spread(_suitable(validation), _MOST_FOR_CHOICES)
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


def _suitable(examples: Sequence[VesselExample]) -> list[VesselExample]:
    """Those that the analysis would segment, by their true properties."""
    return [one for one in examples if is_suitable(one.facts or {})]


def _spread(examples: Sequence[VesselExample], most: int) -> list[VesselExample]:
    """At most so many, evenly over a list ordered by patient, so that every patient has a say."""
    return [examples[k * len(examples) // most] for k in range(most)] if len(examples) > most else list(examples)
