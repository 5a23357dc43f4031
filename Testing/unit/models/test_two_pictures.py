"""Labels read off the stored and the subtracted picture of one run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.bundle import Bundle, open_bundle
from ClaireDSALib.models.classifier import Classifier, load_classifier
from ClaireDSALib.models.errors import BundleError
from ClaireDSALib.models.preprocessing import prepare
from ClaireDSALib.models.two_pictures import (
    NINE_LABEL_CHOICE,
    BrightestReading,
    PictureChoice,
    read_off_brightest,
)
from Testing.unit.models.tiny_bundle import write_tiny_bundle
from Testing.unit.models.tiny_pictures import a_minip


@pytest.fixture(scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("two") / "tiny", pictures=NINE_LABEL_CHOICE)


@pytest.fixture(scope="module")
def a_classifier(a_bundle: Bundle) -> Classifier:
    return load_classifier(a_bundle.folder, confirmed=True)


def two_pictures() -> tuple[np.ndarray, np.ndarray]:
    stored = a_minip((96, 96))
    return stored, stored[::-1].copy()


def test_the_choice_survives_writing_and_opening(a_bundle: Bundle) -> None:
    assert open_bundle(a_bundle.folder).pictures == NINE_LABEL_CHOICE


def test_each_label_comes_from_the_picture_that_shows_it(a_classifier: Classifier) -> None:
    stored, subtracted = two_pictures()
    alone, other = a_classifier.classify(stored), a_classifier.classify(subtracted)
    both = a_classifier.classify(stored, subtracted=subtracted, subtraction_state="unsubtracted")
    for label in both.labels:
        source = other if label.name in NINE_LABEL_CHOICE.subtracted else alone
        assert label.probabilities == source.label(label.name).probabilities
        assert label.picture == ("subtracted_minip" if source is other else "minip")
        for cls, cam in both.cams[label.name].items():
            np.testing.assert_array_equal(cam, source.cams[label.name][cls])
    assert both.label("motion_artefact").probabilities != alone.label("motion_artefact").probabilities
    assert both.out_of_distribution == alone.out_of_distribution


def test_devices_are_read_finer_off_the_picture_without_contrast(a_classifier: Classifier) -> None:
    stored, light = two_pictures()
    how = NINE_LABEL_CHOICE.brightest["device"]
    found = a_classifier.classify(stored, brightest=light, subtraction_state="unsubtracted").label("device")
    spec = dataclasses.replace(a_classifier.bundle.input_spec, size_px=how.size_px)
    place = a_classifier.bundle.labels.slice_of("device")
    expected = a_classifier.run_prepared(prepare(light, spec)[None]).probabilities[0, place]
    assert found.picture == "brightest"
    assert found.probabilities == pytest.approx((expected / expected.sum()).tolist(), abs=1e-6)
    alone = a_classifier.classify(stored, brightest=light, subtraction_state="subtracted")
    assert not alone.label("device").answered


def test_a_saturated_brightest_picture_leaves_the_stored_one_to_answer(a_classifier: Classifier) -> None:
    stored, white = two_pictures()[0], np.full((96, 96), 4095, np.uint16)
    found = a_classifier.classify(stored, brightest=white, subtraction_state="unsubtracted").label("device")
    assert found.picture == "minip"
    assert found.probabilities == a_classifier.classify(stored).label("device").probabilities


def test_the_temperature_of_the_brightest_picture_makes_it_less_or_more_sure(a_classifier: Classifier) -> None:
    stored, light = two_pictures()
    outputs = a_classifier.classify(light)
    probabilities = {}
    for temperature in (0.5, 1.0, 4.0):
        choice = PictureChoice(brightest={"device": BrightestReading(96, temperature)})
        found = read_off_brightest(a_classifier.classify(stored), {96: outputs}, choice).label("device")
        probabilities[temperature] = max(found.probabilities)
        assert found.predicted == outputs.label("device").predicted
    assert probabilities[0.5] > probabilities[1.0] > probabilities[4.0] > 0.5
    assert probabilities[1.0] == pytest.approx(max(outputs.label("device").probabilities))


def test_a_reading_off_the_brightest_picture_is_checked() -> None:
    with pytest.raises(ValueError, match="positive temperature"):
        BrightestReading(96, 0.0)
    with pytest.raises(ValueError, match="at once"):
        PictureChoice(subtracted=("side",), brightest={"side": BrightestReading(96)})


def test_a_subtracted_run_is_read_off_its_one_picture(a_classifier: Classifier) -> None:
    stored, subtracted = two_pictures()
    once = a_classifier.classify(stored, subtracted=subtracted, subtraction_state="subtracted")
    alone = a_classifier.classify(stored)
    assert [x.name for x in once.labels if not x.answered] == ["device"]
    assert all(x.probabilities == alone.label(x.name).probabilities for x in once.labels if x.answered)
    assert all(x.answered for x in alone.labels)


def test_what_no_picture_shows_is_not_answered(a_classifier: Classifier) -> None:
    result = a_classifier.classify(two_pictures()[0], subtraction_state="unsubtracted")
    assert [x.name for x in result.labels if not x.answered] == ["motion_artefact"]
    assert result.label("motion_artefact").probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert "motion_artefact" not in result.cams


def test_a_label_without_answer_must_be_read_off_the_subtracted_picture() -> None:
    with pytest.raises(ValueError, match="must be read off the subtracted picture"):
        PictureChoice(subtracted=("side",), unanswerable=("motion_artefact",))
    with pytest.raises(ValueError, match="hidden by subtraction"):
        PictureChoice(subtracted=("side",), hidden=("side",))


def test_a_choice_about_labels_the_bundle_lacks_is_refused(tmp_path: Path) -> None:
    stray = dataclasses.replace(NINE_LABEL_CHOICE, subtracted=(*NINE_LABEL_CHOICE.subtracted, "weather"))
    with pytest.raises(BundleError, match="weather"):
        write_tiny_bundle(tmp_path / "tiny", pictures=stray)


def test_the_analysis_reads_both_pictures_and_no_rule_fails_for_want_of_an_answer(a_bundle: Bundle) -> None:
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.model_set import ModelSet
    from ClaireDSALib.pipeline.settings import Settings
    from ClaireDSALib.simulator.as_series import series_of
    from ClaireDSALib.simulator.case import Patient, take_run
    from ClaireDSALib.simulator.plan import draw_plan

    rng = np.random.default_rng(3)
    while True:
        plan = draw_plan(rng, size=64, body_part="head")
        if plan.delivery == "unsubtracted" and plan.mask_frames and len(plan.times_s) > 4 and not plan.single_frame:
            break
    run = take_run(Patient(5), dataclasses.replace(plan, contrast=True, roadmap=False), "run")
    one_frame = dataclasses.replace(run.plan, times_s=np.zeros(1), mask_frames=())
    maskless = dataclasses.replace(run, run_id="maskless", frames=run.frames[3:4], plan=one_frame)
    models = ModelSet(load_classifier=lambda bundle, device: load_classifier(bundle, device, confirmed=True))
    wanted = Settings(label_bundle=str(a_bundle.folder), thrombus_bundle="none", vessel_bundle="none")
    severe = Settings(
        label_bundle=str(a_bundle.folder), thrombus_bundle="none", vessel_bundle="none",
        suitability_rules=({"label": "motion_artefact", "allowed": ["none"], "threshold": 0.99},),
    )  # fmt: skip
    report = analyze([series_of(run)], wanted, models=models).report.runs[0]
    assert {x.name: x.picture for x in report.labels}["motion_artefact"] == "subtracted_minip"
    assert {x.name: x.picture for x in report.labels}["device"] == "brightest"
    report = analyze([series_of(maskless)], severe, models=models).report.runs[0]
    assert report.label("motion_artefact").predicted == "not_answered"
    assert report.suitability.suitable
    assert any("can show it: motion artefact" in note for note in report.notes)
