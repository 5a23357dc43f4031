"""A run of one frame, of two hundred, without times or of another rate ends in a result with a stated limit."""

import numpy as np
import pytest

from ClaireDSALib.dsa.series import DsaSeries, Geometry, Intensity, Pair
from ClaireDSALib.pipeline.analyze import analyze
from ClaireDSALib.pipeline.report import CaseReport
from ClaireDSALib.pipeline.settings import Settings

_NO_LABELS = Settings(label_bundle="none", vessel_bundle="none", quality_bundle="none")


def _passage(n_frames, step_s=0.5, run_id="run", times_s=None, side=80, **attributes):
    """A bright field with a vessel that fills and empties and tissue that follows, whatever the number of frames."""
    times = np.arange(n_frames) * step_s
    late = np.clip(times - 1.0, 0, None)
    vessel = (late / 0.8 * np.exp(1 - late / 0.8)) ** 2
    tissue = (np.clip(times - 3, 0, None) / 2 * np.exp(1 - np.clip(times - 3, 0, None) / 2)) ** 2
    opacity = np.zeros((n_frames, side, side))
    opacity[:, 20:75, 38:42] = 0.5 * vessel[:, None, None]
    opacity[:, 10:60, 46:70] = 0.06 * tissue[:, None, None]
    noise = np.random.default_rng(2).normal(0, 4, opacity.shape)
    return DsaSeries.from_array(
        np.clip(3000 * np.exp(-opacity) + noise, 1, 4095).astype(np.uint16),
        times_s=times if times_s is None else times_s,
        run_id=run_id,
        intensity=Intensity(bits_stored=12, relation="LIN"),
        subtraction_state="unsubtracted",
        **attributes,
    )


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_a_short_run_says_what_it_is_too_short_for(n_frames):
    result = analyze([_passage(n_frames, 1.5)], _NO_LABELS)
    (run,) = result.report.runs
    assert run.error == ""
    assert run.phases is None and run.thrombus is None and run.perfusion is None  # noqa: PT018 - one thought
    assert "minip" in result.arrays["run"]
    said = " ".join(run.notes)
    assert "Thrombus and phases were not assessed" in said
    assert "No perfusion maps" in said
    assert CaseReport.from_json(result.report.to_json()) == result.report


def test_two_hundred_frames_get_two_hundred_phases():
    result = analyze([_passage(200, 0.1, side=64)], _NO_LABELS)
    (run,) = result.report.runs
    assert run.error == ""
    assert len(run.phases.names) == 200
    order = ["non_contrast", "arterial", "parenchymal", "venous"]
    ranks = [order.index(name) for name in run.phases.names]
    assert ranks == sorted(ranks)
    assert run.perfusion is not None


def test_phases_choose_the_arterial_frames_and_part_arteries_from_veins():
    result = analyze([_passage(24)], _NO_LABELS)
    (run,) = result.report.runs
    arrays = result.arrays["run"]
    if "arterial" not in run.phases.names:
        pytest.skip("the shipped sequence network sees no arterial frame in this phantom")
    assert arrays["arterial_minip"].shape == (80, 80)
    assert (arrays["arterial_minip"] >= arrays["subtracted_minip"]).all()  # fewer frames, no darker
    assert run.vessels.artery_array == "arteries"
    assert not (arrays["arteries"] & arrays["veins"]).any()
    np.testing.assert_array_equal(arrays["arteries"] | arrays["veins"], arrays["vessels"])


def test_assumed_times_do_not_stop_the_analysis():
    series = _passage(16, times_s=np.arange(16.0), times_source="assumed", warnings=("Frame times are assumed.",))
    (run,) = analyze([series], _NO_LABELS).report.runs
    assert run.error == ""
    assert run.acquisition.times_source == "assumed"
    assert run.warnings == ("Frame times are assumed.",)
    assert run.perfusion is not None


@pytest.mark.parametrize("times", [[0.0, np.nan, 2.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0]])
def test_times_that_are_no_times_are_refused_with_the_rule(times):
    with pytest.raises(ValueError, match="finite and strictly increasing"):
        _passage(3, times_s=np.array(times))


def test_views_of_other_lengths_and_rates_are_judged_together():
    ap = _passage(12, 0.5, "ap", geometry=Geometry(view="ap", primary_angle_deg=0.0, secondary_angle_deg=0.0))
    lateral = _passage(30, 0.25, "lat", geometry=Geometry(view="lateral", primary_angle_deg=90.0))
    report = analyze([ap, lateral], _NO_LABELS, pairs=[Pair(ap, lateral, "test")]).report
    assert len(report.run("ap").phases.names) == 12
    assert len(report.run("lat").phases.names) == 30
    assert report.pairs[0].thrombus is not None


def test_a_pair_with_a_view_too_short_is_judged_from_the_other_and_says_so():
    ap, lateral = _passage(16, 0.5, "ap"), _passage(2, 1.5, "lat")
    report = analyze([ap, lateral], _NO_LABELS, pairs=[Pair(ap, lateral, "test")]).report
    if report.run("ap").thrombus is None:
        pytest.skip("the shipped sequence network does not assess this phantom")
    assert "alone" in report.pairs[0].thrombus.text


def test_a_run_without_contrast_has_no_perfusion_and_says_so():
    field = np.clip(3000 + np.random.default_rng(1).normal(0, 4, (8, 64, 64)), 1, 4095).astype(np.uint16)
    series = DsaSeries.from_array(
        field, times_s=np.arange(8.0), run_id="run", intensity=Intensity(bits_stored=12, relation="LIN"),
        subtraction_state="subtracted",
    )  # fmt: skip
    (run,) = analyze([series], _NO_LABELS).report.runs
    assert run.error == ""
    assert run.perfusion is None
    assert any("No perfusion maps" in note for note in run.notes)
