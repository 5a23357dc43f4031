"""A trivial model of nuisances must not predict what only the picture may tell."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from ClaireDSALib.simulator.case import pair_of_plans
from ClaireDSALib.simulator.plan import RunPlan, draw_plan
from ClaireDSALib.simulator.truth import plain

_PLANS = 6000
_LEARNT_FROM = 2400
_MARGIN = 0.045
"""Balanced accuracy of chance over 2,400 runs has a deviation of about 0.01 to 0.013."""


@lru_cache(maxsize=1)
def _plans() -> tuple[RunPlan, ...]:
    rng = np.random.default_rng(12)
    return tuple(draw_plan(rng) for _ in range(_PLANS))


def _nuisances(plan: RunPlan) -> list[float]:
    """All that is known of a run without looking at vessels, bone or streaks."""
    return [
        plan.view.primary_deg, plan.view.secondary_deg, plan.view.sid_mm, plan.view.sod_mm, plan.view.detector_pitch_mm,
        *plan.view.isocentre_mm, len(plan.times_s), plan.times_s[-1], plan.detector.photons, plan.detector.blur_px,
        plan.detector.scatter_to_primary, plan.collimator.shape == "circular", plan.collimator.shape == "rectangular",
        plan.collimator.valid_region((48, 48)).mean(), plan.look.bits, plan.look.background, plan.look.opacity_range,
        plan.look.gamma, plan.look.photometric == "MONOCHROME1", plan.injection.rate_ml_s, plan.injection.duration_s,
        plan.injection.start_s, plan.injection.side == "left", plan.delivery == "subtracted", len(plan.mask_frames),
        plan.marks, plan.fillings,
    ]  # fmt: skip


def _balanced_accuracy(features: np.ndarray, answers: np.ndarray) -> float:
    model = RandomForestClassifier(60, min_samples_leaf=8, class_weight="balanced", random_state=0)
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    guessed = cross_val_predict(model, features, answers, groups=np.arange(len(answers)), cv=folds)
    return float(np.mean([(guessed[answers == value] == value).mean() for value in np.unique(answers)]))


@pytest.mark.parametrize(
    ("name", "answer", "chance"),
    [
        ("thrombus", lambda plan: plan.occlusion.site != "none", 1 / 2),
        ("motion", lambda plan: plan.motion_grade, 1 / 3),
        ("device", lambda plan: bool(plan.devices), 1 / 2),
        ("contrast", lambda plan: plan.contrast, 1 / 2),
    ],
)
def test_nuisances_do_not_tell(name, answer, chance):
    plans = [plan for plan in _plans() if plan.thrombus_possible] if name == "thrombus" else list(_plans())
    plans = plans[:_LEARNT_FROM]
    features = np.array([_nuisances(plan) for plan in plans], float)
    score = _balanced_accuracy(features, np.array([answer(plan) for plan in plans]))
    assert abs(score - chance) < _MARGIN, f"{name}: balanced accuracy {score:.3f} where chance is {chance:.3f}"


def test_posterior_and_anterior_injections_are_occluded_equally_often():
    possible = [plan for plan in _plans() if plan.thrombus_possible]
    share = {
        posterior: np.mean([p.occlusion.site != "none" for p in possible if (p.injection.vessel == "VA") == posterior])
        for posterior in (True, False)
    }
    assert share[True] == pytest.approx(share[False], abs=0.07)


def test_the_sign_of_a_lateral_angle_does_not_tell_the_side():
    lateral = [p for p in _plans() if abs(abs(p.view.primary_deg) - 90) < 15 and p.injection.vessel != "FEMORAL"]
    agree = np.mean([(p.view.primary_deg > 0) == (p.injection.side == "left") for p in lateral])
    assert agree == pytest.approx(0.5, abs=0.07)


def test_twins_differ_in_nothing_but_the_clot(patient):
    rng = np.random.default_rng(4)
    kinds = {}
    for _ in range(60):
        first, second, kind = pair_of_plans(rng, patient, 64, None)
        kinds.setdefault(kind, []).append((plain(first), plain(second)))
    assert set(kinds) == {"twin", "biplane", "same_view"}
    for first, second in kinds["twin"]:
        sites = {first["occlusion"].pop("site"), second["occlusion"].pop("site")}
        assert first == second
        assert "none" in sites
        assert len(sites) == 2
    for first, second in kinds["biplane"]:
        assert first["times_s"] == second["times_s"]
        assert first["injection"] == second["injection"]
        assert first["occlusion"] == second["occlusion"]


def test_every_class_of_every_factor_is_well_represented():
    plans = _plans()
    for values in (
        [p.body_part != "head" for p in plans],
        [p.injection.vessel == "VA" for p in plans],
        [p.injection.vessel == "ECA" for p in plans],
        [p.delivery == "unsubtracted" for p in plans],
        [p.motion_grade == "mild" for p in plans],
        [p.motion_grade == "severe" for p in plans],
        [not p.contrast for p in plans],
        [bool(p.devices) for p in plans],
        [p.occlusion.site != "none" for p in plans],
        [20 < abs(p.view.primary_deg) < 70 for p in plans],
    ):
        assert 0.08 < np.mean(values) < 0.92
