"""Train only what names the phases of a sequence network; the convolutional part stays, its features are kept.

Two parts can be trained: the last layer (``head``), which leaves every other output of the network as it is to the
bit, or the whole recurrent branch (``recurrent``), whose opinion on the thrombus is then held where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import SequenceNet
from ClaireDSALib.models.phase_path import best_path
from ClaireDSALib.models.sequence_input import with_neighbours
from ClaireDSALib.training.fit_best import save_checkpoint
from ClaireDSALib.training.sequence_cache import NETWORK_PX, FeatureCache
from ClaireDSALib.training.sequence_examples import SequenceExample, unpack

PARTS = ("head", "recurrent")


@dataclass(frozen=True)
class PhaseFitSettings:
    """Choices of one training of the phase part.

    Raises
    ------
    ValueError
        For an unknown part.
    """

    part: Literal["head", "recurrent"] = "head"
    epochs: int = 30
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_runs: int = 8
    versions: int = 2
    """Versions of every run in the feature cache: whole, and thinned in time."""
    hold: float = 1.0
    """Weight of the squared change of the branch's thrombus logit, for the part ``recurrent``."""
    size_px: int = NETWORK_PX
    seed: int = 0
    device: str = "cpu"
    budget_s: float = float("inf")

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            msg = f"the part to train must be one of {PARTS}; got {self.part!r}"
            raise ValueError(msg)


@dataclass(frozen=True)
class PhaseCheck:
    """How a network does on validation runs: cross entropy, share of frames right as decoded in use, thrombus logits
    ``(N,)`` of the recurrent branch."""

    loss: float
    accuracy: float
    opinions: npt.NDArray[np.float64]


