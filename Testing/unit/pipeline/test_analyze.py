"""One use case: series in, report out; a run that fails does not stop the others."""

import numpy as np
import pytest

from ClaireDSALib.dsa.series import ArrayFrames, DsaSeries, Intensity, Pair, Skipped
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.progress import Cancelled
from ClaireDSALib.pipeline.report import CaseReport
from ClaireDSALib.pipeline.settings import Settings
from Testing.unit.dsa_physics.phantoms import counts, moved, textured

_PURE = Settings(label_bundle="none")


@pytest.fixture
def an_injected_run() -> DsaSeries:
    """Ten frames of a bright field; a dark vertical vessel fills between the third and the eighth frame."""
    times = np.arange(10) * 0.5
    bolus = np.exp(-0.5 * ((times - 2.5) / 0.6) ** 2)
    opacity = np.zeros((10, 96, 96))
    opacity[:, 10:86, 44:50] = 0.5 * bolus[:, None, None]
    noise = np.random.default_rng(1).normal(0, 4, opacity.shape)
    frames = np.clip(3000 * np.exp(-opacity) + noise, 0, 4095).astype(np.uint16)
    return DsaSeries.from_array(
        frames,
        times_s=times,
        run_id="injected",
        intensity=Intensity(bits_stored=12, relation="LIN"),
        subtraction_state="unsubtracted",
    )


class _BrokenFrames(ArrayFrames):
    def read(self, index):
        if index == 2:
            msg = "frame 3 of 4 is truncated"
            raise ValueError(msg)
        return super().read(index)


@pytest.fixture
def a_broken_run() -> DsaSeries:
    return DsaSeries(
        run_id="broken", frames=_BrokenFrames(np.full((4, 32, 32), 500, np.uint16)), times_s=np.arange(4.0)
    )


def test_the_peak_opacity_of_a_run_is_the_one_put_in(an_injected_run):
    result = analyze([an_injected_run], _PURE)
    (run,) = result.report.runs
    assert run.error == ""
    assert run.acquisition.mask_frames
    opacity = result.arrays["injected"]["opacity"]
    np.testing.assert_allclose(np.median(opacity[20:76, 45:49]), 0.5, atol=0.02)
    assert abs(np.median(opacity[:, :40])) < 0.02


def test_the_vessel_put_in_is_the_vessel_found(an_injected_run):
    result = analyze([an_injected_run], _PURE)
    found = result.arrays["injected"]["vessels"]
    truth = np.zeros_like(found)
    truth[10:86, 44:50] = True
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.8
    assert result.report.runs[0].vessels.mean_diameter_px == pytest.approx(6, abs=1.5)


def test_the_time_to_peak_is_the_one_put_in(an_injected_run):
    arrays = analyze([an_injected_run], _PURE).arrays["injected"]
    np.testing.assert_allclose(np.nanmedian(arrays["time_to_peak"][20:76, 45:49]), 2.5, atol=0.1)


def test_every_array_is_described_and_every_description_has_its_array(an_injected_run):
    result = analyze([an_injected_run], _PURE)
    assert set(result.report.runs[0].arrays) == set(result.arrays["injected"])


def test_a_broken_run_has_an_error_and_the_next_one_is_analysed(a_broken_run, an_injected_run):
    result = analyze([a_broken_run, an_injected_run], _PURE)
    assert "frame 3 of 4 is truncated" in result.report.run("broken").error
    assert result.report.run("injected").error == ""


def test_what_the_reader_found_beside_the_runs_is_in_the_report(an_injected_run):
    pair = Pair(an_injected_run, an_injected_run, "equal start times")
    report = analyze([an_injected_run], _PURE, pairs=[pair], skipped=[Skipped("a.txt", "not DICOM")]).report
    assert report.pairs[0].reason == "equal start times"
    assert report.skipped[0].reason == "not DICOM"


def test_the_report_of_an_analysis_survives_its_json(an_injected_run):
    report = analyze([an_injected_run], _PURE).report
    assert CaseReport.from_json(report.to_json()) == report


