"""Projected vessels against closed forms: chords, diameters, lengths, volumes."""

import numpy as np
import pytest

from ClaireDSALib.simulator.centerlines import projected_centerlines
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.resample import resample
from ClaireDSALib.simulator.vessel_projection import VesselProjection
from ClaireDSALib.simulator.vessel_tree import ARTERY_SEGMENTS, VesselTree

_FAR_MM = 1e6
"""Distance at which rays are parallel, so that closed forms of a cylinder hold to rounding."""


def _tube(start, end, radius, step=1.0) -> VesselTree:
    start, end = np.asarray(start, float), np.asarray(end, float)
    n = round(float(np.linalg.norm(end - start)) / step) + 1
    return VesselTree(
        position_mm=start + np.linspace(0, 1, n)[:, None] * (end - start),
        radius_mm=np.full(n, radius),
        parent=np.arange(-1, n - 1),
        segment=np.full(n, ARTERY_SEGMENTS.index("M1")),
        side=np.ones(n, int),
    )


def _parallel(primary=0.0, secondary=0.0, spacing=0.4, shape=(256, 256)) -> ViewGeometry:
    return ViewGeometry(primary, secondary, 2 * _FAR_MM, _FAR_MM, shape, 2 * spacing)


def _thickness(tree, view):
    return VesselProjection(tree, view).thickness_mm(np.ones(len(tree), bool))


@pytest.mark.parametrize("radius", [0.9, 1.5, 2.3])
@pytest.mark.parametrize("tilt_deg", [0.0, 21.0, 45.0])
def test_a_tube_across_the_beam_casts_the_chord_of_its_circle(radius, tilt_deg):
    direction = np.array([np.cos(np.deg2rad(tilt_deg)), 0, np.sin(np.deg2rad(tilt_deg))])
    view = _parallel()
    image = _thickness(_tube(-40 * direction, 40 * direction, radius), view)
    rows, columns = np.mgrid[108:148, 108:148]
    along = np.column_stack([(columns.ravel() - 127.5) * 0.4, -(rows.ravel() - 127.5) * 0.4])
    distance = np.abs(along @ np.array([-direction[2], direction[0]])).reshape(40, 40)
    inner = distance < radius - 0.45
    chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    assert inner.any()
    np.testing.assert_allclose(image[108:148, 108:148][inner], chord[inner], rtol=0.08, atol=0.05)
    assert image[108:148, 108:148][distance > radius + 0.6].max(initial=0) == 0


@pytest.mark.parametrize("radius", [0.08, 0.3, 1.5])
@pytest.mark.parametrize("angle_deg", [0, 35, 70, 88])
def test_the_shadow_holds_the_volume_of_the_tube_whatever_its_direction(radius, angle_deg):
    a = np.deg2rad(angle_deg)
    direction = np.array([np.cos(a) * 0.8, np.sin(a), np.cos(a) * 0.6])
    tree = _tube(-15 * direction, 15 * direction, radius)
    image = _thickness(tree, _parallel())
    assert image.sum() * 0.4**2 == pytest.approx(np.pi * radius**2 * 30, rel=2e-3)


def test_a_tube_seen_end_on_is_a_disc_of_its_radius():
    image = _thickness(_tube((0, -15, 0), (0, 15, 0), 2.0), _parallel())
    rows, columns = np.mgrid[:256, :256]
    distance = np.hypot(rows - 127.5, columns - 127.5) * 0.4
    assert image[distance < 1.0].min() > 0.6 * 30
    assert image[distance > 3.2].max() == 0


@pytest.mark.parametrize("radius", [0.7, 1.4, 2.2])
def test_the_diameter_at_half_area_width_is_right_to_a_tenth_of_a_millimetre(radius):
    image = _thickness(_tube((0, 0, -30), (0, 0, 30), radius), _parallel(spacing=0.3))
    profile = image[120:136].mean(0)
    # A semicircle of diameter d has the second moment d^2 / 16.
    x = (np.arange(256) - 127.5) * 0.3
    diameter = 4 * np.sqrt((profile * x**2).sum() / profile.sum() - 0.3**2 / 12)
    assert diameter == pytest.approx(2 * radius, abs=0.1)


def test_the_shadow_is_even_along_a_straight_tube():
    image = _thickness(_tube((-30, 0, -17), (30, 0, 17), 1.5), _parallel())
    ridge = image.max(0)[80:176]
    assert ridge.std() / ridge.mean() < 0.03


def test_magnification_widens_the_shadow_of_a_near_tube():
    view = ViewGeometry(0, 0, 1200, 800, (256, 256), 0.6)
    near = _thickness(_tube((-20, 200, 0), (20, 200, 0), 2.0), view)
    far = _thickness(_tube((-20, -200, 0), (20, -200, 0), 2.0), view)
    width = [np.count_nonzero(image[:, 128] > 0.2) for image in (near, far)]
    # The source stands behind the head (y = +800): y = 200 is seen at 1200/600, y = -200 at 1200/1000.
    assert width[0] / width[1] == pytest.approx((1200 / 600) / (1200 / 1000), rel=0.12)


def test_centre_lines_lie_on_the_projection_with_the_projected_radius():
    view = ViewGeometry(0, 0, 1200, 800, (256, 256), 0.6)
    tree = _tube((-20, 0, 5), (20, 0, -5), 1.2)
    (line,), (radius,) = projected_centerlines(tree, view, np.ones(len(tree), bool))
    expected, _ = view.project(tree.position_mm)
    np.testing.assert_allclose(line, expected, atol=1e-3)
    np.testing.assert_allclose(radius, 1.2 / 0.4, rtol=1e-3)
    assert np.linalg.norm(line[-1] - line[0]) == pytest.approx(np.hypot(40, 10) / 0.4, rel=1e-3)


def test_a_piece_that_curves_is_cut_along_the_curve_and_not_along_its_chords():
    angle = np.linspace(0, np.pi, 12)
    tree = VesselTree(
        position_mm=np.column_stack([20 * np.cos(angle), np.zeros(12), 20 * np.sin(angle)]),
        radius_mm=np.ones(12),
        parent=np.arange(-1, 11),
        segment=np.zeros(12, int),
        side=np.zeros(12, int),
    )
    pieces = resample(tree, 0.3)
    radius = np.linalg.norm(pieces.position_mm, axis=1)[20:-20]
    np.testing.assert_allclose(radius, 20.0, atol=0.05)


def test_the_origin_of_a_branch_inside_its_wide_parent_is_not_counted_twice():
    trunk = _tube((0, 0, -20), (0, 0, 20), 3.0)
    n = len(trunk)
    branch = np.column_stack([np.arange(1, 16), np.zeros(15), np.zeros(15)]).astype(float)
    both = VesselTree(
        position_mm=np.vstack([trunk.position_mm, branch]),
        radius_mm=np.concatenate([trunk.radius_mm, np.full(15, 1.0)]),
        parent=np.concatenate([trunk.parent, [20], np.arange(n, n + 14)]),
        segment=np.zeros(n + 15, int),
        side=np.zeros(n + 15, int),
    )
    np.testing.assert_array_equal(np.flatnonzero(both.inside_other), [n, n + 1])
    view = _parallel()
    alone, together = _thickness(trunk, view), _thickness(both, view)
    np.testing.assert_allclose(together[128, 120:130], alone[128, 120:130], rtol=1e-5)