def fit_phases(
    network: SequenceNet,
    train: Sequence[SequenceExample],
    validation: Sequence[SequenceExample],
    settings: PhaseFitSettings,
    checkpoint: Path,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> SequenceNet:
    """Train the phase part in place and return the network of the best epoch by validation loss.

    The network as it came in counts as an epoch, so the answer is never worse on the validation runs. A
    ``checkpoint`` that exists is resumed.

    Parameters
    ----------
    network : SequenceNet
    train, validation : sequence of SequenceExample
        Only ``stack``, ``times_s`` and ``phases`` are used.
    settings : PhaseFitSettings
    checkpoint : Path
    report : callable
        Called with one line of progress at a time.

    Raises
    ------
    ValueError
        Without runs to train on or to validate with.
    """
    if not train or not validation:
        msg = f"phases need runs to train on and runs of other patients to validate with; got {len(train)} and "
        raise ValueError(msg + f"{len(validation)}")
    torch.manual_seed(settings.seed)
    network.requires_grad_(False).to(settings.device).eval()
    part = _trained_part(network, settings.part).requires_grad_(True)
    optimiser = torch.optim.AdamW(part.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    kept, held_out = _Kept(network, train, settings), _Kept(network, validation, settings)
    kept.prepare()
    state: dict[str, Any] = {"epoch": 0, "best": check(network, held_out).loss, "spent_s": 0.0}
    state |= {"weights": _copied(part)}
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        part.load_state_dict(state["last"])
        optimiser.load_state_dict(state["optimiser"])
        report(f"resumed after epoch {state['epoch']}")
    for epoch in range(state["epoch"], settings.epochs):
        if state["spent_s"] > settings.budget_s:
            break
        start = time.perf_counter()
        loss = _epoch(network, part, optimiser, kept, settings, epoch)
        found = check(network, held_out)
        if found.loss < state["best"]:
            state |= {"best": found.loss, "weights": _copied(part)}
        state["spent_s"] += time.perf_counter() - start
        state |= {"epoch": epoch + 1, "last": part.state_dict(), "optimiser": optimiser.state_dict()}
        state |= {"settings": asdict(settings)}
        save_checkpoint(state, checkpoint)
        words = f"train {loss:.3f} validation {found.loss:.3f}, {found.accuracy:.1%} of the frames"
        report(f"epoch {epoch + 1}/{settings.epochs} {words}")
    part.load_state_dict(state["weights"])
    return network.requires_grad_(False).cpu().eval()


def check_runs(network: SequenceNet, runs: Sequence[SequenceExample], settings: PhaseFitSettings) -> PhaseCheck:
    """Measure a network on runs."""
    return check(network, _Kept(network, runs, settings))


@torch.no_grad()
def check(network: SequenceNet, kept: _Kept) -> PhaseCheck:
    """Measure a network on kept features."""
    losses, right, frames, opinions = [], 0, 0, []
    for index in range(len(kept)):
        one = kept.get(index)
        found = network.frames.decide(one.pooled, one.course)
        losses.append(float(nn.functional.cross_entropy(found.phases, one.phases)))
        named = best_path(found.phases.log_softmax(1).cpu().numpy())
        right += int((np.asarray(named) == one.phases.cpu().numpy()).sum())
        frames += len(named)
        opinions.append(float(found.thrombus))
    return PhaseCheck(float(np.mean(losses)), right / frames, np.array(opinions))


@dataclass(frozen=True)
class _Run:
    pooled: Tensor
    course: Tensor
    phases: Tensor
    opinion: Tensor


class _Kept:
    """Pooled features of every run and version, computed once; the convolutional part is not trained."""

    def __init__(self, network: SequenceNet, runs: Sequence[SequenceExample], settings: PhaseFitSettings) -> None:
        self._network, self._device = network, settings.device
        self._cache = FeatureCache(runs, settings.versions, settings.seed, settings.size_px)
        self._runs: dict[tuple[int, int], _Run] = {}
        self._n_runs, self._versions = len(runs), settings.versions

    def __len__(self) -> int:
        return self._n_runs

    @torch.no_grad()
    def get(self, index: int, version: int = 0) -> _Run:
        key = (index, version % self._versions)
        if key not in self._runs:
            one = self._cache.get(*key)
            frames = torch.from_numpy(with_neighbours(unpack(one.frames))).to(self._device)
            course = torch.from_numpy(one.course).to(self._device)
            pooled = self._network.frames.pooled(frames, course)
            phases = torch.from_numpy(one.phases.astype(np.int64)).to(self._device)
            opinion = self._network.frames.decide(pooled, course).thrombus
            self._runs[key] = _Run(pooled, course, phases, opinion)
        return self._runs[key]

    def prepare(self) -> None:
        """Compute everything now, before a weight changes: opinions are those of the network as it came."""
        for index in range(len(self)):
            for version in range(self._versions):
                self.get(index, version)


def _epoch(
    network: SequenceNet,
    part: nn.Module,
    optimiser: torch.optim.Optimizer,
    kept: _Kept,
    settings: PhaseFitSettings,
    epoch: int,
) -> float:
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(kept))
    losses = []
    for first in range(0, len(order), settings.batch_runs):
        members = [kept.get(int(i), epoch + int(i)) for i in order[first : first + settings.batch_runs]]
        found = [network.frames.decide(one.pooled, one.course) for one in members]
        phases, truth = torch.cat([f.phases for f in found]), torch.cat([one.phases for one in members])
        loss = nn.functional.cross_entropy(phases, truth)
        losses.append(float(loss.detach()))
        if settings.part == "recurrent":
            apart = torch.stack([f.thrombus - one.opinion for f, one in zip(found, members, strict=True)])
            loss = loss + settings.hold * apart.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimiser.step()
    return float(np.mean(losses))


def _trained_part(network: SequenceNet, part: str) -> nn.Module:
    branch = network.frames
    if part == "head":
        return branch.phase_head
    return nn.ModuleDict({"project": branch.project, "gru": branch.gru, "phase_head": branch.phase_head})


def _copied(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in part.state_dict().items()}
