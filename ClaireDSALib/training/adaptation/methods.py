"""What can be done with a bundle at a new site, from nothing to adversarial adaptation; one function per method.

``source_only``: the bundle as it is. ``batch_norm``: batch-norm statistics of the target (AdaBN). ``prior``: outputs
corrected for the class shares of the target. ``head``: only the linear heads, on labelled target pictures.
``fine_tune``: the whole network, on labelled target pictures. ``joint``: source and labelled target together, a head
each. ``adversarial``: that, and a domain classifier behind gradient reversal on all pictures (Loizillon et al. 2025).
``look``: as joint, with source pictures given the average look of the target. ``look_adversarial``: both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ClaireDSALib.training.adaptation.class_shift import ClassShift, estimate_class_shift
from ClaireDSALib.training.adaptation.domains import Domains
from ClaireDSALib.training.adaptation.loop import Terms, target_share, train_domains
from ClaireDSALib.training.adaptation.losses import inverse_shares, label_cross_entropy
from ClaireDSALib.training.adaptation.parts import head_logits, linear_heads
from ClaireDSALib.training.adaptation.prepared import Prepared, Vectors
from ClaireDSALib.training.adaptation.priors import importance
from ClaireDSALib.training.adaptation.settings import METHODS, AdaptSettings
from ClaireDSALib.training.adaptation.statistics import features_of, with_statistics_of

Report = Callable[[str], None]
NEED_LABELS = frozenset({"head", "fine_tune"})
"""Methods that cannot start without labelled target pictures."""
FINE_TUNE_STEPS = 120
VECTOR_STEPS = 600
"""Least number of steps on vectors of a fixed backbone."""
HEAD_STEPS, HEAD_RATE, HEAD_PULL = 200, 0.02, 1.0


@dataclass(frozen=True)
class Task:
    """Everything a method may use.

    Parameters
    ----------
    network : nn.Module
        The bundle's network; no method changes it.
    domains : Domains
    settings : AdaptSettings
    restyled : Prepared or None
        The source pictures with the target's look, for the methods that want it.
    out : Path or None
        Folder for checkpoints.
    """

    network: nn.Module
    domains: Domains
    settings: AdaptSettings
    restyled: Prepared | None = None
    out: Path | None = None
    report: Report = lambda _: None


def run_method(name: str, task: Task) -> nn.Module:
    """Network of one method, uncalibrated, in evaluation mode.

    Raises
    ------
    ValueError
        For an unknown method, or one that lacks the labels or pictures it needs.
    """
    if name not in METHODS:
        msg = f"unknown method {name!r}; there are {list(METHODS)}"
        raise ValueError(msg)
    if name in NEED_LABELS and len(task.domains.labelled) == 0:
        msg = f"method {name!r} needs labelled target pictures; got none, use 'look', 'adversarial' or 'batch_norm'"
        raise ValueError(msg)
    if name.startswith("look"):
        if task.restyled is None:
            msg = f"method {name!r} needs the source pictures with the target's look; give Task.restyled"
            raise ValueError(msg)
        task = replace(task, domains=replace(task.domains, source=task.restyled))
    return _FUNCTIONS[name](task)


def _source_only(task: Task) -> nn.Module:
    return copy.deepcopy(task.network).eval()


def _batch_norm(task: Task) -> nn.Module:
    return with_statistics_of(task.network, task.domains.target_pictures, seed=task.settings.seed)


def _prior(task: Task) -> nn.Module:
    """The correction is a shift of the heads' biases, in units of the label's temperature."""
    network = copy.deepcopy(task.network).eval()
    shift = np.concatenate([np.log(s.target / s.source) for s in class_shifts(task)])
    temperatures = np.repeat(network.temperature.numpy(), task.domains.sizes)  # type: ignore[operator, union-attr]
    start = 0
    with torch.no_grad():
        for head in linear_heads(network):
            part = (shift * temperatures)[start : start + head.out_features]
            head.bias += torch.from_numpy(part).float()
            start += head.out_features
    return network


def _head(task: Task) -> nn.Module:
    """Few pictures and many weights: the heads are held near where they started."""
    network, labelled = copy.deepcopy(task.network).eval(), task.domains.labelled
    features = torch.from_numpy(features_of(network, labelled))
    targets, sizes = torch.from_numpy(labelled.targets), task.domains.sizes
    weights = inverse_shares(targets, sizes) if task.settings.balance_target else None
    parameters = [p for head in linear_heads(network) for p in head.parameters()]
    start = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=HEAD_RATE)
    for _ in range(HEAD_STEPS):
        loss = label_cross_entropy(head_logits(network, features), targets, sizes, weights)
        away = torch.stack([((p - s) ** 2).sum() for p, s in zip(parameters, start, strict=True)]).sum()
        optimizer.zero_grad()
        (loss + HEAD_PULL * away / len(labelled)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


def _fine_tune(task: Task) -> nn.Module:
    terms = Terms(source=False, domain=False, steps=_fine_tune_steps(task))
    return _trained(task, terms, share=1.0, weights=None)


def _joint(task: Task) -> nn.Module:
    return _trained(task, Terms(domain=False), share=target_share(task.domains), weights=None)


def _adversarial(task: Task) -> nn.Module:
    return _trained(task, Terms(), share=target_share(task.domains), weights=source_importance(task))


def _fine_tune_steps(task: Task) -> int:
    """As many steps as an epoch count would give with many labels, a fixed number with few."""
    many = round(task.settings.epochs * len(task.domains.labelled) / task.settings.labelled_batch)
    return max(FINE_TUNE_STEPS, many)


def _trained(task: Task, terms: Terms, *, share: float, weights: npt.NDArray[np.floating] | None) -> nn.Module:
    if isinstance(task.domains.source, Vectors):  # a step costs a millisecond, and the head is small
        terms = replace(terms, steps=max(terms.steps, VECTOR_STEPS))
    model = train_domains(
        task.network,
        task.domains,
        task.settings,
        terms,
        out=task.out,
        source_weights=weights,
        report=task.report,
    )
    network = model.finished(share)
    if task.settings.own_statistics:
        network = with_statistics_of(network, task.domains.target_pictures, seed=task.settings.seed)
    return network


def class_shifts(task: Task) -> list[ClassShift]:
    """Class shares of both sites per label, the target's estimated by the network with the target's statistics."""
    return estimate_class_shift(task.network, task.domains)


def source_importance(task: Task) -> npt.NDArray[np.floating] | None:
    """Chance of each source picture that makes the classes as frequent as at the target."""
    if not task.settings.match_priors:
        return None
    shifts = class_shifts(task)
    return importance(task.domains.source.targets, [s.source for s in shifts], [s.target for s in shifts])


_FUNCTIONS: dict[str, Callable[[Task], nn.Module]] = {
    "source_only": _source_only,
    "batch_norm": _batch_norm,
    "prior": _prior,
    "head": _head,
    "fine_tune": _fine_tune,
    "joint": _joint,
    "adversarial": _adversarial,
    "look": _joint,
    "look_adversarial": _adversarial,
}
