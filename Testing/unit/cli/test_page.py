"""The pictures and the page of a review: what is drawn is what was measured."""

import dataclasses
import re
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from ClaireDSALib.export import pictures, ramps
from ClaireDSALib.export.files import write_case
from ClaireDSALib.export.page import render_page
from ClaireDSALib.pipeline.report import CaseResult, LabelResult


def test_every_file_the_page_shows_is_there(a_written_case):
    folder, _ = a_written_case
    shown = re.findall(r'(?:src|data-base|data-cam)="([^"]+)"', (folder / "index.html").read_text())
    assert len(shown) > 10
    assert [path for path in shown if not (folder / path).is_file()] == []


def test_the_page_says_verdict_reason_thrombus_pair_and_what_was_left_out(a_written_case):
    folder, _ = a_written_case
    page = (folder / "index.html").read_text()
    for text in ("not suitable 90%", "Too much &lt;motion&gt;.", "thrombus likely 81%", "same time", "no pixels"):
        assert text in page


def test_text_from_a_header_cannot_become_markup(a_judged_result):
    run = dataclasses.replace(
        a_judged_result.report.runs[0], identity={"description": "<script>alert(1)</script>"}, files={}
    )
    page = render_page(dataclasses.replace(a_judged_result.report, runs=(run,)))
    assert "<script>alert" not in page


def test_weak_evidence_looks_weak_because_all_labels_share_one_scale(a_written_case):
    folder, report = a_written_case
    run = report.runs[0]
    assert run.map_limits["cam"] == (0.0, 4.0)
    strong, weak = (
        np.asarray(Image.open(folder / run.files[f"cam.projection.{name}.png"]))[..., 3].max()
        for name in ("ap", "lateral")
    )
    assert weak < 0.3 * strong


def test_a_map_that_marks_pixels_has_a_scale_of_its_own(a_judged_result, a_series, tmp_path):
    run = a_judged_result.report.runs[0]
    marked = LabelResult("device", ("absent", "present"), (0.1, 0.9), "present", {"present": "cam.device.present"})
    report = dataclasses.replace(a_judged_result.report, runs=(dataclasses.replace(run, labels=(*run.labels, marked)),))
    logits = np.full((256, 256), -9.0, np.float32)
    logits[100:112, 20:200] = 9.0
    arrays = {run.run_id: a_judged_result.arrays[run.run_id] | {"cam.device.present": logits}}
    written = write_case(tmp_path, [a_series], CaseResult(report, arrays)).runs[0]
    assert written.map_limits["cam"] == (0.0, 4.0), "the other labels keep theirs"
    assert written.map_limits["cam.device"] == (0.0, 6.0)
    shown = np.asarray(Image.open(tmp_path / written.files["cam.device.present.png"]))[..., 3]
    assert shown.max() > 100
    assert (shown > 100).mean() < 0.05
    page = (tmp_path / "index.html").read_text()
    assert 'data-scale="a scale of its own" data-high="6"' in page
    assert 'data-scale="one scale for all labels of this run" data-high="4"' in page


def test_a_map_file_shows_its_picture_unchanged_and_a_bar_beside_it(a_written_case):
    folder, report = a_written_case
    run = report.runs[0]
    rows, columns = run.acquisition.rows, run.acquisition.columns
    shown = np.asarray(Image.open(folder / run.files["time_to_peak.png"]))
    assert shown.shape[0] == rows
    assert shown.shape[1] > columns
    assert shown[:, columns:].any()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, (0, 2, 4, 6, 8, 10)),
        (2.04, 13.67, (5, 10)),
        (0.11, 0.52, (0.2, 0.3, 0.4, 0.5)),
        (3.0, 3.0, (3,)),
    ],
)
def test_colour_bars_are_ticked_at_round_values(low, high, expected):
    assert pictures.ticks(low, high) == pytest.approx(expected)


def test_a_bar_runs_from_low_at_the_bottom_to_high_at_the_top():
    drawn = pictures.with_color_bar(np.zeros((200, 4, 3), np.uint8), pictures.cool, 0.0, 1.0, "s")
    bar = drawn[:, 4 + 8]
    lit = 20 + np.flatnonzero(bar[20:].any(axis=1))  # the unit stands above
    np.testing.assert_array_equal(bar[lit[-1]], pictures.cool(np.array(0.0)))
    np.testing.assert_array_equal(bar[lit[0]], pictures.cool(np.array(1.0)))


def test_an_outlined_mask_is_clear_at_its_rim_and_faint_inside():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    alpha = pictures.outlined(mask, (1, 2, 3))[..., 3]
    assert alpha[2, 4] > 200
    assert 0 < alpha[4, 4] < 100
    assert alpha[0, 0] == 0


def test_the_pages_ramps_have_the_colours_of_the_pictures():
    css = (files("ClaireDSALib.export") / "assets" / "page.css").read_text()
    for selector, name in ((r"\n\.ramp", "map"), (r"\.ramp\.heat", "heat")):
        found = re.search(selector + r"{[^}]*linear-gradient\(90deg,([^)]*)\)", css)
        assert found is not None
        assert tuple(found[1].split(",")) == ramps.css_stops(name)
    assert pictures.heat(np.array([0.0, 1.0])).tolist() == [[42, 10, 74], [253, 245, 178]]
    assert ramps.ramp("map")[[0, -1]].tolist() == [[68, 1, 84], [253, 231, 37]]
