"""A clot takes away exactly its territory, and collaterals bring back what their grade allows."""

import numpy as np
import pytest

from ClaireDSALib.simulator.flow import Injection, arterial_flow
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.iodine import Projector
from ClaireDSALib.simulator.occlusion import NO_OCCLUSION, SITES, Occlusion, occlude, occluded_node
from ClaireDSALib.simulator.patient import Anatomy, simulate_anatomy

_TIMES_S = np.arange(12) / 1.5
_ANTERIOR = ("ICA-T", "M1", "M2", "M3", "A1", "A2")
_POSTERIOR = ("basilar", "P1", "P2")


@pytest.fixture(scope="module")
def a_patient() -> Anatomy:
    return next(a for a in map(simulate_anatomy, (7, 11, *range(20, 40))) if _textbook(a))


@pytest.fixture(scope="module")
def a_projector(a_patient) -> Projector:
    return Projector(a_patient, ViewGeometry(0, 10, 1200, 800, (192, 192), 1.7, isocentre_mm=(0, 5, -15)))


def _textbook(anatomy: Anatomy) -> bool:
    """No fetal posterior artery: P2 hangs on P1."""
    tree = anatomy.arteries
    filled = arterial_flow(anatomy, Injection("VA", "left")).fraction > 0
    return bool(filled[tree.select("P2")].all())


@pytest.mark.parametrize("site", _ANTERIOR)
def test_a_complete_clot_without_collaterals_empties_exactly_what_lies_behind_it(a_patient, site):
    tree = a_patient.arteries
    opened = arterial_flow(a_patient, Injection())
    occlusion = Occlusion(site, collateral_grade=0)
    node = occluded_node(tree, occlusion)
    flow, blocked, passed = occlude(tree, opened, node, occlusion)
    assert passed == 0
    np.testing.assert_array_equal(blocked, tree.downstream(node))
    assert np.all(flow.fraction[blocked] == 0)
    np.testing.assert_array_equal(flow.fraction[~blocked], opened.fraction[~blocked])
    np.testing.assert_array_equal(flow.arrival_s[~blocked], opened.arrival_s[~blocked])


def test_what_is_behind_a_clot_are_all_nodes_whose_way_to_the_heart_passes_it(a_patient):
    tree = a_patient.arteries
    node = occluded_node(tree, Occlusion("M2"))
    behind = set(np.flatnonzero(tree.downstream(node)).tolist())
    rng = np.random.default_rng(0)
    for other in rng.choice(len(tree), 300, replace=False):
        assert (int(other) in behind) == (node in tree.path_to_root(int(other)))


