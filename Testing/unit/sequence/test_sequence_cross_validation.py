"""Folds are split by patient, networks are trained per view, and an interrupted cross-validation goes on."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from ClaireDSALib.models.sequence_mittmann import MittmannEnsemble  # noqa: E402
from ClaireDSALib.models.sequence_mittmann_import import import_mittmann  # noqa: E402
from ClaireDSALib.training.sequence_cross_validation import (  # noqa: E402
    cross_validate,
    mittmann_recipe,
    paired,
    spread_over_folds,
)
from ClaireDSALib.training.sequence_examples import SequenceExample, pack  # noqa: E402
from ClaireDSALib.training.sequence_mittmann_fit import MittmannFitSettings, fit_mittmann  # noqa: E402
from ClaireDSALib.training.sequence_outputs import FoldOutputs, write_outputs  # noqa: E402


def _pair(patient: int, *, thrombus: bool) -> list[SequenceExample]:
    """Two views of a square that fills; the right half does not where there is a thrombus."""
    rng = np.random.default_rng([patient, thrombus])
    stack = rng.normal(0, 0.02, (4, 32, 32))
    stack[1:, 8:24, 8 : 16 if thrombus else 24] += 0.8
    one = SequenceExample(
        stack=pack(stack),
        times_s=np.arange(4.0),
        phases=np.array([0, 1, 1, 2], np.int8),
        thrombus=thrombus,
        site=(16.0, 16.0) if thrombus else (np.nan, np.nan),
        territory=np.zeros((8, 8), np.uint8),
        patient=str(patient),
        view="ap",
        site_name="M1" if thrombus else "none",
        pair=f"{patient}-0-{'clot' if thrombus else 'open'}",
    )
    return [one, dataclasses.replace(one, view="lateral")]


def _patients(numbers):
    return [e for n in numbers for thrombus in (True, False) for e in _pair(n, thrombus=thrombus)]


def test_no_patient_is_on_both_sides_and_finished_folds_are_kept(tmp_path):
    seen = []

    def recipe(train, validation, checkpoint):
        assert not {e.patient for e in train} & {e.patient for e in validation}
        assert len({e.view for e in train}) == 1
        seen.append(checkpoint.name)
        return lambda one: 0.9 if one.thrombus else 0.2

    scores = cross_validate(_patients(range(6)), _patients((10, 11)), recipe, tmp_path, folds=3)
    assert len(seen) == 6
    assert {s.name: s.mcc for s in scores} == {"PA": 1.0, "LAT": 1.0, "PA + LAT": 1.0}
    (tmp_path / "output_fold_2.json").unlink()
    cross_validate(_patients(range(6)), _patients((10, 11)), recipe, tmp_path, folds=3)
    assert seen[6:] == ["frontal_best_mcc_fold_2.pt", "lateral_best_mcc_fold_2.pt"]


def test_a_missing_view_has_no_output():
    runs = [*_pair(1, thrombus=True), _pair(2, thrombus=False)[1]]
    outputs = paired(runs, {"frontal": lambda _: 0.3, "lateral": lambda _: 0.6})
    np.testing.assert_array_equal(outputs.frontal, [0.3, np.nan])
    np.testing.assert_array_equal(outputs.lateral, [0.6, 0.6])


def _small(**changes) -> MittmannFitSettings:
    return MittmannFitSettings(hidden=4, layers=1, epochs=2, size_px=32, learning_rate=1e-3, **changes)


def test_the_recurrent_part_alone_is_trained_on_cached_features(tmp_path):
    runs = [e for e in _patients(range(2)) if e.view == "ap"]
    torch.manual_seed(0)
    network = fit_mittmann(runs, runs, _small(freeze=True), tmp_path / "frontal.pt")
    torch.manual_seed(0)
    fresh = type(network)("resnet18", hidden=4, layers=1)
    before, after = fresh.state_dict(), network.state_dict()
    torch.testing.assert_close(after["cnn.layer1.0.conv1.weight"], before["cnn.layer1.0.conv1.weight"])
    assert not torch.equal(after["fc.weight"], before["fc.weight"])


def test_our_checkpoints_have_the_published_layout(tmp_path):
    recipe = mittmann_recipe(_small(accumulate=2))
    runs = [e for e in _patients(range(2)) if e.view == "lateral"]
    output = recipe(runs, runs, tmp_path / "lateral_best_mcc_fold_1.pt")
    assert 0 < output(runs[0]) < 1
    ensemble = MittmannEnsemble(import_mittmann([tmp_path / "lateral_best_mcc_fold_1.pt"], tmp_path))
    assert ensemble.members[0]["backbone"] == "resnet18"


def test_a_perfect_and_an_inverted_fold_have_a_mean_of_one_half_and_their_spread(tmp_path):
    truth = np.array([True, False, True, False])
    for fold, outputs in ((1, np.where(truth, 0.9, 0.1)), (2, np.where(truth, 0.1, 0.9))):
        for name in (f"output_fold_{fold}.json", f"output_fold_{fold}_test.json"):
            write_outputs(tmp_path / name, FoldOutputs(truth, outputs, outputs))
    text = spread_over_folds(tmp_path, 2)
    assert "PA + LAT: MCC" in text
    assert text.count("AUC 0.50 (SD 0.71)") == 3
