"""Raw outputs are scored as the paper scores them: equal weights over folds and views."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="the measures stand beside the networks'")

from ClaireDSALib.training.sequence_evaluate import sensitivity_at
from ClaireDSALib.training.sequence_outputs import (
    FoldOutputs,
    read_outputs,
    roc_points,
    score_ensemble,
    threshold_for_mcc,
    write_outputs,
)
from ClaireDSALib.training.sequence_paper import PAPER, WARNING, table

_TRUTH = np.array([True, True, True, False, False])


def _fold(frontal, lateral):
    return FoldOutputs(_TRUTH, np.array(frontal, float), np.array(lateral, float))


def test_the_ensemble_is_the_mean_of_folds_and_views():
    folds = [_fold([0.9, 0.2, 0.8, 0.1, 0.3], [0.9] * 3 + [0.2] * 2), _fold([0.5, 0.4, 0.8, 0.3, 0.8], [0.7] * 5)]
    found = {s.name: s for s in score_ensemble(folds, (0.5,))}
    assert list(found) == ["PA", "LAT", "PA + LAT"]
    # PA means .7 .3 .8 .2 .55: five of six comparisons right; one open pair called, one occluded missed.
    assert found["PA"].auc[0] == pytest.approx(5 / 6)
    assert found["PA"].confusion == (1, 1, 1, 2)
    assert found["PA"].mcc == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    # LAT means .8 .8 .8 .45 .45, pairs .75 .55 .8 .325 .5: told apart without error above a half.
    assert found["PA + LAT"].auc[0] == 1.0


def test_written_outputs_read_back_and_an_absent_view_is_left_out(tmp_path):
    fold = _fold([0.9, 0.2, 0.8, 0.1, 0.3], [np.nan, 0.9, 0.8, 0.2, np.nan])
    write_outputs(tmp_path / "output_fold_1.json", fold)
    read = read_outputs(tmp_path / "output_fold_1.json")
    np.testing.assert_array_equal(read.truth, fold.truth)
    np.testing.assert_allclose(read.lateral, fold.lateral)
    assert {s.name: s.n for s in score_ensemble([read])} == {"PA": 5, "LAT": 3, "PA + LAT": 5}


def test_the_layout_of_the_published_files_is_read(tmp_path):
    row = {"Frontal_Expected": 1.0, "Lateral_Expected": 1.0, "Frontal_Output": 0.8, "Lateral_Output": 0.7}
    path = tmp_path / "output_fold_1_test.json"
    path.write_text(json.dumps([row, {**row, "Frontal_Expected": 0.0, "Lateral_Expected": 0.0}]))
    assert read_outputs(path).truth.tolist() == [True, False]
    path.write_text(json.dumps([{**row, "Lateral_Expected": 0.0}]))
    with pytest.raises(ValueError, match="disagree"):
        read_outputs(path)
    path.write_text(json.dumps([{"a": 1}]))
    with pytest.raises(ValueError, match="Frontal_Expected"):
        read_outputs(path)


def test_folds_of_different_pairs_are_refused():
    other = FoldOutputs(~_TRUTH, np.zeros(5), np.zeros(5))
    with pytest.raises(ValueError, match="same pairs"):
        score_ensemble([_fold([0.0] * 5, [0.0] * 5), other])


def test_the_threshold_for_mcc_lies_between_the_classes():
    assert 0.3 < threshold_for_mcc([_fold([0.9, 0.8, 0.9, 0.2, 0.3], [0.9, 0.7, 0.9, 0.2, 0.3])]) < 0.75


def test_the_characteristic_rises_from_nothing_to_everything():
    points = roc_points(_TRUTH, np.array([0.9, 0.4, 0.8, 0.5, 0.1]))
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    area = np.trapezoid([y for _, y in points], [x for x, _ in points])
    assert area == pytest.approx(5 / 6)


def test_sensitivity_is_taken_at_the_specificity_asked_for():
    scores = np.array([0.9, 0.4, 0.8, 0.5, 0.1])
    assert sensitivity_at(_TRUTH, scores, 0.9) == pytest.approx(2 / 3)
    assert sensitivity_at(_TRUTH, scores, 0.5) == 1.0


def test_the_table_has_the_papers_figures_beside_ours_and_the_warning():
    ours = {"ResNet18 + GRU": score_ensemble([_fold([0.9, 0.2, 0.8, 0.1, 0.3], [0.9, 0.9, 0.8, 0.2, 0.1])])}
    text = table(ours)
    assert "| ResNet18 + GRU | 0.67 (0.58) | 0.83 (0.90) | 1.00 (0.54) | 1.00 (0.88) |" in text
    assert WARNING in text
    assert all(name in text for name in PAPER)


def test_the_command_scores_files(tmp_path):
    from typer.testing import CliRunner

    from ClaireDSALib.cli.evaluate import app

    arguments = ["thrombus"]
    for number in (1, 2):
        path = tmp_path / f"output_fold_{number}_test.json"
        write_outputs(path, _fold([0.9, 0.2, 0.8, 0.1, 0.3], [0.9, 0.9, 0.8, 0.2, 0.1]))
        arguments += ["--outputs", str(path)]
    result = CliRunner().invoke(app, [*arguments, "--threshold", "0.5"])
    assert result.exit_code == 0, result.output
    assert "mean of 2 folds, 5 pairs" in result.output
    assert "LAT       AUC 1.000" in result.output
