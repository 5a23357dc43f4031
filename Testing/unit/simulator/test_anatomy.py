"""Patients: the same seed gives the same one, and their vessels have human sizes and places."""

from pathlib import Path

import numpy as np
import pytest

from ClaireDSALib.simulator.patient import Anatomy, simulate_anatomy
from ClaireDSALib.simulator.swc import read_swc, swc_files
from ClaireDSALib.simulator.vessel_tree import VesselTree


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    return [simulate_anatomy(seed) for seed in (7, 11)]


@pytest.fixture(scope="module")
def tree_folder(shared_data: Path) -> Path:
    folder = shared_data / "arterial_trees"
    if not folder.is_dir():
        pytest.skip(f"no arterial trees in {shared_data}")
    return folder


def _same(a: VesselTree, b: VesselTree) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("position_mm", "radius_mm", "parent", "segment"))


def test_the_same_seed_gives_the_same_patient(patients):
    again = simulate_anatomy.__wrapped__(11)
    for name in ("arteries", "veins", "groin"):
        assert _same(getattr(patients[1], name), getattr(again, name))
    assert again.anatomy_id == patients[1].anatomy_id


def test_different_seeds_give_different_patients(patients):
    assert len({p.anatomy_id for p in patients}) == len(patients)
    assert not _same(patients[0].arteries, patients[1].arteries)


def test_every_named_artery_is_there_on_both_sides(patients):
    names = ["CCA", "ICA_C1", "ICA", "OPHTHALMIC", "ACHA", "A1", "A2", "A3", "M1", "M2S", "M2I", "M3", "M4", "LSA"]
    names += ["VA", "P1", "P2", "P3", "SCA", "AICA", "PICA"]
    names += ["ECA", "FACIAL", "LINGUAL", "MAXILLARY", "STA", "MMA", "OCCIPITAL"]
    for patient in patients:
        for name in names:
            for side in (1, -1):
                assert patient.arteries.select(name, side=side).any(), (patient.anatomy_id, name, side)
        assert patient.arteries.select("BA", side=0).any()


def test_arteries_lie_on_their_own_side(patients):
    for patient in patients:
        for name in ("ICA", "M1", "M4", "ECA"):
            for side in (1, -1):
                x = patient.arteries.position_mm[patient.arteries.select(name, side=side), 0]
                assert np.mean(np.sign(x) == side) > 0.97


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("ICA", 1.4, 2.9), ("M1", 0.95, 1.8), ("A1", 0.4, 1.5), ("BA", 1.1, 2.1), ("M4", 0.04, 0.8)],
)
def test_calibres_are_those_of_adults(patients, name, low, high):
    for patient in patients:
        radius = patient.arteries.radius_mm[patient.arteries.select(name)]
        assert low < np.median(radius) < high


def test_vessels_taper_towards_fine_ends(patients):
    tree = patients[0].arteries
    ends = tree.is_terminal & tree.select("M4", "A3", "P3")
    assert ends.sum() > 500
    assert np.median(tree.radius_mm[ends]) < 0.12
    assert tree.radius_mm[ends].max() < 0.3


def test_no_branch_is_wider_than_the_vessel_it_leaves(patients):
    tree = patients[0].arteries
    brain = np.flatnonzero(tree.select("M3", "M4", "A3", "P3"))
    brain = brain[tree.select("M3", "M4", "A3", "P3")[tree.parent[brain]]]
    assert np.mean(tree.radius_mm[brain] <= 1.3 * tree.radius_mm[tree.parent[brain]]) > 0.995


def test_the_cortical_arteries_stay_inside_the_skull(patients):
    for patient in patients:
        nodes = patient.arteries.select("M4", "A3", "P3")
        depth = (patient.arteries.position_mm[nodes] - patient.brain_centre_mm) / patient.brain_radii_mm
        assert np.quantile(np.linalg.norm(depth, axis=1), 0.99) < 1.08