@pytest.mark.parametrize(
    ("site", "name"), [("M1", "M1"), ("A1", "A1"), ("ICA-T", "ICA"), ("basilar", "BA"), ("P2", "P2")]
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_clot_sits_in_the_artery_it_is_named_after(a_patient, site, name, side):
    tree = a_patient.arteries
    for seed in range(5):
        node = occluded_node(tree, Occlusion(site, side, seed=seed))
        assert tree.segment_names[tree.segment[node]] == name
        if site != "basilar":
            assert tree.side[node] == (1 if side == "left" else -1)


def test_an_open_tree_has_no_clot(a_patient):
    assert occluded_node(a_patient.arteries, NO_OCCLUSION) is None


@pytest.mark.parametrize("site", ["M2", "A2"])
def test_twins_differ_only_where_the_blocked_territory_is(a_patient, a_projector, site):
    injection = Injection()
    opened = a_projector.render(injection, times_s=_TIMES_S)
    closed = a_projector.render(injection, Occlusion(site, collateral_grade=0), times_s=_TIMES_S)
    blocked = a_patient.arteries.downstream(occluded_node(a_patient.arteries, Occlusion(site)))
    early = _TIMES_S < 3.6  # before the veins
    where = a_projector._projection("arteries").thickness_mm(blocked) > 0
    changed = np.abs(opened.frames[early] - closed.frames[early]).max(0)
    vessel_change = changed * (closed.territory_missing == 0)
    assert vessel_change[~where].max() < 0.1  # mg/cm^2: blush at the rim of the territory
    assert changed[where].max() > 10
    np.testing.assert_array_equal(opened.artery_mask, closed.artery_mask)
    np.testing.assert_array_equal(opened.vein_mask, closed.vein_mask)
    assert closed.site_px is not None
    assert opened.site_px is None


def test_less_iodine_is_seen_in_every_frame_behind_a_clot(a_projector):
    injection = Injection()
    opened = a_projector.render(injection, times_s=_TIMES_S)
    closed = a_projector.render(injection, Occlusion("M2", collateral_grade=0), times_s=_TIMES_S)
    assert np.all(closed.frames[_TIMES_S < 2.2] <= opened.frames[_TIMES_S < 2.2] + 1e-3)
    assert closed.frames.sum() < 0.98 * opened.frames.sum()


def test_the_perfused_fraction_is_the_share_of_tissue_in_front_of_the_clot(a_patient, a_projector):
    run = a_projector.render(Injection(), Occlusion("M1", collateral_grade=0), times_s=_TIMES_S[:2])
    tissue = a_patient.tissue()
    native = arterial_flow(a_patient, Injection()).native[tissue.terminals]
    blocked = a_patient.arteries.downstream(occluded_node(a_patient.arteries, Occlusion("M1")))[tissue.terminals]
    expected = tissue.share[native & ~blocked].sum() / tissue.share[native].sum()
    assert run.perfused_fraction == pytest.approx(expected)
    assert 0.1 < run.perfused_fraction < 0.7


def test_more_proximal_clots_leave_less_perfused(a_projector):
    perfused = [
        a_projector.render(Injection(), Occlusion(s, collateral_grade=0), times_s=_TIMES_S[:2]).perfused_fraction
        for s in ("ICA-T", "M1", "M2", "none")
    ]
    assert perfused == sorted(perfused)
    assert perfused[0] < 0.05
    assert perfused[-1] == 1.0


def test_a_better_collateral_grade_brings_more_and_earlier_contrast(a_patient):
    tree = a_patient.arteries
    opened = arterial_flow(a_patient, Injection())
    node = occluded_node(tree, Occlusion("M1"))
    amount, arrival = [], []
    for grade in range(5):
        flow, blocked, _ = occlude(tree, opened, node, Occlusion("M1", collateral_grade=grade))
        filled = blocked & (flow.fraction > 0)
        amount.append(flow.fraction[blocked].sum())
        arrival.append(flow.arrival_s[filled].min() if filled.any() else np.inf)
    assert amount[0] == 0
    assert amount == sorted(amount)
    assert arrival == sorted(arrival, reverse=True)
    assert arrival[4] > opened.arrival_s[blocked].min()


def test_collaterals_fill_backwards_the_ends_before_the_stem(a_patient):
    tree = a_patient.arteries
    opened = arterial_flow(a_patient, Injection())
    node = occluded_node(tree, Occlusion("M2", collateral_grade=4))
    flow, blocked, _ = occlude(tree, opened, node, Occlusion("M2", collateral_grade=4))
    filled = blocked & (flow.fraction > 0)
    ends, stem = filled & tree.is_terminal, filled & tree.select("M3")
    assert stem.any()
    assert flow.arrival_s[ends].mean() < flow.arrival_s[stem].mean()
    assert opened.arrival_s[ends].mean() > opened.arrival_s[stem].mean()


def test_a_partial_clot_thins_and_delays_but_does_not_stop(a_patient):
    tree = a_patient.arteries
    opened = arterial_flow(a_patient, Injection())
    occlusion = Occlusion("M1", degree="partial")
    node = occluded_node(tree, occlusion)
    flow, blocked, passed = occlude(tree, opened, node, occlusion)
    assert 0 < passed < 1
    assert np.all((flow.fraction[blocked] > 0) & (flow.fraction[blocked] < opened.fraction[blocked]))
    assert np.all(flow.arrival_s[blocked] > opened.arrival_s[blocked])


@pytest.mark.parametrize("site", _POSTERIOR)
def test_a_clot_outside_the_injected_circulation_leaves_the_run_as_it_is(a_projector, site):
    opened = a_projector.render(Injection("ECA"), times_s=_TIMES_S)
    other = a_projector.render(Injection("ECA"), Occlusion(site), times_s=_TIMES_S)
    np.testing.assert_array_equal(opened.frames, other.frames)
    assert other.site_px is None
    assert other.perfused_fraction == 1.0


@pytest.mark.parametrize("site", _POSTERIOR)
def test_posterior_clots_show_in_a_vertebral_injection(a_projector, site):
    run = a_projector.render(Injection("VA"), Occlusion(site, collateral_grade=0), times_s=_TIMES_S)
    assert run.site_px is not None
    assert run.perfused_fraction < 1
    assert run.territory_missing.max() > 0.5


def test_the_missing_territory_is_a_share_between_nothing_and_everything(a_projector):
    run = a_projector.render(Injection(), Occlusion("M1"), times_s=_TIMES_S[:2])
    assert run.territory_missing.min() >= 0
    assert run.territory_missing.max() <= 1 + 1e-5


def test_unknown_sites_and_grades_are_refused():
    assert "M1" in SITES
    with pytest.raises(ValueError, match="site must be one of"):
        Occlusion("M9")
    with pytest.raises(ValueError, match="collateral_grade"):
        Occlusion("M1", collateral_grade=7)


def test_a_clot_in_a_blind_stump_counts_as_none(shared_data):
    folder = shared_data / "arterial_trees"
    if not folder.is_dir():
        pytest.skip(f"no arterial trees in {shared_data}")
    fetal = simulate_anatomy(66, anatomy_dir=folder)  # the left posterior cerebral artery hangs on the carotid
    filled = arterial_flow(fetal, Injection("VA", "left")).fraction > 0
    assert not filled[fetal.arteries.select("P2", side=1)].any()
    assert occluded_node(fetal.arteries, Occlusion("P1", "left")) is not None
    projector = Projector(fetal, ViewGeometry(0, 10, 1200, 800, (96, 96), 3.4, isocentre_mm=(0, 5, -15)))
    run = projector.render(Injection("VA", "left"), Occlusion("P1", "left"), times_s=_TIMES_S[:2])
    assert run.site_px is None
    assert run.perfused_fraction == 1.0
