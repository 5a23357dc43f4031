"""Rules over labels -> a verdict with reasons in plain words and the probability that it is right.

A rule set is data (``Resources/Suitability/<preset>.json``, or the user's own in the settings). A rule is violated
when the probability of its allowed classes falls below its threshold. Labels are treated as independent
given the picture, so the probability that every excluding condition holds is a product.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ClaireDSALib.models.resources import resources_folder
from ClaireDSALib.pipeline.report import LabelResult, OutOfDistribution, Quality, Reason, Suitability

SEVERITIES = ("exclude", "warn")

QUALITY_GRADE = "quality_grade"
"""Under this name a rule asks for the grade of the picture (good, acceptable, poor), as if it were a label."""


@dataclass(frozen=True)
class Rule:
    """One condition on one label.

    Parameters
    ----------
    label : str
    allowed : tuple of str
        Classes that satisfy the rule.
    threshold : float
        The rule holds when the allowed classes together have at least this probability.
    severity : {"exclude", "warn"}
    text : str
        Why a violation matters, in plain words; completes the sentence that names the class.
    waived_when_maskable : bool
        The rule does not apply when the run can be subtracted with one of its own frames.
    includes : tuple of str
        Labels that this condition takes in: it cannot hold where theirs fail. Where a rule on one of them excludes the
        run already, this one is no further reason.
    """

    label: str
    allowed: tuple[str, ...]
    severity: Literal["exclude", "warn"] = "exclude"
    threshold: float = 0.5
    text: str = ""
    waived_when_maskable: bool = False
    includes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            msg = f"severity of the rule for {self.label!r} must be one of {SEVERITIES}; got {self.severity!r}"
            raise ValueError(msg)
        if not 0 < self.threshold < 1:
            msg = f"threshold of the rule for {self.label!r} must lie between 0 and 1; got {self.threshold}"
            raise ValueError(msg)
        if not self.allowed:
            msg = f"the rule for {self.label!r} allows no class; name at least one"
            raise ValueError(msg)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        """Build from JSON.

        Raises
        ------
        ValueError
            For an unknown or missing key, or a value outside its range.
        """
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(data) - known):
            msg = f"unknown keys {unknown} in a suitability rule; known are {sorted(known)}"
            raise ValueError(msg)
        if "label" not in data or "allowed" not in data:
            msg = f"a suitability rule needs 'label' and 'allowed'; got {dict(data)}"
            raise ValueError(msg)
        return cls(**{**data, "allowed": tuple(data["allowed"]), "includes": tuple(data.get("includes", ()))})

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "allowed": list(self.allowed), "includes": list(self.includes)}


@dataclass(frozen=True)
class RuleSet:
    """Rules for one downstream task."""

    preset: str
    rules: tuple[Rule, ...]
    title: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"preset": self.preset, "title": self.title, "rules": [rule.to_dict() for rule in self.rules]}


def presets() -> tuple[str, ...]:
    """Names of the rule sets that come with the program."""
    return tuple(sorted(path.stem for path in _folder().glob("*.json")))


def load_rules(preset: str) -> RuleSet:
    """Read a shipped rule set.

    Raises
    ------
    ValueError
        When there is no such preset.
    """
    path = _folder() / f"{preset}.json"
    if preset not in presets():
        msg = f"no suitability preset {preset!r}; there are {list(presets())}"
        raise ValueError(msg)
    data = json.loads(path.read_text(encoding="utf-8"))
    return RuleSet(preset, tuple(Rule.from_dict(rule) for rule in data["rules"]), data.get("title", ""))


def rules_from_dicts(preset: str, rules: Iterable[Mapping[str, Any]]) -> RuleSet:
    """The user's own rules under the preset's name."""
    return RuleSet(f"{preset} (edited)", tuple(Rule.from_dict(rule) for rule in rules))


def judge(
    labels: Sequence[LabelResult],
    rules: RuleSet,
    *,
    maskable: bool,
    out_of_distribution: OutOfDistribution | None = None,
    quality: Quality | None = None,
) -> Suitability:
    """Apply rules to the labels of one run.

    Parameters
    ----------
    labels : sequence of LabelResult
        Calibrated probabilities.
    rules : RuleSet
    maskable : bool
        One of the run's own frames can serve as mask.
    out_of_distribution : OutOfDistribution, optional
        An outlier is never suitable.
    quality : Quality, optional
        Grade of the picture; rules on :data:`QUALITY_GRADE` do not apply without.

    Returns
    -------
    Suitability
        ``probability`` is that of the verdict: of all excluding conditions holding when suitable, of at least one
        failing when not. Both come from the same product, so they sum to one. A condition that includes others does
        not multiply: all of them hold at most as often as the least probable of the two sides.

    Raises
    ------
    ValueError
        When a rule names a label or a class that the model does not have.
    """
    by_name = {label.name: label for label in labels}
    if quality is not None:
        by_name[QUALITY_GRADE] = _graded(quality)
    asked = [rule for rule in rules.rules if rule.label != QUALITY_GRADE or quality is not None]
    reasons: list[Reason] = []
    held: dict[str, float] = {}
    for rule in sorted(asked, key=lambda rule: bool(rule.includes)):
        label = _label_for(rule, by_name)
        holds = sum(p for cls, p in zip(label.classes, label.probabilities, strict=True) if cls in rule.allowed)
        holds = min(max(holds, 0.0), 1.0)
        if (rule.waived_when_maskable and maskable) or not label.answered:
            continue
        if rule.severity == "exclude":
            within = [held[name] for name in rule.includes if name in held]
            held[rule.label] = held.get(rule.label, 1.0) * min(1.0, holds / max(math.prod(within), 1e-12))
        named = any(reason.label in rule.includes and reason.severity == "exclude" for reason in reasons)
        if holds < rule.threshold and not named:
            reasons.append(Reason(rule.label, rule.severity, _sentence(label, rule), round(1 - holds, 6)))
    if out_of_distribution is not None and out_of_distribution.is_outlier:
        text = "The picture does not look like a cerebral angiogram, so its labels cannot be trusted."
        reasons.insert(0, Reason("out_of_distribution", "exclude", text))
    suitable = not any(reason.severity == "exclude" for reason in reasons)
    all_hold = math.prod(max(share, 1e-12) for share in held.values())
    return Suitability(rules.preset, suitable, all_hold if suitable else 1 - all_hold, tuple(reasons))


def shows_motion(labels: Sequence[LabelResult]) -> bool:
    """Whether the labels call a run's motion artefact mild or severe; False where it was not answered."""
    motion = next((label for label in labels if label.name == "motion_artefact" and label.answered), None)
    return motion is not None and motion.predicted != "none"


