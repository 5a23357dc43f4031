"""From a bundle and the pictures of two sites to a bundle for the second site, or to a refusal with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ClaireDSALib.models.labels import LabelSet
from ClaireDSALib.training.adaptation.domains import Domains, split_labelled
from ClaireDSALib.training.adaptation.guard import Verdict, judge
from ClaireDSALib.training.adaptation.keeping import keeping
from ClaireDSALib.training.adaptation.lineage import Origin
from ClaireDSALib.training.adaptation.look import measure_look, restyled
from ClaireDSALib.training.adaptation.measures import balanced_accuracies, mean_of
from ClaireDSALib.training.adaptation.methods import NEED_LABELS, Task, class_shifts, run_method
from ClaireDSALib.training.adaptation.parents import Parent
from ClaireDSALib.training.adaptation.prepared import Prepared
from ClaireDSALib.training.adaptation.settings import AdaptSettings
from ClaireDSALib.training.adaptation.sites import without_labels
from ClaireDSALib.training.adaptation.statistics import logits_of
from ClaireDSALib.training.calibration import fit_temperatures
from ClaireDSALib.training.samples import LabelledPictures
from ClaireDSALib.training.train_bundle import training_parts

DEFAULT_METHOD = "look"
"""The method that won the simulated experiment with few labels; see ``docs/adaptation.md``."""
WITHOUT_LABELS = ("look", "batch_norm")
"""Methods allowed without any target label: those whose rule was validated on seeds it was not made with; see
``docs/adaptation.md``. An adversarial training can move features at the target in ways no source picture shows."""
MIN_TARGET = 32
"""Target pictures below which looks and statistics are too uncertain to adapt to."""


@dataclass(frozen=True)
class Adaptation:
    """What came out.

    Parameters
    ----------
    bundle : Origin or None
        Folder, name, version and hash of what was written; None after a refusal.
    accepted : bool
    reasons : tuple of str
        Why it was accepted or refused, in words.
    measured : dict
        Balanced accuracy per label before and after, by data; empty where there were no labels.
    class_shift : list of dict
        Class shares of both sites per label.
    verdict : Verdict
        Figures of the rules that need no target labels.
    side_effects : tuple of str
        What became of the bundle's other outputs.
    """

    bundle: Origin | None
    accepted: bool
    reasons: tuple[str, ...]
    measured: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    class_shift: list[dict[str, Any]] = field(default_factory=list)
    verdict: Verdict | None = None
    side_effects: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteData:
    """Pictures for one adaptation, cached a little larger than the network's input.

    Parameters
    ----------
    source : LabelledPictures
    target : LabelledPictures
        Labels are unknown but for the few that were given.
    test : LabelledPictures or None
        Labelled target pictures for figures only; nothing is chosen or trained with them.
    """

    source: LabelledPictures
    target: LabelledPictures
    test: LabelledPictures | None = None


@dataclass(frozen=True)
class Settled:
    """What is to become of a trained network.

    Parameters
    ----------
    network : nn.Module
        The adapted network, with the labels that keep their parent's output.
    accepted : bool
    reasons : tuple of str
    kept : dict
        Label -> why it keeps its parent's output.
    verdict : Verdict
    measured : dict
        As in :class:`Adaptation`.
    """

    network: nn.Module
    accepted: bool
    reasons: tuple[str, ...]
    kept: dict[str, str]
    verdict: Verdict
    measured: dict[str, dict[str, dict[str, float]]]


def adapt_bundle(
    parent: Parent,
    data: SiteData,
    out: Path,
    *,
    method: str = "",
    settings: AdaptSettings | None = None,
    name: str = "",
    sources: dict[str, str] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Adaptation:
    """Adapt and, when it does no harm as far as can be told, write ``out/<name>``.

    Parameters
    ----------
    parent : Parent
    data : SiteData
    out : Path
        Checkpoints and the bundle go here; an interrupted adaptation continues.
    method : str
        One of :data:`settings.METHODS`; empty takes :data:`DEFAULT_METHOD`.
    settings : AdaptSettings, optional
    name : str
        Of the new bundle; empty appends ``_adapted`` to the parent's.
    sources : dict
        Words about the data for the lineage, ``source`` and ``target``.
    report : callable
        Gets one line of progress.

    Raises
    ------
    ValueError
        When there are too few target pictures or the method lacks what it needs.
    """
    method, settings = method or DEFAULT_METHOD, settings or AdaptSettings()
    if len(data.target) < MIN_TARGET:
        msg = f"adaptation needs at least {MIN_TARGET} target runs; got {len(data.target)}"
        raise ValueError(msg)
    before = parent.network()
    domains, train, validation = make_domains(parent, data, settings)
    n_labelled = len(domains.labelled) + len(domains.target_validation)
    if method in NEED_LABELS and n_labelled == 0:
        msg = f"method {method!r} needs labelled target runs; give --target-labels or choose another method"
        raise ValueError(msg)
    if n_labelled == 0 and method not in WITHOUT_LABELS:
        return Adaptation(None, False, (_not_without_labels(method),))
    report(f"{len(domains.source)} source runs, {len(domains.unlabelled)} target runs, {n_labelled} of them labelled")
    like_target = _restyled(train, validation, data.target)
    styles = [parent.prepare(pictures) for pictures in like_target]
    task = Task(before, domains, settings, styles[0], out / "checkpoints" / method, report)
    shift = [s.to_dict() for s in class_shifts(task)]
    after = run_method(method, task)
    tests = None if data.test is None else parent.prepare(data.test)
    settled = settle(before, after, domains, styles[1], tests)
    after, verdict, measured, kept = settled.network, settled.verdict, settled.measured, settled.kept
    unharmed, effects = parent.side_effects(after, validation, like_target[1])
    accepted, reasons = settled.accepted, settled.reasons
    if not unharmed:
        accepted, reasons = False, effects
    if not accepted:
        return Adaptation(None, False, reasons, measured, shift, verdict, effects)
    calibrate_target(after, domains, styles[1], parent.labels, kept)
    record = {
        "method": method,
        "settings": settings.to_dict(),
        "data": {
            **(sources or {}),
            "source_runs": len(domains.source) + len(domains.source_validation),
            "target_runs": len(domains.unlabelled),
            "labelled_target_runs": n_labelled,
        },
        "measured": measured,
        "class_shift": shift,
        "guard": verdict.to_dict(),
        "kept": dict(kept),
        "side_effects": list(effects),
        "decision": list(reasons),
    }
    written = parent.write(after, out / (name or f"{parent.name}_adapted"), domains, record)
    report(f"wrote {written.folder}, hash {written.sha256}")
    return Adaptation(written, True, reasons, measured, shift, verdict, effects)


def make_domains(
    parent: Parent, data: SiteData, settings: AdaptSettings
) -> tuple[Domains, LabelledPictures, LabelledPictures]:
    """Prepared pictures of both sites, and the source's training and validation pictures."""
    train, validation = training_parts(data.source, settings.seed)
    target = parent.prepare(data.target)
    given = target.subset(target.labelled)
    labelled, kept_back = split_labelled(given, settings.validation_share, settings.seed)
    hidden = replace(target, targets=without_labels(data.target).targets)
    source, steering = (parent.prepare(p) for p in (train, validation))
    return Domains(source, steering, labelled, kept_back, hidden, parent.labels), train, validation


