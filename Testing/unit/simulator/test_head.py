"""Heads: procedural and from a CT."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.simulator.head_ct import ct_head, read_head_ct
from ClaireDSALib.simulator.statistics import distances, measure

_CENTRE, _RADII = np.array([0.0, 3.0, 8.0]), np.array([63.0, 82.0, 61.0])


def _at(body, *point_mm: float) -> float:
    index = [round((p - o) / s) for p, o, s in zip(point_mm, body.origin_mm, body.spacing_mm, strict=True)]
    inside = all(0 <= i < n for i, n in zip(index, body.density.shape, strict=True))
    return float(body.density[tuple(index)]) if inside else 0.0


def _skull_thickness_mm(body, direction: np.ndarray) -> float:
    steps = np.arange(0.8, 1.4, 0.002)
    length = np.linalg.norm(direction * _RADII)
    values = [_at(body, *(_CENTRE + k * direction * _RADII)) for k in steps]
    return float((np.array(values) > 1.15).sum() * 0.002 * length)


def test_the_vault_is_a_shell_of_bone_around_the_brain(patient):
    body = patient.body("head")
    anatomy = patient.anatomy
    assert _at(body, *anatomy.brain_centre_mm) == pytest.approx(1.0, abs=0.1)
    up = anatomy.brain_centre_mm + np.array([8.0, 0.0, 0.0])
    column = [_at(body, up[0], up[1], z) for z in np.arange(up[2], 91, 1.5)]
    assert max(column) > 1.4
    assert column[-1] == 0.0


def test_the_same_seed_gives_the_same_head_and_another_a_different_one():
    from ClaireDSALib.simulator.head import procedural_head

    first, again, other = (procedural_head(seed).density for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_head_ct_is_turned_and_fitted_to_the_patient(shared_data):
    path = shared_data / "head_ct" / "cranium_ct.nrrd"
    if not path.exists():
        pytest.skip("the head CT is not among the real test data")
    scan = read_head_ct(path)
    assert 55 < scan.radii_mm[0] < 75
    assert 75 < scan.radii_mm[1] < 98
    body = ct_head(path, _CENTRE, _RADII, 1)
    for direction in (np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.2]), np.array([1.0, 0.0, 0.3])):
        assert 2.0 < _skull_thickness_mm(body, direction) < 25.0
    x, y, z = (
        o + sp * np.arange(n) for o, sp, n in zip(body.origin_mm, body.spacing_mm, body.density.shape, strict=True)
    )
    middle = body.density[np.abs(x) < 30][:, :, (z > -60) & (z < -35)]
    air_in_front = int((middle[:, (y > -60) & (y < -20)] < 0.3).sum())
    air_behind = int((middle[:, (y > 40) & (y < 80)] < 0.3).sum())
    assert air_in_front > 5 * air_behind, "sinuses lie in front"


def test_distances_are_zero_for_equal_sets_and_grow_with_difference():
    rng = np.random.default_rng(0)
    pictures = [np.clip(rng.normal(200, 5, (60, 60)), 0, 255) for _ in range(3)]
    thin = [np.zeros((60, 60), bool) for _ in range(3)]
    thick = [mask.copy() for mask in thin]
    for mask in thin:
        mask[10:50, 30] = True
    for mask in thick:
        mask[10:50, 26:33] = True
    same = distances(measure(pictures, thin), measure(pictures, thin))
    assert (same.grey, same.spectrum, same.width, same.fraction) == (0, 0, 0, 0)
    other = distances(measure(pictures, thick), measure(pictures, thin))
    assert other.width == pytest.approx(1.0)
    assert other.fraction == pytest.approx((40 * 7 - 40) / 3600)