def _folder() -> Path:
    return resources_folder() / "Suitability"


def _graded(quality: Quality) -> LabelResult:
    """A grade in the shape of a label."""
    return LabelResult(
        QUALITY_GRADE, tuple(quality.probabilities), tuple(quality.probabilities.values()), quality.grade
    )


def _label_for(rule: Rule, by_name: Mapping[str, LabelResult]) -> LabelResult:
    if rule.label not in by_name:
        msg = f"the suitability rules need label {rule.label!r}; the model gives {sorted(by_name)}"
        raise ValueError(msg)
    label = by_name[rule.label]
    if missing := [cls for cls in rule.allowed if cls not in label.classes]:
        msg = f"rule for {rule.label!r} allows {missing}, but the model's classes are {list(label.classes)}"
        raise ValueError(msg)
    if missing := [name for name in rule.includes if name not in by_name]:
        msg = f"rule for {rule.label!r} includes {missing}; the model gives {sorted(by_name)}"
        raise ValueError(msg)
    return label


def _sentence(label: LabelResult, rule: Rule) -> str:
    cause = max((p, cls) for cls, p in zip(label.classes, label.probabilities, strict=True) if cls not in rule.allowed)
    name = label.name.replace("_", " ").capitalize()
    sentence = f"{name}: {cause[1].replace('_', ' ')} ({cause[0]:.0%})"
    return f"{sentence} - {rule.text}" if rule.text else f"{sentence}."
