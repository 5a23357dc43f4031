"""Only clots that take something visible from the pictures are asked for a yes or no."""

import dataclasses

import numpy as np

from ClaireDSALib.training.sequence_assessable import assessable, changed_mm2, twin_groups
from ClaireDSALib.training.sequence_examples import SequenceExample, pack


def _run(name: str, *, view: str = "ap", missing_mm2: float = 0.0, lost_px: int = 0) -> SequenceExample:
    """A square of contrast of 20 x 20 pixels of 2 mm, of which ``lost_px`` rows do not fill."""
    stack = np.zeros((4, 40, 40), np.float32)
    stack[1:, 10 + lost_px : 30, 10:30] = 0.8
    return SequenceExample(
        stack=pack(stack),
        times_s=np.arange(4.0),
        phases=np.array([0, 1, 1, 1], np.int8),
        thrombus=name != "open",
        site=(np.nan, np.nan),
        territory=np.zeros((10, 10), np.uint8),
        patient="1",
        view=view,
        site_name="none" if name == "open" else "M2",
        pair=f"1-0-{name}",
        pixel_mm=2.0,
        missing_mm2=missing_mm2,
    )


def test_the_change_is_the_area_that_does_not_fill():
    assert abs(changed_mm2(_run("clot", lost_px=10), _run("open")) - 800) < 300


def test_open_runs_count_always_and_small_territories_never():
    runs = [_run("open"), _run("clot", missing_mm2=300, lost_px=10), _run("clot1", missing_mm2=600, lost_px=10)]
    assert assessable(runs).tolist() == [True, False, True]


def test_a_territory_whose_loss_the_picture_does_not_show_is_not_assessable():
    assert assessable([_run("open"), _run("clot", missing_mm2=900, lost_px=0)]).tolist() == [True, False]


def test_one_view_that_shows_it_is_enough_for_both():
    runs = [
        _run("open"), _run("open", view="lateral"),
        _run("clot", missing_mm2=100), _run("clot", view="lateral", missing_mm2=900, lost_px=12),
    ]  # fmt: skip
    assert assessable(runs).all()


def test_an_unknown_area_or_a_missing_twin_counts_as_large_enough():
    assert assessable([dataclasses.replace(_run("clot"), missing_mm2=float("nan"))]).all()


def test_twins_are_grouped_by_view():
    runs = [_run("open"), _run("open", view="lateral"), _run("clot"), _run("clot", view="lateral")]
    assert [g.tolist() for g in twin_groups(runs)] == [[0, 2], [1, 3]]