def test_the_same_input_gives_the_same_report_apart_from_timings(an_injected_run):
    def without_timings(report):
        data = report.to_dict()
        data["provenance"].pop("timings_s")
        for run in data["runs"]:
            run.pop("timings_s")
        return data

    first, second = (analyze([an_injected_run], _PURE) for _ in range(2))
    assert without_timings(first.report) == without_timings(second.report)
    for name, array in first.arrays["injected"].items():
        np.testing.assert_array_equal(array, second.arrays["injected"][name], err_msg=name)


def test_progress_rises_to_one_and_runs_are_told_as_they_finish(an_injected_run):
    fractions, finished = [], []
    analyze(
        [an_injected_run],
        _PURE,
        progress=lambda p: fractions.append(p.fraction),
        on_run=lambda run, arrays: finished.append((run.run_id, "minip" in arrays)),
    )
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert finished == [("injected", True)]


def test_a_cancelled_analysis_stops_at_the_next_step(an_injected_run):
    steps = []

    def cancel():
        return len(steps) >= 2

    with pytest.raises(Cancelled):
        analyze([an_injected_run], _PURE, progress=lambda p: steps.append(p.step), cancel=cancel)
    assert len(steps) <= 3


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_very_short_runs_give_a_result_with_its_limits_stated(n_frames):
    frames = np.random.default_rng(0).integers(800, 1000, (n_frames, 48, 48)).astype(np.uint16)
    run = DsaSeries.from_array(frames, run_id="short")
    report = analyze([run], _PURE).report.run("short")
    assert report.error == ""
    assert report.notes


def test_a_missing_label_bundle_is_noted_not_hidden(an_injected_run):
    report = analyze([an_injected_run], _PURE).report
    assert any("No labels" in note for note in report.runs[0].notes)


def test_a_blank_run_gets_a_sentence_not_a_segmentation():
    run = DsaSeries.from_array(np.full((3, 48, 48), 900, np.uint16), run_id="blank")
    result = analyze([run], _PURE)
    assert "nothing to segment" in result.report.run("blank").error
    assert "vessels" not in result.arrays["blank"]


def test_a_picture_the_label_model_refuses_is_a_note_and_the_other_steps_go_on(an_injected_run):
    from ClaireDSALib.models.errors import ImageRefusedError
    from ClaireDSALib.pipeline.model_set import ModelSet

    class Refusing:
        name = version = sha256 = "test"
        engine = device = "cpu"

        def classify(self, minip, **_):
            msg = "the picture is constant"
            raise ImageRefusedError(msg)

    models = ModelSet(load_classifier=lambda bundle, device: Refusing())
    settings = Settings(label_bundle="test", thrombus_bundle="none", vessel_bundle="none")
    run = analyze([an_injected_run], settings, models=models).report.runs[0]
    assert run.error == ""
    assert "No labels: the picture is constant." in run.notes
    assert run.vessels is not None


def test_an_exhausted_gpu_repeats_the_labels_on_the_cpu_and_says_so(an_injected_run):
    from ClaireDSALib.pipeline.model_set import ModelSet

    class Starved:
        name = version = sha256 = "test"
        engine = "torch"

        def __init__(self, device):
            self.device = device

        def classify(self, minip, **_):
            if self.device != "cpu":
                msg = "CUDA out of memory"
                raise RuntimeError(msg)
            from types import SimpleNamespace

            from ClaireDSALib.models.results import LabelProbabilities

            label = LabelProbabilities("contrast_fluid", ("absent", "present"), (0.1, 0.9))
            return SimpleNamespace(labels=(label,), cams={}, out_of_distribution=None)

    models = ModelSet(load_classifier=lambda bundle, device: Starved(device))
    rules = ({"label": "contrast_fluid", "allowed": ["present"]},)
    settings = Settings(
        label_bundle="test", thrombus_bundle="none", vessel_bundle="none", device="cuda", suitability_rules=rules
    )
    report = analyze([an_injected_run], settings, models=models).report
    assert report.runs[0].suitability.suitable
    assert "repeated on the CPU" in report.provenance.fallbacks[0]
    assert report.provenance.device == "cpu"


_WITH_LABELS = Settings(
    label_bundle="test",
    thrombus_bundle="none",
    vessel_bundle="none",
    quality_bundle="none",
    suitability_rules=({"label": "motion_artefact", "allowed": ["none", "mild"]},),
)


