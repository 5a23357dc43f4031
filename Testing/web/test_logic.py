import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from ClaireDSALib.dsa.series import DsaSeries
from ClaireDSALib.pipeline.report import (
    LabelResult,
    Override,
    Perfusion,
    Phases,
    Quality,
    RunReport,
    Vessels,
)
from ClaireDSALib.web.logic.curves import HEIGHT, WIDTH, curve_item, disc, phase_items
from ClaireDSALib.web.logic.display import first_peak
from ClaireDSALib.web.logic.labels import label_item, measures, wording
from ClaireDSALib.web.logic.playback import TrueClock
from ClaireDSALib.web.opening import open_path


class Ticks:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_playback_keeps_uneven_times_and_begins_again():
    ticks = Ticks()
    clock = TrueClock([0.0, 0.2, 1.0, 3.0], 0.0, now=ticks)
    shown = []
    for ticks.now in (0.1, 0.25, 0.9, 1.1, 2.9, 3.1, 3.5, 3.7):
        shown.append(clock.frame())
    assert shown == [0, 1, 1, 2, 2, 3, 3, 0]


def test_double_speed_halves_the_time():
    ticks = Ticks()
    clock = TrueClock([0.0, 1.0, 2.0], 0.0, now=ticks)
    ticks.now = 0.6
    assert clock.frame(2.0) == 1


def test_a_curve_spans_the_box_on_true_times():
    item = curve_item([0.0, 1.0, 4.0], [0.0, 10.0, 5.0])
    assert item["x"] == [0.0, WIDTH / 4, WIDTH]
    assert item["y"][0] == HEIGHT
    assert min(item["y"]) == item["y"][1]
    assert item["values"] == [0.0, 10.0, 5.0]


def test_a_run_opens_at_its_arterial_peak_not_at_the_veins():
    assert first_peak(np.array([0.0, 1.0, 7.0, 8.0, 5.0, 4.0, 9.0, 10.0])) == 3
    assert first_peak(np.array([0.0, 1.0, 2.0])) == 2
    assert first_peak(np.zeros(3)) == 0


def test_phases_fill_the_bar_without_gaps():
    series = DsaSeries.from_array(np.zeros((4, 2, 2), np.uint8), times_s=[0, 1, 2, 6])
    items = phase_items(series, Phases(("non_contrast", "arterial", "arterial", "venous"), "rules"))
    assert [i["name"] for i in items] == ["non_contrast", "arterial", "venous"]
    assert items[0]["left"] == 0
    assert sum(i["width"] for i in items) == pytest.approx(100)
    assert items[1]["left"] == pytest.approx(100 * 0.5 / 6)


def test_the_disc_around_a_point_stays_in_the_picture():
    assert disc((10, 10), 5, 5).sum() == 13
    assert disc((10, 10), 0, 0).sum() == 6
    assert not disc((10, 10), 50, 50).any()


def test_words_follow_the_calibrated_probability():
    assert wording("severe", 0.95) == "The model is sure: severe."
    assert "probably" in wording("severe", 0.8)
    assert "unsure" in wording("severe", 0.5)


def test_a_correction_stands_beside_the_models_output():
    result = LabelResult("side", ("left", "right"), (0.9, 0.1), "left")
    item = label_item(result, Override("side", "correct", "right"), "")
    assert (item["predicted"], item["final"]) == ("left", "right")
    assert [c["percent"] for c in item["classes"]] == [90, 10]


def test_what_was_measured_is_listed_with_its_units():
    bare = RunReport("run", {}, acquisition=None)
    full = dataclasses.replace(
        bare,
        quality=Quality("good", {"good": 0.82, "acceptable": 0.1, "poor": 0.08}, "network"),
        vessels=Vessels("network", "vessels", fraction=0.12, length_px=700.0, mean_diameter_px=3.25),
        perfusion=Perfusion("automatic", (1.0, 1.0), 9, 0.8, medians={"tmax": 2.04}, late_share=0.3, late_after_s=6.0),
    )
    assert measures(None) == measures(bare) == []
    assert {row["name"]: row["value"] for row in measures(full)} == {
        "Picture quality": "good (82 %)",
        "Vessel length": "700 px",
        "Mean diameter": "3.2 px",
        "Share of image": "12.0 %",
        "Median Tmax": "2.0 s",
        "Tissue later than 6.0 s": "30 %",
    }


def test_a_written_review_opens_without_its_frames(case_runs, tmp_path):
    from ClaireDSALib.export.files import write_case
    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.settings import Settings

    none = Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none", maps=False)
    result = analyze(case_runs[:1], none)
    write_case(tmp_path, case_runs[:1], result)
    opened = open_path(tmp_path)
    assert [s.run_id for s in opened.series] == ["ap"]
    np.testing.assert_array_equal(opened.series[0].frame(0), result.arrays["ap"]["minip"])
    assert opened.paths == ()


def test_a_report_that_points_outside_its_folder_reads_nothing(case_runs, tmp_path):
    import dataclasses

    from ClaireDSALib.pipeline.analyze import analyze
    from ClaireDSALib.pipeline.settings import Settings

    none = Settings(label_bundle="none", vessel_bundle="none", thrombus_bundle="none", maps=False)
    report = analyze(case_runs[:1], none).report
    run = dataclasses.replace(report.runs[0], files={"minip.tif": "../secret.tif"})
    tifffile.imwrite(tmp_path / "secret.tif", np.zeros((2, 2), np.uint8))
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "report.json").write_text(dataclasses.replace(report, runs=(run,)).to_json())
    with pytest.raises(ValueError, match="none of its pictures"):
        open_path(tmp_path / "review")


def test_an_empty_folder_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="no angiographic run"):
        open_path(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_path(tmp_path / "none")


def test_a_machine_without_gl_is_told_what_to_install(monkeypatch):
    from ClaireDSALib.web import gl_check

    def missing(_):
        raise OSError

    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    monkeypatch.setattr(gl_check.ctypes, "CDLL", missing)
    monkeypatch.setattr(gl_check.sys, "platform", "linux")
    with pytest.raises(RuntimeError, match="libegl1 and libgl1-mesa-dri"):
        gl_check.choose_render_window()


def test_a_probe_that_crashes_ends_in_one_clear_line():
    from ClaireDSALib.web.gl_check import check_probe

    crash = subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], stderr=subprocess.DEVNULL)
    with pytest.raises(RuntimeError, match="a GL driver is missing"):
        check_probe(crash)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["/no/such/case"], "no file or folder"), (["--host", "0.0.0.0"], "--token-file")],
)
def test_bad_arguments_are_explained_before_anything_starts(arguments, message):
    from typer.testing import CliRunner

    from ClaireDSALib.cli.view import app

    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 2
    assert message in outcome.output