def settle(
    before: nn.Module,
    after: nn.Module,
    domains: Domains,
    restyled_validation: Prepared,
    tests: Prepared | None = None,
) -> Settled:
    """Decide which labels are adapted, and whether anything is.

    Parameters
    ----------
    before, after : nn.Module
        The parent's network and the trained one.
    domains : Domains
    restyled_validation : Prepared
        Source validation pictures with the target's look.
    tests : Prepared, optional
        Labelled target pictures for figures only.
    """
    verdict = judge(before, after, domains, restyled_validation, _trained_labels(domains))
    kept = verdict.kept if verdict.accepted and not len(domains.target_validation) else {}
    network = keeping(before, after, kept, domains.labels)
    measured = _measured(before, network, domains, restyled_validation, tests, domains.labels)
    n_labelled = len(domains.labelled) + len(domains.target_validation)
    accepted, reasons = _decide(verdict, measured, n_labelled)
    return Settled(network, accepted, reasons, dict(kept), verdict, measured)


def calibrate_target(
    network: nn.Module,
    domains: Domains,
    restyled_validation: Prepared,
    labels: LabelSet,
    kept: Collection[str] = (),
) -> None:
    """Temperatures from the target validation where there is one, else from source validation in the target's look.

    Labels that keep their parent's output keep its temperature.
    """
    pictures = domains.target_validation if len(domains.target_validation) else restyled_validation
    found = fit_temperatures(logits_of(network, pictures), pictures.targets, labels)
    with torch.no_grad():
        for position, (name, temperature) in enumerate(zip(labels.names, found, strict=True)):
            if name not in kept:
                network.temperature[position] = temperature  # type: ignore[operator, index]


def _trained_labels(domains: Domains) -> tuple[str, ...]:
    """Labels of which at least one target picture was trained on."""
    known = (domains.labelled.targets >= 0).any(axis=0)
    return tuple(name for name, some in zip(domains.labels.names, known, strict=True) if some)


def _not_without_labels(method: str) -> str:
    return (
        f"without target labels only {' and '.join(WITHOUT_LABELS)} are safe enough; {method!r} needs --target-labels"
    )


def _restyled(
    train: LabelledPictures, validation: LabelledPictures, target: LabelledPictures
) -> tuple[LabelledPictures, LabelledPictures]:
    own, other = measure_look(train.images), measure_look(target.images)
    return restyled(train, own, other), restyled(validation, own, other)


def _measured(
    before: nn.Module,
    after: nn.Module,
    domains: Domains,
    restyled_validation: Prepared,
    tests: Prepared | None,
    labels: LabelSet,
) -> dict[str, dict[str, dict[str, float]]]:
    sets = {"source validation in the target's look": restyled_validation}
    if len(domains.target_validation):
        sets["target validation"] = domains.target_validation
    if tests is not None:
        sets["target test"] = tests
    return {
        name: {
            when: {k: round(v, 4) for k, v in balanced_accuracies(network, pictures, labels).items()}
            for when, network in (("before", before), ("after", after))
        }
        for name, pictures in sets.items()
    }


def _decide(
    verdict: Verdict, measured: dict[str, dict[str, dict[str, float]]], n_labelled: int
) -> tuple[bool, tuple[str, ...]]:
    """Target validation decides where there is one; the rules without labels decide otherwise."""
    validation = measured.get("target validation")
    if validation is None or not validation["before"]:
        words = (
            "no target labels"
            if n_labelled == 0
            else f"{n_labelled} target labels, all used for training: too few to keep any back"
        )
        return verdict.accepted, (words, *verdict.reasons)
    first, second = mean_of(validation["before"]), mean_of(validation["after"])
    words = f"mean balanced accuracy on target validation {first:.3f} before, {second:.3f} after"
    if not np.isfinite(second) or second < first:
        return False, (words, "the bundle stays as it is")
    return True, (words,)
