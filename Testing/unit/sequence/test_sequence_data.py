"""Simulated twins differ in the clot alone, and their truth lies where the picture shows it."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the phases' order is the network's")

from ClaireDSALib.training.sequence_data import STACK_PX, simulate_patient


@pytest.fixture(scope="module")
def a_quadruple():
    return list(simulate_patient(5, 1, 128))


def test_an_injection_gives_two_views_open_and_occluded(a_quadruple):
    assert [e.thrombus for e in a_quadruple] == [False, False, True, True]
    assert len({e.pair for e in a_quadruple}) == 2
    assert {e.view for e in a_quadruple} == {"ap", "lateral"}


def test_twins_share_times_and_scale(a_quadruple):
    for occluded, opened in zip(a_quadruple[2:], a_quadruple[:2], strict=True):
        np.testing.assert_array_equal(occluded.times_s, opened.times_s)
        assert occluded.pixel_mm == opened.pixel_mm
        assert occluded.view == opened.view


def test_only_the_occluded_twin_misses_a_territory(a_quadruple):
    assert all(e.territory.max() > 0 for e in a_quadruple[2:])
    assert all(e.territory.max() == 0 for e in a_quadruple[:2])


def test_the_site_lies_in_the_picture_and_phases_never_go_back(a_quadruple):
    for example in a_quadruple:
        assert (np.diff(example.phases) >= 0).all()
        assert example.stack.shape[1:] == (STACK_PX, STACK_PX)
    for example in a_quadruple[2:]:
        assert 0 <= example.site[0] < STACK_PX
        assert 0 <= example.site[1] < STACK_PX
