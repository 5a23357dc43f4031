"""Flow that was given back is measured, and the interval is as wide as what is not known."""

import numpy as np
import pytest

from ClaireDSALib.dsa.reperfusion import Evidence, FlowChange, estimate_reperfusion, flow_change, grade_of
from ClaireDSALib.dsa.run_registration import Registration
from ClaireDSALib.dsa.small_run import SmallRun

TIMES = np.arange(16) * 0.75
HERE = Registration(1.0, 0.0, (0.0, 0.0), 1.0, (96, 96), "bone")


def _change(head, before, after):
    return flow_change(*(SmallRun(head(**flow).astype(np.float32), TIMES) for flow in (before, after)), HERE)


def _evidence(ratio, remaining=None, late_share=0.0):
    nothing = np.zeros((2, 2), np.float32)
    change = FlowChange(ratio, (ratio, ratio), 0.15, nothing, nothing > 0, nothing > 0, late_share)
    return Evidence(change, remaining)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_flow_ratio_is_the_one_put_in(head, share):
    change = _change(head, {"right": share}, {"right": 1.0})
    assert change.ratio == pytest.approx((1 + share) / 2, abs=0.06)
    assert change.ratio_interval[0] <= change.ratio_interval[1]


def test_the_scale_of_either_run_cancels(head):
    before = SmallRun(head(right=0.3).astype(np.float32), TIMES)
    after = SmallRun((1.7 * head()).astype(np.float32), TIMES)
    assert flow_change(before, after, HERE).ratio == pytest.approx(_change(head, {"right": 0.3}, {}).ratio, rel=0.02)


def test_new_flow_is_shown_where_it_came(head):
    gained = _change(head, {"right": 0.0}, {}).gained
    assert np.nanmedian(gained[20:50, 60:80]) > 0.8
    assert np.nanmedian(gained[20:50, 15:36]) < 0.1


def test_tissue_that_stays_late_is_named_late(head):
    late = {"right": 0.8, "right_delay_s": 6.0}
    change = _change(head, late, late)
    assert change.late[25:50, 60:80].mean() > 0.9
    assert not change.late[:, :40].any()
    assert change.late_share == pytest.approx(0.5, abs=0.1)


def test_runs_of_other_lengths_and_rates_are_compared(head):
    times = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10.5])
    frames = head()
    columns = np.stack([[np.interp(times, TIMES, frames[:, r, c]) for c in range(96)] for r in range(0, 96, 1)])
    after = SmallRun(np.moveaxis(columns, -1, 0).astype(np.float32), times)
    before = SmallRun(head(right=0.0).astype(np.float32), TIMES)
    assert flow_change(before, after, HERE).ratio == pytest.approx(0.5, abs=0.12)


def test_a_run_without_tissue_is_refused(head):
    empty = {"left": 0.0, "right": 0.0}
    with pytest.raises(ValueError, match="tissue"):
        _change(head, empty, empty)


def test_no_change_is_no_reperfusion():
    found = estimate_reperfusion([_evidence(1.0)])
    assert found.fraction < 0.05
    assert found.grade in ("0", "1")


def test_more_new_flow_is_a_larger_estimate():
    shares = [estimate_reperfusion([_evidence(ratio)]).fraction for ratio in (1.0, 0.9, 0.75, 0.6, 0.45, 0.3)]
    assert shares == sorted(shares)


def test_the_interval_holds_the_estimate_and_narrows_with_evidence():
    one = estimate_reperfusion([_evidence(0.5)])
    seen = estimate_reperfusion([_evidence(0.5, remaining=0.1), _evidence(0.5, remaining=0.05)])
    for found in (one, seen):
        assert 0 <= found.low <= found.fraction <= found.high <= 1
    assert seen.high - seen.low < one.high - one.low
    assert seen.fraction > one.fraction


def test_a_network_that_still_sees_everything_missing_lowers_the_estimate():
    assert estimate_reperfusion([_evidence(0.5, 0.9)]).fraction < estimate_reperfusion([_evidence(0.5, 0.1)]).fraction


def test_late_tissue_speaks_against_complete_reperfusion():
    assert estimate_reperfusion([_evidence(0.4, late_share=0.4)]).high < estimate_reperfusion([_evidence(0.4)]).high


def test_an_estimate_needs_a_view():
    with pytest.raises(ValueError, match="at least one view"):
        estimate_reperfusion([])


@pytest.mark.parametrize(
    ("fraction", "grade"),
    [(0.0, "0"), (0.05, "1"), (0.1, "2a"), (0.49, "2a"), (0.5, "2b50"), (0.67, "2b67"), (0.9, "2c"), (0.99, "3")],
)
def test_grades_follow_their_limits(fraction, grade):
    assert grade_of(fraction) == grade
