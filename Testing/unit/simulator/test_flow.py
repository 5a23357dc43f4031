"""Arrival, dispersion and mass of the bolus where the answer is known."""

import numpy as np
import pytest

from ClaireDSALib.simulator.bolus import bolus
from ClaireDSALib.simulator.flow import (
    Injection,
    arterial_flow,
    flow_speed_mm_s,
    initial_fraction,
    injected_node,
)
from ClaireDSALib.simulator.patient import Anatomy, simulate_anatomy
from ClaireDSALib.simulator.phases import frame_phases
from ClaireDSALib.simulator.vessel_tree import ARTERY_SEGMENTS, VesselTree


def _straight(radius: float = 2.0, length: int = 200) -> Anatomy:
    tree = VesselTree(
        position_mm=np.column_stack([np.zeros(length), np.zeros(length), np.arange(length, dtype=float)]),
        radius_mm=np.full(length, radius),
        parent=np.arange(-1, length - 1),
        segment=np.full(length, ARTERY_SEGMENTS.index("ICA_C1")),
        side=np.ones(length, int),
    )
    nothing = VesselTree(np.zeros((1, 3)), np.ones(1), np.array([-1]), np.zeros(1, int), np.zeros(1, int), "vein")
    return Anatomy("tube", "procedural", 0, 50.0, np.zeros(3), np.ones(3), tree, nothing, tree)


@pytest.fixture(scope="module")
def a_patient() -> Anatomy:
    return simulate_anatomy(11)


@pytest.mark.parametrize("radius", [0.5, 1.3, 2.2])
@pytest.mark.parametrize("speed_scale", [0.6, 1.0])
def test_contrast_arrives_along_a_straight_tube_after_length_over_speed(radius, speed_scale):
    anatomy = _straight(radius)
    flow = arterial_flow(anatomy, Injection(tip=0.0, speed_scale=speed_scale))
    expected = np.arange(200) / (flow_speed_mm_s(radius) * speed_scale)
    np.testing.assert_allclose(flow.arrival_s, expected, atol=1e-9)
    assert np.all(np.diff(flow.dispersion_s) > 0)


def test_an_internal_carotid_runs_at_a_third_of_a_metre_per_second():
    assert flow_speed_mm_s(2.2) == pytest.approx(330)
    assert np.all(np.diff(flow_speed_mm_s(np.linspace(0.6, 2.7, 20))) > 0)


def test_nothing_flows_above_the_tip_of_the_catheter_backwards_without_reflux():
    flow = arterial_flow(_straight(), Injection(tip=1.0))
    tip = injected_node(_straight(), Injection(tip=1.0))
    assert np.all(flow.fraction[:tip] == 0)
    assert np.all(flow.fraction[tip:] > 0)


@pytest.mark.parametrize("dispersion", [0.1, 0.4, 1.2])
def test_a_bolus_keeps_its_mass_however_much_it_spreads(dispersion):
    times = np.arange(0, 40, 0.05)
    curve = bolus(times, np.array([2.0]), np.array([dispersion]), 1.7)[0]
    assert curve.sum() * 0.05 == pytest.approx(1.7, rel=5e-3)
    assert np.all(curve[times < 2.0] == 0)
    assert curve.min() >= 0
    assert curve.max() <= 1 + 1e-6


def test_a_sharp_bolus_is_the_injected_block():
    times = np.array([0.9, 1.1, 2.0, 2.9, 3.2])
    curve = bolus(times, np.array([1.0]), np.array([0.01]), 2.0)[0]
    np.testing.assert_allclose(curve, [0, 1, 1, 1, 0], atol=1e-3)


def test_a_later_start_only_shifts_the_curve():
    times = np.arange(0, 10, 0.1)
    early = bolus(times, np.array([1.0]), np.array([0.3]), 2.0)[0]
    late = bolus(times + 1.5, np.array([2.5]), np.array([0.3]), 2.0)[0]
    np.testing.assert_allclose(early, late, atol=2e-3)


