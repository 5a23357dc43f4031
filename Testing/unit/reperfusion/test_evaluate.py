"""The evaluation of perfusion gives full marks to truth and counts what it refuses."""

import numpy as np
import pytest

from ClaireDSALib.training.perfusion_evaluate import evaluate
from ClaireDSALib.training.reperfusion_data import BeforeAfter, ReperfusionPlan, SimulatedRun, generate, load_pairs

TIMES = np.arange(16) * 0.75


def _run(head, skull, perfused, **flow):
    noise = np.random.default_rng(3).normal(0, 3e-4, (len(TIMES), 96, 96))  # a field without any reads as shuttered
    frames = (head(**flow) + noise).astype(np.float32)
    tissue = frames.max(0) > 0.02
    delay = np.where(np.arange(96)[None] < 46, 1.0, flow.get("right_delay_s", 2.5) - 1.5) * np.ones((96, 1))
    delay = np.where(tissue, delay + 0.01 * np.arange(96)[:, None], np.nan).astype(np.float32)
    names = ("non_contrast",) * 2 + ("arterial",) * 4 + ("parenchymal",) * 5 + ("venous",) * 5
    bone = skull.astype(np.float32)
    return SimulatedRun(frames, TIMES, bone, delay, bone * 0, tissue, names, perfused, 2.0, "ap", "M1")


def _treatment(head, skull, number, share):
    before = _run(head, skull, 0.5, right=0.0)
    after = _run(head, skull, 0.5 + 0.5 * share, right=share)
    return BeforeAfter(f"patient {number}", before, after)


@pytest.fixture
def treatments(head, skull):
    return [_treatment(head, skull, number, share) for number, share in enumerate((0.0, 0.3, 0.6, 1.0))]


def test_more_reperfusion_is_estimated_as_more(treatments):
    found = evaluate(treatments)
    assert found.treatments == 4
    assert found.fraction.value == pytest.approx(1.0)
    assert found.flow_ratio.value == pytest.approx(1.0)
    assert found.fraction_by_loss["12%"] == (pytest.approx(1.0), 4)
    assert found.failures == ()
    assert 0 <= found.grade_within_one <= 1


def test_a_network_that_knows_the_territory_is_listened_to(treatments):
    def territory(run):
        return np.full((4, 4), 1 - run.perfused_fraction)

    found = evaluate(treatments, territory)
    assert found.fraction.value == pytest.approx(1.0)
    assert found.covered >= 0.75


def test_too_few_treatments_are_refused(treatments):
    with pytest.raises(ValueError, match="at least three treatments"):
        evaluate(treatments[:2])


def test_a_simulated_patient_brings_its_truth_along(tmp_path):
    generate(ReperfusionPlan(tmp_path, 1, first_seed=5_000_001, size_px=64, grid_px=32))
    pairs = list(load_pairs(tmp_path))
    assert [pair.before.view for pair in pairs] == ["ap", "lateral"]
    for pair in pairs:
        assert 0 <= pair.before.perfused_fraction < 1
        assert -0.01 <= pair.reperfused_fraction <= 1.01
        for run in (pair.before, pair.after):
            assert run.opacity.shape == (len(run.times_s), 32, 32)
            assert len(run.phases) == len(run.times_s)
            assert np.nanmin(run.delay_s) > -0.5
