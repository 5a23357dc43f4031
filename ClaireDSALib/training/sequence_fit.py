"""Train the sequence network on prepared runs: both branches in one loop; resumable, on the CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import MAP_STRIDE, FramesOutput, MapsOutput, SequenceNet
from ClaireDSALib.models.sequence_input import with_neighbours
from ClaireDSALib.training.fit_best import cosine, save_checkpoint
from ClaireDSALib.training.norms import keep_norm
from ClaireDSALib.training.sequence_assessable import assessable, twin_groups
from ClaireDSALib.training.sequence_augment import MapsBatch, augment, site_targets
from ClaireDSALib.training.sequence_cache import NETWORK_PX, FeatureCache, RunFeatures, unpack_maps
from ClaireDSALib.training.sequence_examples import SequenceExample, unpack
from ClaireDSALib.training.weight_average import running_mean

_AVERAGE = 0.997
"""Decay of the running mean of the weights, which is what is validated and kept."""


@dataclass(frozen=True)
class SequenceFitSettings:
    """Choices of one training."""

    epochs: int = 30
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    batch_groups: int = 10
    """Groups of twins in a batch, about; the views of an injection stay together."""
    injections_per_patient: int = 0
    """Injections of one patient in an epoch at most, drawn anew each time; 0 takes all. Few keep heads from being
    learnt by heart."""
    size_px: int = NETWORK_PX
    """Side of the temporal channels, a multiple of 32."""
    versions: int = 1
    """Versions of every run in the feature cache: whole, and thinned in time."""
    frames_every: int = 8
    """One in how many runs of a batch also goes through the recurrent branch; 0 leaves that branch as it is."""
    twin_weight: float = 0.5
    pair_weight: float = 1.0
    """Of the yes/no of a pair (mean log odds of its views) against that of single views, in which a clot may hide."""
    site_weight: float = 0.2
    territory_weight: float = 1.0
    phase_weight: float = 1.0
    norm_until: float = 1.0
    """Share of the training after which batch normalisation keeps its statistics. Those of a batch of twins tell part
    of the answer, and no run in use has them; a training that begins with a bundle keeps the bundle's from 0 on."""
    seed: int = 0
    device: str = "cpu"
    half: bool = False
    """Mixed precision: bfloat16 on the CPU and on the GPU."""
    accumulate: int = 1
    """Batches whose gradients are added before a step."""
    budget_s: float = float("inf")
    """Training stops after the epoch in which this many seconds have passed; the schedule follows it."""


@dataclass(frozen=True)
class SequenceOutputs:
    """Outputs for a list of examples, aligned with it."""

    parts: npt.NDArray[np.float64]
    """(N, 6) what the verdict is mixed from, see ``SequenceNet.parts``."""
    sites: npt.NDArray[np.float64]
    """(N, 2) hottest cell and its surroundings, in pixels of the stack."""
    phases: list[npt.NDArray[np.float32]]
    """(T, 4) logits per run."""

    @property
    def maps_logits(self) -> npt.NDArray[np.float64]:
        return self.parts[:, 0]

    @property
    def frames_logits(self) -> npt.NDArray[np.float64]:
        return self.parts[:, 1]

    def mixed(self, mix: Sequence[float]) -> npt.NDArray[np.float64]:
        """Logits with the network's ``mix``."""
        return self.parts @ np.asarray(mix, np.float64)