def test_a_slow_injector_is_diluted_and_an_empty_syringe_gives_nothing():
    assert initial_fraction(Injection(rate_ml_s=2.1)) == pytest.approx(0.5)
    assert initial_fraction(Injection(rate_ml_s=20.0)) == 1.0
    assert initial_fraction(Injection(concentration_mg_ml=0.0)) == 0.0


def test_a_carotid_injection_fills_its_own_side_only(a_patient):
    flow = arterial_flow(a_patient, Injection("ICA", "left"))
    tree = a_patient.arteries
    filled = flow.fraction > 0
    assert filled[tree.select("M1", "M4", "A1", "A2", "A3", side=1)].all()
    assert not filled[tree.select("M1", "M4", "A1", "A3", "ICA", "ECA", "VA", side=-1)].any()
    assert not filled[tree.select("ECA", "CCA", "BA", "VA")].any()


def test_a_vertebral_injection_of_either_side_fills_basilar_and_both_posterior_arteries(a_patient):
    tree = a_patient.arteries
    for side, sign in (("left", 1), ("right", -1)):
        filled = arterial_flow(a_patient, Injection("VA", side)).fraction > 0
        assert filled[tree.select("BA")].all()
        assert filled[tree.select("SCA")].all()
        assert not filled[tree.select("VA", side=-sign)].any()


def test_cross_filling_opens_the_other_anterior_artery_thinner_and_later(a_patient):
    tree = a_patient.arteries
    plain = arterial_flow(a_patient, Injection())
    crossed = arterial_flow(a_patient, Injection(cross_filling=0.5))
    other, own = tree.select("A3", side=-1), tree.select("A3", side=1)
    assert np.all(plain.fraction[other] == 0)
    assert np.all(crossed.fraction[other] > 0)
    assert crossed.fraction[other].max() < crossed.fraction[own].min()
    assert not crossed.native[other].any()
    np.testing.assert_array_equal(plain.arrival_s[own], crossed.arrival_s[own])


def test_reflux_shows_the_external_carotid_of_the_same_side(a_patient):
    flow = arterial_flow(a_patient, Injection(tip=0.0, reflux=0.8))
    tree = a_patient.arteries
    assert np.all(flow.fraction[tree.select("ECA", side=1)] > 0)
    assert np.all(flow.fraction[tree.select("ECA", side=-1)] == 0)


def test_an_unknown_vessel_or_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="vessel must be one of"):
        Injection("AORTA")
    with pytest.raises(ValueError, match="must be positive"):
        Injection(rate_ml_s=-1.0)


def test_phases_come_in_order_and_a_run_without_contrast_has_none():
    times = np.arange(0, 15, 0.5)
    passage = np.stack([np.exp(-((times - c) ** 2)) for c in (2, 4, 7)])
    phases = frame_phases(passage, passage)
    assert phases[0] == "non_contrast"
    order = ["non_contrast", "arterial", "parenchymal", "venous"]
    ranks = [order.index(p) for p in phases]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2, 3}
    assert phases[int(4 / 0.5)] == "parenchymal"
    assert set(frame_phases(np.zeros((3, 5)), np.zeros((3, 9)))) == {"non_contrast"}


def test_every_arrival_is_after_its_parents(a_patient):
    flow = arterial_flow(a_patient, Injection("CCA", "right"))
    tree = a_patient.arteries
    child = np.flatnonzero((flow.fraction > 0) & (tree.parent >= 0))
    child = child[flow.fraction[tree.parent[child]] > 0]
    assert np.all(flow.arrival_s[child] >= flow.arrival_s[tree.parent[child]] - 1e-9)


def test_the_catheter_ends_at_the_tip(a_patient):
    for vessel in ("ICA", "ECA", "CCA", "VA", "ARCH"):
        injection = Injection(vessel, "right")
        path = a_patient.catheter_path_mm(injection)
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        assert steps.max() < 20
        if vessel != "ARCH":
            np.testing.assert_allclose(path[-1], a_patient.arteries.position_mm[injected_node(a_patient, injection)])
        assert path[0, 2] < -200
