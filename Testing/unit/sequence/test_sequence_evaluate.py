"""Figures of known outputs, and a card that says what they fall short of."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the figures stand beside the networks'")

from ClaireDSALib.models.networks.sequence_net import SequenceNet
from ClaireDSALib.training import sequence_train
from ClaireDSALib.training.sequence_evaluate import evaluate, fuse_pairs
from ClaireDSALib.training.sequence_examples import SequenceExample, pack
from ClaireDSALib.training.sequence_fit import SequenceOutputs
from ClaireDSALib.training.sequence_publish import sequence_card
from ClaireDSALib.training.sequence_train import fit_mix


def _runs(injection: int, *, site_name: str, missing_mm2: float = 2000.0) -> list[SequenceExample]:
    """Two views with a clot and their two open twins."""
    rows = []
    for name in ("clot", "open"):
        stack = np.zeros((2, 40, 40), np.float32)
        stack[1, 5:25, 5 : 15 if name == "clot" else 25] = 0.8
        for view in ("ap", "lateral"):
            rows.append(
                SequenceExample(
                    stack=pack(stack),
                    times_s=np.arange(2.0),
                    phases=np.array([0, 1], np.int8),
                    thrombus=name == "clot",
                    site=(20.0, 20.0) if name == "clot" else (np.nan, np.nan),
                    territory=np.zeros((10, 10), np.uint8),
                    patient="1",
                    view=view,
                    site_name=site_name if name == "clot" else "none",
                    pair=f"1-{injection}-{name}",
                    pixel_mm=2.0,
                    missing_mm2=missing_mm2 if name == "clot" else 0.0,
                )
            )
    return rows


@pytest.fixture
def examples():
    """An M1 and an M3 clot that are assessable, an M2 clot that is too small."""
    return [*_runs(0, site_name="M1"), *_runs(1, site_name="M3"), *_runs(2, site_name="M2", missing_mm2=100.0)]


def _outputs(logits, sites=None):
    number = len(logits)
    right = np.log(np.array([[0.9, 0.1, 0.0, 0.0], [0.1, 0.9, 0.0, 0.0]], np.float32) + 1e-6)
    return SequenceOutputs(
        parts=np.concatenate([np.array(logits, float)[:, None], np.zeros((number, 5))], 1),
        sites=np.full((number, 2), 20.0) if sites is None else sites,
        phases=[right] * number,
    )


def test_pairs_are_means_and_small_clots_are_left_out_of_one_set_only(examples):
    #            M1 clot   open        M3 clot    open        M2 clot     open
    logits = [3.0, 1.0, -2.0, -2.0, 2.0, -1.0, -1.0, -3.0, -2.0, -2.0, -1.0, -1.0]
    found = evaluate(examples, _outputs(logits), temperature=1.0, threshold=0.5)
    assert (found.assessable.n_pairs, found.assessable.n_open) == (5, 3)
    assert (found.all.n_pairs, found.all.n_open) == (6, 3)
    assert found.assessable.auc_pair[0] == 1.0
    assert found.assessable.mcc_pair == 1.0
    assert found.assessable.confusion_pair == (3, 0, 0, 2)
    assert found.all.confusion_pair == (3, 0, 1, 2)
    assert found.sensitivity_by_site["M1"] == (1.0, 1, 1.0, 1)
    assert found.sensitivity_by_site["M2"][2:] == (0.0, 1)
    assert found.auc_by_site["M1"] == found.auc_by_site["M3"] == 1.0
    assert np.isnan(found.auc_by_site["M2"])  # not one of its pairs can be asked
    assert found.sensitivity_by_area["0 to 300"] == (0.0, 1)
    assert found.phase_accuracy == 1.0


def test_posterior_cerebral_clots_count_in_one_set_and_not_in_the_other(examples):
    examples = [replace(e, site_name="P1") if e.site_name == "M3" else e for e in examples]
    #            M1 clot   open        P1 clot       open        M2 clot     open
    logits = [3.0, 1.0, -2.0, -2.0, -5.0, -5.0, -1.0, -3.0, -2.0, -2.0, -1.0, -1.0]
    found = evaluate(examples, _outputs(logits), temperature=1.0, threshold=0.5)
    assert found.assessable.auc_pair[0] == 0.5
    assert (found.without_pca.n_pairs, found.without_pca.n_open) == (4, 3)
    assert found.without_pca.auc_pair[0] == 1.0
    assert found.auc_by_site["P1"] == 0.0


def test_only_detected_proximal_views_count_for_the_site(examples):
    sites = np.full((12, 2), 20.0)
    sites[1] = (20.0, 26.0)  # 12 mm away, detected M1
    sites[4] = (0.0, 0.0)  # M3 does not count
    logits = [3.0, 1.0, -2.0, -2.0, 2.0, 2.0, -1.0, -3.0, -2.0, -2.0, -1.0, -1.0]
    found = evaluate(examples, _outputs(logits, sites), temperature=1.0, threshold=0.5)
    assert found.site_hits == (0.5, 2)


def test_the_mix_leans_on_the_branch_that_knows(examples):
    truth = np.array([e.thrombus for e in examples])
    rng = np.random.default_rng(0)
    outputs = SequenceOutputs(
        parts=np.stack(
            [
                np.where(truth, 2.0, -1.0) + rng.normal(0, 0.5, 12),
                rng.normal(0, 1, 12),
                *np.zeros((3, 12)),
                np.ones(12),
            ],
            1,
        ),
        sites=np.zeros((12, 2)),
        phases=[],
    )
    mix = fit_mix(truth, outputs, np.ones(12, bool))
    assert mix[0] > 3 * mix[1] >= 0
    assert np.isfinite(mix).all()
    pairs = fuse_pairs(examples, outputs.mixed(mix))
    assert pairs.logits[pairs.truth].min() > pairs.logits[~pairs.truth].max()


def test_the_card_names_the_goals_that_are_not_reached(examples):
    logits = [3.0, 1.0, -2.0, -2.0, -2.0, -1.0, -1.0, 3.0, -2.0, -2.0, -1.0, -1.0]
    found = evaluate(examples, _outputs(logits), temperature=1.0, threshold=0.5)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["auc_by_site"]["M2"] is None
    section = {"size_px": 96, "threshold": 0.5, "network": {"arguments": {"members": 2}}}
    metadata = {"name": "N", "version": "1", "description": "D.", "sequence": section}
    given = {"command": "measure", "training_command": "train", "notes": ""}
    card = sequence_card(metadata, found, **given)
    assert "Goals not reached on all assessable pairs: AUC, pair" in card
    assert "which the goals do not name: AUC, pair" in card
    assert "the mean of 2 networks" in card
    good = dataclasses.replace(found.assessable, auc_pair=(0.98, 0.97, 0.99), mcc_pair=0.81)
    sites = dataclasses.replace(found, site_hits=(0.9, 20), phase_accuracy=0.95, without_pca=good)
    assert "which the goals do not name, all are reached." in sequence_card(metadata, sites, **given)
    every = dataclasses.replace(sites, assessable=good)
    assert "All goals for simulated runs are reached." in sequence_card(metadata, every, **given)
    alone = sequence_card(metadata | {"sequence": section | {"network": {"arguments": {}}}}, found, **given)
    assert "networks that were trained apart" not in alone
    assert "phase 1.0" not in card
    assert "simulated" in card
    assert "| M3 | 1 | 0.00 | 0.333 | 1 | 0.00 |" in card


def test_parts_that_are_left_out_weigh_nothing():
    rng = np.random.default_rng(1)
    truth = np.arange(200) % 2 == 0
    parts = np.concatenate([truth[:, None] + rng.normal(0, 0.5, (200, 5)), np.ones((200, 1))], 1)
    outputs = SequenceOutputs(parts=parts, sites=np.zeros((200, 2)), phases=[])
    alone = fit_mix(truth, outputs, np.ones(200, bool), 1)
    assert alone[0] > 0
    assert alone[1:5] == (0.0, 0.0, 0.0, 0.0)
    assert np.mean((outputs.mixed(alone) > 0) == truth) > 0.75  # calibrated: the cut at one half is a sensible one
    assert all(weight > 0 for weight in fit_mix(truth, outputs, np.ones(200, bool))[:5])


@pytest.mark.parametrize("second_knows", [False, True])
def test_other_parts_are_mixed_in_only_where_they_tell_validation_pairs_apart_better(
    examples, monkeypatch, tmp_path, second_knows
):
    truth = np.array([e.thrombus for e in examples])
    rng = np.random.default_rng(2)
    clear, vague = np.where(truth, 2.0, -2.0), rng.normal(0, 1, len(truth))
    parts = np.concatenate([np.stack([vague, clear] if second_knows else [clear, vague], 1), np.ones((12, 4))], 1)
    outputs = SequenceOutputs(parts=parts, sites=np.zeros((12, 2)), phases=_outputs(parts[:, 0]).phases)
    monkeypatch.setattr(sequence_train, "predict", lambda *_args, **_options: outputs)
    monkeypatch.setattr(sequence_train, "write_sequence_bundle", lambda *_args, **_options: None)
    network = SequenceNet()
    found = sequence_train.finish(network, examples, tmp_path, settings={})
    assert found.assessable.auc_pair[0] == 1.0
    assert (float(network.mix[1]) > 0) is second_knows
