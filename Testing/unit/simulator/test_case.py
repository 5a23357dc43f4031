"""Labels, truth, determinism, and that nothing but the picture tells a label."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.case import simulate_case, take_run
from ClaireDSALib.simulator.dataset import DatasetPlan, generate, split_of
from ClaireDSALib.simulator.labels import LABEL_CLASSES
from ClaireDSALib.simulator.occlusion import Occlusion
from ClaireDSALib.simulator.truth import facts, pictures


def test_labels_follow_from_the_parameters(patient, small_plan):
    run = take_run(patient, small_plan, "base")
    assert run.labels == {
        "contrast_fluid": "present",
        "projection": "ap",
        "skull_visibility": "entire",
        "motion_artefact": "none",
        "subtraction": "unsubtracted",
        "region": "intracranial",
        "circulation": "anterior",
        "side": "left",
        "device": "absent",
    }


@pytest.mark.parametrize(
    ("change", "label", "expected"),
    [
        ({"contrast": False}, "contrast_fluid", "absent"),
        ({"contrast": False}, "circulation", None),
        ({"contrast": False}, "side", "undetermined"),
        ({"delivery": "subtracted"}, "subtraction", "subtracted"),
        ({"motion_grade": "severe", "motion_kind": "jerk"}, "motion_artefact", "severe"),
        ({"motion_grade": "mild", "motion_kind": "drift"}, "motion_artefact", "mild"),
        ({"devices": ("coils",)}, "device", "present"),
    ],
)
def test_one_change_of_the_plan_changes_its_label(patient, small_plan, change, label, expected):
    assert take_run(patient, replace(small_plan, **change), "changed").labels[label] == expected


def test_views_and_vessels_decide_projection_circulation_and_side(patient, small_plan):
    lateral = take_run(patient, replace(small_plan, view=replace(small_plan.view, primary_deg=-90.0)), "lateral")
    assert (lateral.labels["projection"], lateral.labels["side"]) == ("lateral", "undetermined")
    posterior = take_run(patient, replace(small_plan, injection=replace(small_plan.injection, vessel="VA")), "va")
    assert (posterior.labels["circulation"], posterior.labels["side"]) == ("posterior", "undetermined")
    zoomed = take_run(patient, replace(small_plan, view=replace(small_plan.view, detector_pitch_mm=1.4)), "zoom")
    assert zoomed.labels["skull_visibility"] == "partial"


def test_an_occlusion_lowers_the_perfused_fraction_and_hides_vessels(patient, small_plan):
    opened = take_run(patient, small_plan, "open")
    blocked = take_run(patient, replace(small_plan, occlusion=Occlusion("M1", "left", collateral_grade=0)), "clot")
    assert opened.iodine.perfused_fraction == pytest.approx(1.0)
    assert blocked.iodine.perfused_fraction < 0.8
    assert blocked.visible.sum() < 0.9 * opened.visible.sum()
    assert opened.iodine.site_px is None
    row, column = blocked.iodine.site_px
    assert 0 <= row < 128
    assert 64 < column < 128, "left of the patient lies on the right of a frontal picture"


def test_the_same_seed_gives_the_same_case_to_the_last_bit():
    first, second = (simulate_case(8, runs=2, size=64) for _ in range(2))
    for a, b in zip(first.runs, second.runs, strict=True):
        assert np.array_equal(a.frames, b.frames)
        assert a.labels == b.labels
        assert json.dumps(facts(first, a)) == json.dumps(facts(second, b))


def test_truth_is_json_and_pictures_fit_together(small_case):
    for run in small_case.runs:
        table = json.loads(json.dumps(facts(small_case, run)))
        assert table["simulated"] is True
        assert set(table["labels"]) == set(LABEL_CLASSES)
        for name, value in table["labels"].items():
            assert value is None or value in LABEL_CLASSES[name]
        arrays = pictures(run)
        assert len(arrays["times_s"]) == len(arrays["phases"]) == len(arrays["stack"]) == len(run.frames)
        assert arrays["minip"].shape == arrays["arteries"].shape == run.frames.shape[1:]
        assert np.array_equal(arrays["minip"], series_of(run).to_array().min(0))
        assert ("subtracted_minip" in arrays) == (run.plan.delivery == "subtracted" or run.subtractable)


def test_phases_come_in_order(small_case):
    order = [int(code) for code in pictures(small_case.runs[0])["phases"]]
    assert order == sorted(order)
    assert order[0] == 0
    assert max(order) >= 2


def test_a_set_goes_on_where_it_stopped_and_never_splits_an_anatomy(tmp_path):
    small = DatasetPlan(tmp_path, cases=1, runs_per_case=2, size=64)
    generate(small)
    first = (tmp_path / "index.jsonl").read_text()
    stamp = (tmp_path / "runs" / "0000000_run00.npz").stat().st_mtime_ns
    calls = []
    generate(replace(small, cases=2), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert (tmp_path / "index.jsonl").read_text().startswith(first)
    assert (tmp_path / "runs" / "0000000_run00.npz").stat().st_mtime_ns == stamp
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    by_anatomy = {line["anatomy_id"]: set() for line in lines}
    for line in lines:
        by_anatomy[line["anatomy_id"]].add(line["split"])
        with np.load(tmp_path / line["npz"]) as arrays:
            assert arrays["minip"].shape == (64, 64)
    assert all(len(splits) == 1 for splits in by_anatomy.values())


def test_splits_have_their_shares():
    splits = [split_of(f"anatomy-{k}") for k in range(4000)]
    assert splits.count("train") / 4000 == pytest.approx(0.75, abs=0.03)
    assert splits.count("test") / 4000 == pytest.approx(0.12, abs=0.02)


def test_nonsense_is_refused_with_the_rule_and_the_value(tmp_path):
    with pytest.raises(ValueError, match="format must be npz or dicom; got 'tiff'"):
        DatasetPlan(tmp_path, cases=1, format="tiff")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        DatasetPlan(tmp_path, cases=0)
