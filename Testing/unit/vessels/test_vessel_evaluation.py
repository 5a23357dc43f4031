"""Scores, intervals and choices, on masks whose answer is known."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the vessel network needs torch")
pytest.importorskip("monai", reason="the vessel network is MONAI's U-Net")

from ClaireDSALib.models.vessel_segmenter import VesselProbabilities  # noqa: E402
from ClaireDSALib.training.vessel_choices import calibration_error, choose  # noqa: E402
from ClaireDSALib.training.vessel_compare import paired_difference  # noqa: E402
from ClaireDSALib.training.vessel_evaluate import (  # noqa: E402
    opacity_of_minip,
    score_real,
    score_runs,
    summarise,
)
from ClaireDSALib.training.vessel_examples import VesselExample  # noqa: E402
from ClaireDSALib.training.vessel_scores import centerline_dice, dice, mean_over_patients  # noqa: E402


def _example(patient="a", *, contrast=True, motion="none", region="intracranial", projection="ap"):
    truth = np.zeros((3, 64, 64), bool)
    if contrast:
        truth[:2, 20:26] = True
        truth[0, :, 40:46] = truth[2, :, 40:46] = True
    facts = {
        "motion": motion,
        "vendor": "north",
        "labels": {
            "contrast_fluid": "present" if contrast else "absent",
            "region": region,
            "projection": projection,
        },
    }
    return VesselExample(truth[0].astype(np.float16), truth, patient, None, facts, np.ones((64, 64), bool))


def _perfect(one):
    return VesselProbabilities(one.truth.astype(np.float32), (0.5, 0.5, 0.5))


def test_dice_and_centre_line_dice_know_the_answer():
    truth = np.zeros((60, 60), bool)
    truth[20:30] = True
    half = truth & (np.arange(60) < 30)
    assert dice(truth, truth) == 1
    assert dice(half, truth) == pytest.approx(2 / 3)
    assert centerline_dice(truth, truth) == 1
    assert centerline_dice(half, truth) == pytest.approx(2 / 3, abs=0.05)
    thick = np.zeros_like(truth)
    thick[17:33] = True
    assert centerline_dice(thick, truth) > 0.95 > dice(thick, truth)
    assert centerline_dice(np.zeros_like(truth), truth) == 0
    assert np.isnan(dice(truth, np.zeros_like(truth)))
    assert np.isnan(centerline_dice(truth, np.zeros_like(truth)))


def test_the_interval_draws_patients_not_runs():
    values, patients = [0.0] * 20 + [1.0] * 20, ["a"] * 20 + ["b"] * 20
    estimate = mean_over_patients(values, patients)
    assert estimate.value == 0.5
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert np.isnan(mean_over_patients([np.nan], ["a"]).value)


def test_perfect_masks_score_one_and_unsuitable_runs_stand_apart():
    unfit = [_example("b", motion="severe"), _example("c", contrast=False)]
    unfit += [_example("d", region="extracranial"), _example("e", projection="oblique")]
    runs = [_example("a"), *unfit]
    figures = summarise(score_runs(runs, _perfect))
    assert figures.counts["suitable"] == 1
    assert figures.groups["suitable"]["dice"].value == 1
    assert figures.groups["suitable"]["av_dice"].value == 1
    assert figures.groups["motion severe"]["cldice"].value == 1
    assert figures.false_fraction == 0


def test_the_difference_of_two_ways_is_paired_over_patients():
    runs = [_example(str(k)) for k in range(8)]

    def without_veins(one):
        maps = one.truth.astype(np.float32)
        maps[2] = 0
        return VesselProbabilities(maps, (0.5, 0.5, 0.5))

    worse, better = (summarise(score_runs(runs, way)) for way in (without_veins, _perfect))
    gain, low, high, p = paired_difference(worse, better)
    assert gain == low == high == pytest.approx(0.5)
    assert p < 0.01


def test_choices_find_the_threshold_that_agrees_and_mend_the_calibration():
    rng = np.random.default_rng(0)
    examples = [_example(str(k)) for k in range(3)]
    logits = [8.0 * one.truth - 3.0 + rng.normal(0, 1.5, one.truth.shape) for one in examples]
    made = choose(logits, examples)
    assert made.dice > 0.97
    assert made.cldice > 0.97
    slope, shift = made.calibration[0]
    calibrated = 1 / (1 + np.exp(-(slope * logits[0][0] + shift)))
    raw = 1 / (1 + np.exp(-logits[0][0]))
    assert calibration_error(calibrated, examples[0].truth[0]) < calibration_error(raw, examples[0].truth[0])


def test_a_real_picture_becomes_opacity_and_is_scored_against_its_label(tmp_path):
    minip = np.full((64, 64), 220, np.uint8)
    minip[30:34] = 20
    Image.fromarray(minip).save(tmp_path / "x_minip.png")
    Image.fromarray((minip < 100).astype(np.uint8) * 128).save(tmp_path / "x_label.png")
    opacity = opacity_of_minip(minip)
    assert opacity[32, 5] == pytest.approx(1.0)
    assert opacity[0, 0] == 0

    class Threshold:
        def segment(self, picture):
            return VesselProbabilities(np.stack([picture] * 3), (0.5, 0.5, 0.5))

    assert score_real(tmp_path, Threshold()) == {"x": 1.0}
    with pytest.raises(FileNotFoundError, match=r"_minip\.png"):
        score_real(tmp_path / "none", Threshold())