def fit(
    train: Sequence[SequenceExample],
    validation: Sequence[SequenceExample],
    settings: SequenceFitSettings,
    checkpoint: Path,
    *,
    network: SequenceNet | None = None,
    caches: tuple[FeatureCache, FeatureCache] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> SequenceNet:
    """Train and return the network of the best epoch by validation loss.

    A ``checkpoint`` that exists is resumed: network, optimiser, epoch and best state. ``caches`` of the two lists of
    examples may be handed in when they are there already.
    """
    torch.manual_seed(settings.seed)
    network = (network or SequenceNet()).to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = running_mean(network, _AVERAGE)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    state: dict[str, Any] = {"epoch": 0, "best": float("inf"), "weights": network.state_dict(), "spent_s": 0.0}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        network.load_state_dict(state["last"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after epoch {state['epoch']}")
    size_px = settings.size_px
    caches = caches or (
        FeatureCache(train, settings.versions, settings.seed, size_px),
        FeatureCache(validation, size_px=size_px),
    )
    loop = _Loop(train, caches[0], settings)
    for epoch in range(state["epoch"], settings.epochs):
        start = time.perf_counter()
        losses = loop.epoch(network, averaged, optimiser, epoch, state["spent_s"])
        value = validation_loss(averaged.module, validation, settings, caches[1])
        state["spent_s"] += time.perf_counter() - start
        if sum(value.values()) < state["best"]:
            kept = {k: v.detach().clone() for k, v in averaged.module.state_dict().items()}
            state |= {"best": sum(value.values()), "weights": kept}
        state |= {"epoch": epoch + 1, "last": network.state_dict(), "averaged": averaged.state_dict()}
        state |= {"optimiser": optimiser.state_dict(), "settings": asdict(settings)}
        save_checkpoint(state, checkpoint)
        words = f"train {_words(losses)} validation {_words(value)} {state['spent_s']:.0f} s"
        report(f"epoch {epoch + 1}/{settings.epochs} {words}")
        if state["spent_s"] > settings.budget_s:
            break
    network.load_state_dict(state["weights"])
    return network.eval()


@torch.no_grad()
def predict(
    network: SequenceNet,
    examples: Sequence[SequenceExample],
    device: str = "cpu",
    *,
    mirrored: bool = True,
    size_px: int = NETWORK_PX,
) -> SequenceOutputs:
    """Outputs of a network; as in use, the mean over run and mirror image unless ``mirrored`` is False."""
    network.eval()
    cache = FeatureCache(examples, size_px=size_px)
    found: dict[str, list[Any]] = {"parts": [], "sites": [], "phases": []}
    for index in range(len(examples)):
        one = cache.get(index)
        maps = torch.from_numpy(unpack_maps(one.maps)).to(device)[None]
        frames, course = _frames(one, device)
        whole, recurrent = network.maps(maps), network.frames(frames, course)
        parts, site, phases = network.parts(whole, recurrent), whole.site[0], recurrent.phases
        if mirrored:
            whole, recurrent = network.maps(maps.flip(3)), network.frames(frames.flip(3), course)
            parts, site = (parts + network.parts(whole, recurrent)) / 2, (site + whole.site[0].flip(1)) / 2
            phases = (phases + recurrent.phases) / 2
        found["parts"].append(parts.cpu().numpy())
        found["sites"].append(_hottest(site, examples[index].stack.shape[-1]))
        found["phases"].append(phases.cpu().numpy())
    return SequenceOutputs(
        parts=np.asarray(found["parts"], np.float64).reshape(len(examples), -1),
        sites=np.asarray(found["sites"], np.float64).reshape(-1, 2),
        phases=found["phases"],
    )


@torch.no_grad()
def validation_loss(
    network: SequenceNet,
    examples: Sequence[SequenceExample],
    settings: SequenceFitSettings,
    cache: FeatureCache | None = None,
) -> dict[str, float]:
    """Mean losses by name, weighted as in training, without augmentation."""
    if len(examples) == 0:
        return {"all": float("inf")}
    network.eval()
    cache = cache or FeatureCache(examples, size_px=settings.size_px)
    usable = assessable(examples)
    losses: list[dict[str, float]] = []
    for number, members in enumerate(np.array_split(np.arange(len(examples)), max(1, len(examples) // 24))):
        batch, labels, groups = batch_of(examples, members, [cache.get(int(i)) for i in members], settings.device)
        whole = network.maps(batch.maps)
        parts = maps_loss(whole, batch, labels, usable[members], groups, pairs_of(examples, members), settings)
        if settings.frames_every:
            shown = [int(i) for i in members[number % settings.frames_every :: settings.frames_every]]
            outputs = [network.frames(*_frames(cache.get(i), settings.device)) for i in shown]
            truth = [(cache.get(i).phases, examples[i].thrombus, bool(usable[i])) for i in shown]
            parts |= frames_loss(outputs, truth, settings)
        losses.append({k: float(v) for k, v in parts.items()})
    network.train()
    return _means(losses)


def maps_loss(
    output: MapsOutput,
    batch: MapsBatch,
    labels: Tensor,
    usable: npt.NDArray[np.bool_],
    groups: Tensor,
    pairs: Tensor,
    settings: SequenceFitSettings,
) -> dict[str, Tensor]:
    """Weighted losses of the maps branch: yes/no of views and of pairs, twin against twin, site, territory.

    Runs that are not assessable count for the territory and the site alone. Open and occluded runs of a batch weigh
    alike, however many there are. ``groups`` and ``pairs`` (B,) number the twins and the views of one pair.
    """
    usable_runs = torch.from_numpy(usable).to(labels.device)
    yes_no = _balanced(output.thrombus[usable_runs], labels[usable_runs])
    paired = _balanced(*_means_of_pairs(output.thrombus, labels, pairs, usable_runs))
    beside = (groups[:, None] == groups[None]) & (labels[:, None] > labels[None]) & usable_runs[:, None]
    apart = output.thrombus[:, None] - output.thrombus[None]
    twins = nn.functional.softplus(-apart)[beside].mean() if bool(beside.any()) else output.thrombus.sum() * 0
    bells, there = site_targets(batch.site, output.site.shape[-1])
    spread = -(bells * output.site.flatten(1).log_softmax(1).view_as(bells)).sum((1, 2))
    site = spread[there].mean() if bool(there.any()) else output.site.sum() * 0
    return {
        "yes_no": yes_no,
        "pairs": settings.pair_weight * paired,
        "twins": settings.twin_weight * twins,
        "site": settings.site_weight * site,
        "territory": settings.territory_weight * _territory_loss(output.territory, batch.territory),
    }


def pairs_of(examples: Sequence[SequenceExample], members: npt.NDArray[np.intp]) -> Tensor:
    """(B,) numbers of the pairs that runs belong to, counted from 0."""
    return torch.from_numpy(np.unique([examples[int(i)].pair for i in members], return_inverse=True)[1])


def _means_of_pairs(logits: Tensor, labels: Tensor, pairs: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Mean logits and labels of the views of the usable pairs, of those that are in the batch."""
    share = nn.functional.one_hot(pairs.to(logits.device)[usable]).to(logits.dtype)
    share = share[:, share.sum(0) > 0]
    share = share / share.sum(0)
    return share.T @ logits[usable], share.T @ labels[usable]


def _balanced(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in which yes and no weigh alike; a class that is missing counts for nothing."""
    bce = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    weight = torch.where(labels > 0, 1 / labels.sum().clamp_min(1), 1 / (1 - labels).sum().clamp_min(1))
    return (bce * weight).sum() / 2


def frames_loss(
    outputs: Sequence[FramesOutput],
    truth: Sequence[tuple[npt.NDArray[np.int8], bool, bool]],
    settings: SequenceFitSettings,
) -> dict[str, Tensor]:
    """Weighted losses of the recurrent branch; truth is phases, thrombus, and whether that can be asked."""
    device = outputs[0].phases.device
    phases = torch.cat([o.phases for o in outputs])
    named = torch.from_numpy(np.concatenate([t[0] for t in truth]).astype(np.int64)).to(device)
    asked = [(o.thrombus, float(t[1])) for o, t in zip(outputs, truth, strict=True) if t[2]]
    loss = {"phases": settings.phase_weight * nn.functional.cross_entropy(phases, named)}
    logits = torch.stack([a[0] for a in asked]) if asked else phases.sum()[None] * 0
    labels = torch.tensor([a[1] for a in asked] or [0.5], device=device)
    return loss | {"second": 0.3 * nn.functional.binary_cross_entropy_with_logits(logits, labels)}


class _Loop:
    """Batches of twins through both branches."""

    def __init__(self, examples: Sequence[SequenceExample], cache: FeatureCache, settings: SequenceFitSettings) -> None:
        self._examples, self._cache, self._settings = examples, cache, settings
        self._usable, self._groups = assessable(examples), twin_groups(examples)
        self._injections = _injections(examples, self._groups)

    def epoch(
        self,
        network: SequenceNet,
        averaged: torch.optim.swa_utils.AveragedModel,
        optimiser: torch.optim.Optimizer,
        epoch: int,
        spent_s: float,
    ) -> dict[str, float]:
        """One pass over all groups; returns the mean losses by name."""
        settings, start = self._settings, time.perf_counter()
        network.train()
        torch.manual_seed(1000 * settings.seed + epoch)  # of dropout, so that a resumed training goes on alike
        generator = torch.Generator().manual_seed(1000 * settings.seed + epoch)
        batches = list(self._batches(epoch))
        losses: list[dict[str, float]] = []
        for number, members in enumerate(batches):
            progress = (epoch + number / len(batches)) / settings.epochs
            if np.isfinite(settings.budget_s):
                progress = max(progress, (spent_s + time.perf_counter() - start) / settings.budget_s)
            if progress >= settings.norm_until:
                keep_norm(network)
            parts = self._losses(network, members, epoch, generator)
            (sum(parts.values()) / settings.accumulate).backward()  # type: ignore[union-attr]
            losses.append({k: float(v.detach()) for k, v in parts.items()})
            if (number + 1) % settings.accumulate == 0:
                _step(network, optimiser, settings.learning_rate * _schedule(progress))
                averaged.update_parameters(network)
        return _means(losses)

    def _batches(self, epoch: int) -> Iterator[npt.NDArray[np.intp]]:
        rng = np.random.default_rng([self._settings.seed, epoch])
        order = self._chosen(rng.permutation(len(self._injections)))
        for batch in _in_portions(order, self._settings.batch_groups):
            members = np.concatenate([self._groups[g] for g in batch])
            yield members[self._usable[members]]

    def _chosen(self, order: npt.NDArray[np.intp]) -> Iterator[list[int]]:
        """Groups of injections in order, at most so many injections of one patient as the settings say."""
        limit = self._settings.injections_per_patient or len(order)
        seen: dict[str, int] = {}
        for number in order.tolist():
            groups = self._injections[number]
            patient = self._examples[int(self._groups[groups[0]][0])].patient
            seen[patient] = seen.get(patient, 0) + 1
            if seen[patient] <= limit:
                yield groups

    def _losses(
        self, network: SequenceNet, members: npt.NDArray[np.intp], epoch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        settings, examples = self._settings, self._examples
        features = [self._cache.get(int(i), epoch + int(i)) for i in members]
        batch, labels, groups = batch_of(examples, members, features, settings.device)
        batch = augment(batch, groups, generator)
        kind = settings.device.split(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=settings.half):
            whole = network.maps(batch.maps.contiguous(memory_format=torch.channels_last))
            # Drawn, as open runs and clots take turns in a batch.
            drawn = torch.randperm(len(members), generator=generator)
            count = round(len(members) / settings.frames_every) if settings.frames_every else 0
            shown = drawn[:count].tolist()
            outputs = [network.frames(*_varied_frames(features[i], settings.device, generator)) for i in shown]
        whole = MapsOutput(*(part.float() for part in whole))
        pairs = pairs_of(examples, members)
        parts = maps_loss(whole, batch, labels, self._usable[members], groups, pairs, settings)
        if len(shown) == 0:
            return parts
        outputs = [FramesOutput(*(part.float() for part in one)) for one in outputs]
        truth = [
            (features[i].phases, examples[int(members[i])].thrombus, bool(self._usable[members[i]])) for i in shown
        ]
        return parts | frames_loss(outputs, truth, settings)


def _injections(examples: Sequence[SequenceExample], groups: Sequence[npt.NDArray[np.intp]]) -> list[list[int]]:
    """Numbers of the groups of one injection, its views, together."""
    found: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        found.setdefault(examples[int(group[0])].pair.rpartition("-")[0], []).append(number)
    return list(found.values())


def _in_portions(parts: Iterator[list[int]], size: int) -> Iterator[list[int]]:
    """Lists joined until they have ``size`` members or more."""
    portion: list[int] = []
    for part in parts:
        portion += part
        if len(portion) >= size:
            yield portion
            portion = []
    if portion:
        yield portion


def batch_of(
    examples: Sequence[SequenceExample], members: npt.NDArray[np.intp], features: Sequence[RunFeatures], device: str
) -> tuple[MapsBatch, Tensor, Tensor]:
    """Maps with truth, labels (B,), and the number of each run's group of twins (B,)."""
    chosen = [examples[int(i)] for i in members]
    maps = torch.from_numpy(np.stack([unpack_maps(f.maps) for f in features]))
    territory = torch.from_numpy(np.stack([e.territory for e in chosen]).astype(np.float32) / 255)
    territory = nn.functional.adaptive_avg_pool2d(territory[:, None], maps.shape[-1] // MAP_STRIDE)[:, 0]
    scale = maps.shape[-1] / chosen[0].stack.shape[-1]
    site = torch.tensor([e.site if e.thrombus else (float("nan"),) * 2 for e in chosen], dtype=torch.float32)
    site = (site + 0.5) * scale - 0.5
    labels = torch.tensor([float(e.thrombus) for e in chosen])
    numbers = np.empty(len(chosen), np.int64)
    for number, group in enumerate(twin_groups(chosen)):
        numbers[group] = number
    batch = MapsBatch(maps.to(device), territory.to(device), site.to(device))
    return batch, labels.to(device), torch.from_numpy(numbers)


def _territory_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy per cell and, where something is missing, soft Dice."""
    bce = nn.functional.binary_cross_entropy_with_logits(logits, truth)
    some = truth.sum((1, 2)) > 2
    if not bool(some.any()):
        return bce
    p, t = logits.sigmoid()[some], truth[some]
    dice = 1 - (2 * (p * t).sum((1, 2)) + 1) / ((p * p).sum((1, 2)) + (t * t).sum((1, 2)) + 1)
    return 2 * bce + 0.3 * dice.mean()


def _frames(one: RunFeatures, device: str) -> tuple[Tensor, Tensor]:
    frames = torch.from_numpy(with_neighbours(unpack(one.frames)))
    return frames.to(device), torch.from_numpy(one.course).to(device)


def _varied_frames(one: RunFeatures, device: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirrored half of the time, with varied gain and noise."""
    frames, course = _frames(one, "cpu")
    draw = torch.rand(3, generator=generator)
    frames = frames.flip(3) if draw[0] < 0.5 else frames
    frames = frames * (0.8 + 0.4 * draw[1]) + 0.05 * draw[2] * torch.randn(frames.shape, generator=generator)
    return frames.to(device), course.to(device)


def _hottest(site: Tensor, stack_px: int) -> tuple[float, float]:
    """Centre of mass of the 3 x 3 cells around the hottest one, in pixels of the stack."""
    heat = site.flatten().softmax(0).view_as(site).cpu().numpy()
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    part = heat[rows, columns]
    grid = np.mgrid[rows, columns][:, : part.shape[0], : part.shape[1]]
    centre = (grid * part).sum((1, 2)) / part.sum()
    cell = stack_px / heat.shape[0]
    return float((centre[0] + 0.5) * cell - 0.5), float((centre[1] + 0.5) * cell - 0.5)


def _step(network: SequenceNet, optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _schedule(progress: float) -> float:
    """Short warm-up, then a cosine to one per cent."""
    warm = min(1.0, progress / 0.03 + 0.05)
    return warm * cosine(progress)


def _means(losses: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of every loss over the batches that have it; a small batch may have no run for the recurrent branch."""
    names = dict.fromkeys(name for one in losses for name in one)
    return {name: float(np.mean([one[name] for one in losses if name in one])) for name in names}


def _words(losses: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in losses.items())