def test_trees_are_finely_sampled_without_gaps(patients):
    for patient in patients:
        steps = patient.arteries.edge_length_mm
        assert np.quantile(steps, 0.99) < 3.0
        assert steps.max() < 15.0


def test_all_veins_drain_into_the_two_jugular_veins(patients):
    for patient in patients:
        roots = np.flatnonzero(patient.veins.parent < 0)
        names = [patient.veins.segment_names[patient.veins.segment[r]] for r in roots]
        assert names == ["JUGULAR", "JUGULAR"]
        assert patient.veins.radius_mm[patient.veins.select("SSS")].max() > 2.0


def test_tissue_is_shared_out_completely(patients):
    tissue = patients[0].tissue()
    assert tissue.share.sum() == pytest.approx(1.0)
    assert tissue.share.max() < 0.02
    tree = patients[0].arteries
    owner_side = np.sign(tree.position_mm[tissue.terminals[tissue.owner], 0])
    assert np.mean(owner_side == np.sign(tissue.position_mm[:, 0])) > 0.97


def test_path_and_subtree_sums_equal_walking_the_tree(patients):
    tree = patients[0].arteries
    values = np.random.default_rng(0).random(len(tree))
    paths, below = tree.path_sum(values), tree.subtree_sum(values)
    for node in np.random.default_rng(1).choice(len(tree), 40, replace=False):
        assert paths[node] == pytest.approx(values[tree.path_to_root(int(node))].sum())
        assert below[node] == pytest.approx(values[tree.downstream(int(node))].sum())


def test_a_child_before_its_parent_is_refused():
    with pytest.raises(ValueError, match="parent must come before"):
        VesselTree(np.zeros((2, 3)), np.ones(2), np.array([1, -1]), np.zeros(2, int), np.zeros(2, int))
    with pytest.raises(ValueError, match="positive"):
        VesselTree(np.zeros((1, 3)), np.zeros(1), np.array([-1]), np.zeros(1, int), np.zeros(1, int))


def test_a_folder_without_trees_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no SWC file"):
        simulate_anatomy(0, anatomy_dir=tmp_path)


def test_all_real_trees_are_understood(tree_folder):
    files = swc_files(tree_folder)
    assert len(files) == 39
    for path in files:
        tree = read_swc(path)
        assert np.count_nonzero(tree.parent < 0) == 3
        assert np.all(tree.segment != "")
        for side in (1, -1):
            x, y, z = tree.position_mm[tree.terminus[side]]
            assert 8 < side * x < 17
            assert -17 < y < -7
            assert -24 < z < -15
            assert tree.position_mm[tree.carotid_root[side], 2] < tree.position_mm[tree.terminus[side], 2] - 8
            assert np.sum((tree.segment == "M4") & (tree.side == side)) > 100


def test_a_real_tree_becomes_a_patient_with_everything_it_lacks(tree_folder):
    patient = simulate_anatomy(3, anatomy_dir=tree_folder)
    again = simulate_anatomy.__wrapped__(3, anatomy_dir=tree_folder)
    assert patient.source == "swc"
    assert patient.anatomy_id.startswith("swc-B")
    assert _same(patient.arteries, again.arteries)
    for name in ("CCA", "ICA_C1", "ICA", "M1", "M4", "A1", "A3", "P3", "ECA", "VA", "SCA", "PICA", "OPHTHALMIC", "LSA"):
        for side in (1, -1):
            assert patient.arteries.select(name, side=side).any(), (name, side)
    assert patient.arteries.edge_length_mm.max() < 20


def test_mirrored_variants_keep_the_name_of_their_tree(tree_folder):
    variants: dict[str, set[int]] = {}
    for seed in (3, 5):
        patient = simulate_anatomy(seed, anatomy_dir=tree_folder)
        variants.setdefault(patient.anatomy_id, set()).add(seed)
        assert patient.arteries.select("M4", side=1).any()
    assert all(
        name.removeprefix("swc-") in {p.stem.replace("records", "") for p in swc_files(tree_folder)}
        for name in variants
    )
