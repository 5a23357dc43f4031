"""Rules over labels give the verdict, the reasons in plain words and the probability of being right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ClaireDSALib.models.labels import NINE_LABELS
from ClaireDSALib.models.quality_input import GRADES
from ClaireDSALib.pipeline.report import LabelResult, OutOfDistribution, Quality
from ClaireDSALib.pipeline.suitability import QUALITY_GRADE, Rule, judge, load_rules, presets, rules_from_dicts

GOOD = {
    "contrast_fluid": "present",
    "projection": "lateral",
    "skull_visibility": "entire",
    "motion_artefact": "none",
    "subtraction": "subtracted",
    "region": "intracranial",
    "circulation": "anterior",
    "side": "left",
    "device": "absent",
}


def labels(sure: float = 0.99, **changed: str) -> list[LabelResult]:
    """Nine labels, each with probability ``sure`` for its class."""
    found = []
    for label in NINE_LABELS.labels:
        chosen = {**GOOD, **changed}[label.name]
        rest = (1 - sure) / (len(label.classes) - 1)
        probabilities = tuple(sure if c == chosen else rest for c in label.classes)
        found.append(LabelResult(label.name, label.classes, probabilities, chosen))
    return found


def test_three_presets_come_with_the_program_and_use_known_labels_and_classes() -> None:
    assert set(presets()) >= {"vessel_segmentation", "thrombus", "perfusion"}
    for preset in presets():
        for rule in load_rules(preset).rules:
            classes = GRADES if rule.label == QUALITY_GRADE else NINE_LABELS[rule.label].classes
            assert set(rule.allowed) <= set(classes)
            assert set(rule.includes) <= set(NINE_LABELS.names)
            assert rule.text.endswith(".")


@pytest.mark.parametrize("preset", ["vessel_segmentation", "thrombus", "perfusion"])
def test_a_good_run_is_suitable_without_reasons_against_it(preset: str) -> None:
    verdict = judge(labels(), load_rules(preset), maskable=False)
    assert verdict.suitable
    assert verdict.reasons == ()
    assert verdict.probability > 0.9


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"contrast_fluid": "absent"}, "no vessels"),
        ({"subtraction": "unsubtracted"}, "bone"),
        ({"motion_artefact": "severe"}, "Motion artefact: severe (99%)"),
        ({"region": "extracranial"}, "outside the picture"),
        ({"projection": "oblique"}, "Projection: oblique"),
    ],
)
def test_each_excluding_property_excludes_with_its_reason(changed: dict[str, str], words: str) -> None:
    verdict = judge(labels(**changed), load_rules("vessel_segmentation"), maskable=False)
    assert not verdict.suitable
    (reason,) = verdict.reasons
    assert reason.severity == "exclude"
    assert words in reason.text
    assert reason.probability == pytest.approx(0.99, abs=0.011)


def test_an_unsubtracted_run_that_can_be_subtracted_is_suitable() -> None:
    assert judge(labels(subtraction="unsubtracted"), load_rules("vessel_segmentation"), maskable=True).suitable


def test_a_partial_skull_only_warns() -> None:
    verdict = judge(labels(skull_visibility="partial"), load_rules("vessel_segmentation"), maskable=False)
    assert verdict.suitable
    assert [r.severity for r in verdict.reasons] == ["warn"]


def test_an_outlier_is_never_suitable() -> None:
    outlier = OutOfDistribution(score=5, threshold=1, is_outlier=True)
    verdict = judge(labels(), load_rules("vessel_segmentation"), maskable=False, out_of_distribution=outlier)
    assert not verdict.suitable
    assert "cerebral angiogram" in verdict.reasons[0].text


def quality(poor: float) -> Quality:
    rest = 1 - poor
    chances = {"good": 0.25 * rest, "acceptable": 0.75 * rest, "poor": poor}
    return Quality(max(chances, key=lambda grade: chances[grade]), chances, "network (x)")


def test_a_poor_picture_is_not_suitable_for_vessels_and_says_why() -> None:
    rules = load_rules("vessel_segmentation")
    verdict = judge(labels(), rules, maskable=False, quality=quality(0.9))
    assert not verdict.suitable
    (reason,) = verdict.reasons
    assert (reason.label, reason.severity, reason.probability) == (QUALITY_GRADE, "exclude", pytest.approx(0.9))
    assert reason.text.startswith("Quality grade: poor (90%)")
    assert judge(labels(), rules, maskable=False, quality=quality(0.1)).suitable


def test_a_poor_picture_only_warns_where_a_thrombus_is_looked_for() -> None:
    verdict = judge(labels(), load_rules("thrombus"), maskable=False, quality=quality(0.9))
    assert verdict.suitable
    assert [(r.label, r.severity) for r in verdict.reasons] == [(QUALITY_GRADE, "warn")]


def test_without_a_grade_no_rule_asks_for_one() -> None:
    rules = load_rules("vessel_segmentation")
    assert judge(labels(), rules, maskable=False).suitable
    only = rules_from_dicts("x", [{"label": QUALITY_GRADE, "allowed": ["good"]}])
    verdict = judge(labels(), only, maskable=False)
    assert (verdict.suitable, verdict.probability) == (True, 1.0)
    assert not judge(labels(), only, maskable=False, quality=quality(0.0)).suitable  # acceptable is not good


def test_a_poor_grade_is_no_further_reason_where_its_cause_is_named() -> None:
    verdict = judge(
        labels(motion_artefact="severe"), load_rules("vessel_segmentation"), maskable=False, quality=quality(0.97)
    )
    assert [reason.label for reason in verdict.reasons] == ["motion_artefact"]


def test_a_grade_that_takes_in_other_properties_does_not_count_them_twice() -> None:
    rules = rules_from_dicts(
        "x",
        [
            {"label": QUALITY_GRADE, "allowed": ["good", "acceptable"], "includes": ["contrast_fluid"]},
            {"label": "contrast_fluid", "allowed": ["present"]},
            {"label": "projection", "allowed": ["ap", "lateral"]},
        ],
    )
    sure = labels(0.8)  # contrast 0.8; projection AP or lateral 0.9
    assert judge(sure, rules, maskable=False, quality=quality(0.3)).probability == pytest.approx(0.7 * 0.9)
    assert judge(sure, rules, maskable=False, quality=quality(0.1)).probability == pytest.approx(0.8 * 0.9)


def test_the_probability_is_the_product_over_excluding_rules() -> None:
    rules = rules_from_dicts(
        "mine",
        [
            {"label": "contrast_fluid", "allowed": ["present"]},
            {"label": "projection", "allowed": ["ap", "lateral"]},
            {"label": "device", "allowed": ["absent"], "severity": "warn"},
        ],
    )
    assert rules.preset == "mine (edited)"
    verdict = judge(labels(0.8), rules, maskable=False)
    assert verdict.probability == pytest.approx(0.8 * 0.9)
    turned = judge(labels(0.8, contrast_fluid="absent"), rules, maskable=False)
    assert turned.probability == pytest.approx(1 - 0.2 * 0.9)


@given(st.floats(0.34, 0.999), st.sampled_from(["none", "mild", "severe"]))
def test_the_probability_is_one(sure: float, motion: str) -> None:
    verdict = judge(labels(sure, motion_artefact=motion), load_rules("perfusion"), maskable=False)
    assert 0 <= verdict.probability <= 1
    assert np.isfinite(verdict.probability)


def test_a_threshold_can_ask_for_more_certainty() -> None:
    strict = rules_from_dicts("x", [{"label": "region", "allowed": ["intracranial"], "threshold": 0.95}])
    assert not judge(labels(0.9), strict, maskable=False).suitable
    assert judge(labels(0.97), strict, maskable=False).suitable


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"label": "x", "allowed": []}, "allows no class"),
        ({"label": "x", "allowed": ["y"], "threshold": 1.5}, "between 0 and 1"),
        ({"label": "x", "allowed": ["y"], "severity": "maybe"}, "severity"),
        ({"label": "x", "allowed": ["y"], "weight": 2}, "unknown keys"),
        ({"allowed": ["y"]}, "needs 'label'"),
    ],
)
def test_an_impossible_rule_is_refused(rule: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule.from_dict(rule)


def test_a_rule_for_a_label_or_class_the_model_lacks_is_an_error() -> None:
    for rule in ({"label": "weather", "allowed": ["fine"]}, {"label": "side", "allowed": ["up"]}):
        with pytest.raises(ValueError, match=r"weather|allows \['up'\]"):
            judge(labels(), rules_from_dicts("x", [rule]), maskable=False)


def test_a_rule_that_includes_a_label_the_model_lacks_is_an_error() -> None:
    rule = {"label": QUALITY_GRADE, "allowed": ["good"], "includes": ["contrast"]}
    with pytest.raises(ValueError, match=r"includes \['contrast'\]; the model gives"):
        judge(labels(), rules_from_dicts("x", [rule]), maskable=False, quality=quality(0.2))


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="vessel_segmentation"):
        load_rules("nonsense")


def test_rules_survive_a_round_trip() -> None:
    rules = load_rules("thrombus")
    again = rules_from_dicts("thrombus", [rule.to_dict() for rule in rules.rules])
    assert dataclasses.replace(again, preset="thrombus", title=rules.title) == rules