@pytest.fixture
def a_moved_run() -> DsaSeries:
    """Ten frames of bone texture that jump by (2.0, -3.0) px at the fourth, after the mask; a vessel fills too."""
    times = np.arange(10) * 0.5
    bolus = np.exp(-0.5 * ((times - 2.5) / 0.5) ** 2)
    bone = textured(160)
    vessel = np.zeros((160, 160))
    vessel[30:130, 70:78] = 0.5
    moving = [
        moved(bone + level * vessel, (2.0, -3.0) if number >= 3 else (0.0, 0.0)) for number, level in enumerate(bolus)
    ]
    return DsaSeries.from_array(
        np.stack([counts(one) for one in moving]),
        times_s=times,
        run_id="moved",
        intensity=Intensity(bits_stored=16, relation="LIN"),
        subtraction_state="unsubtracted",
    )


def _seeing(motion: str):
    """Models whose only label is this motion artefact."""
    from types import SimpleNamespace

    from ClaireDSALib.models.results import LabelProbabilities
    from ClaireDSALib.pipeline.model_set import ModelSet

    classes = ("none", "mild", "severe")

    class Seeing:
        name = version = sha256 = "test"
        engine = device = "cpu"

        def classify(self, minip, **_):
            label = LabelProbabilities("motion_artefact", classes, tuple(float(c == motion) for c in classes))
            return SimpleNamespace(labels=(label,), cams={}, out_of_distribution=None)

    return ModelSet(load_classifier=lambda bundle, device: Seeing())


def test_a_run_in_which_the_labels_see_motion_is_corrected_before_it_is_measured(a_moved_run):
    results = {m: analyze([a_moved_run], _WITH_LABELS, models=_seeing(m)) for m in ("none", "mild")}
    still, corrected = (results[motion].report.runs[0] for motion in ("none", "mild"))
    assert still.acquisition.motion_correction == "none"
    assert corrected.acquisition.motion_correction == "translation"
    assert any(note.startswith("Motion was corrected (translation)") for note in corrected.notes)
    away_from_the_vessel = np.s_[20:140, 90:140]
    before, after = (results[m].arrays["moved"]["opacity"][away_from_the_vessel] for m in ("none", "mild"))
    assert np.percentile(before, 99) > 0.05
    assert np.percentile(after, 99) < 0.2 * np.percentile(before, 99)
    vessel = results["mild"].arrays["moved"]["opacity"][40:120, 72:76]
    np.testing.assert_allclose(np.median(vessel), 0.5, atol=0.03)


@pytest.mark.parametrize("changes", [{"motion_correction": "off"}, {"fast": True}])
def test_correction_that_was_not_asked_for_is_not_made(a_moved_run, changes):
    settings = Settings.from_dict({**_WITH_LABELS.to_dict(), **changes})
    (run,) = analyze([a_moved_run], settings, models=_seeing("severe")).report.runs
    assert run.acquisition.motion_correction == "none"


@pytest.mark.parametrize(
    ("relation", "power", "reported"),
    [("DISP", 0.7, 0.7), ("DISP", 1.5, 1.5), ("DISP", None, None), ("LIN", 1.0, None)],
)
def test_the_report_says_as_which_power_display_pixels_were_subtracted(relation, power, reported):
    clean = np.exp(-np.linspace(0, 2.2, 160))[None, None, :] * np.ones((10, 160, 1))
    clean[5:, 70:80] *= np.exp(-0.4)
    photons = np.random.default_rng(3).poisson(4000 * clean) / 4000
    logarithmic = 0.95 + np.log(np.maximum(photons, 1e-3)) / 4
    shown = logarithmic if power is None else np.clip(0.9 * photons, 0, 1) ** power
    stored = np.round(4095 * np.clip(shown, 0, 1)).astype(np.uint16)
    run = DsaSeries.from_array(
        stored, times_s=np.arange(10) * 0.5, run_id="shown", intensity=Intensity(bits_stored=12, relation=relation)
    )
    acquisition = analyze([run], _PURE).report.runs[0].acquisition
    assert acquisition.mask_frames
    if reported is None:
        assert acquisition.display_power is None
    else:
        assert acquisition.display_power == pytest.approx(reported, rel=0.12)
