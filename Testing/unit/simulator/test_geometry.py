"""Angles, distances and rays of the simulated C-arm, against closed forms."""

import numpy as np
import pytest

from ClaireDSALib.simulator.geometry import HeadPose, ViewGeometry


def _view(primary=0.0, secondary=0.0, **changes) -> ViewGeometry:
    return ViewGeometry(
        primary, secondary, sid_mm=1200.0, sod_mm=800.0, shape=(200, 300), detector_pitch_mm=0.6, **changes
    )


@pytest.mark.parametrize(
    ("primary", "secondary", "towards_detector"),
    [
        (0, 0, (0, -1, 0)),  # detector in front of the face
        (90, 0, (1, 0, 0)),  # left lateral: detector at the patient's left (LAO +, PS3.3 C.8.7.5)
        (-90, 0, (-1, 0, 0)),
        (0, 90, (0, 0, 1)),  # cranial +
        (30, 0, (0.5, -np.sqrt(3) / 2, 0)),
    ],
)
def test_positive_angles_turn_the_detector_left_and_cranial(primary, secondary, towards_detector):
    view = _view(primary, secondary)
    np.testing.assert_allclose(view.axes[2], towards_detector, atol=1e-12)
    np.testing.assert_allclose(view.source_mm, -800 * np.array(towards_detector), atol=1e-9)


def test_axes_are_orthonormal_at_any_angle():
    for primary, secondary in [(13, -27), (-71, 33), (90, 40)]:
        axes = _view(primary, secondary).axes
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


def test_a_frontal_picture_shows_the_patients_left_on_the_right_and_the_head_up():
    (centre, left, up), _ = _view().project(np.array([[0, 0, 0], [10, 0, 0], [0, 0, 10]], float))
    assert left[1] > centre[1]
    assert left[0] == pytest.approx(centre[0])
    assert up[0] < centre[0]


def test_a_left_lateral_picture_shows_the_face_on_the_left():
    (centre, face), _ = _view(90).project(np.array([[0, 0, 0], [0, -50, 0]], float))
    assert face[1] < centre[1]


def test_the_isocentre_lands_in_the_middle_with_the_nominal_magnification():
    where, magnification = _view(25, -15).project(np.zeros((1, 3)))
    np.testing.assert_allclose(where[0], (99.5, 149.5))
    assert magnification[0] == pytest.approx(1.5)
    assert _view().isocentre_spacing_mm == pytest.approx(0.4)


def test_a_rod_at_the_isocentre_has_its_length_over_the_isocentre_spacing():
    ends = np.array([[0, 0, -20], [0, 0, 20]], float)
    where, _ = _view(40).project(ends)
    assert np.linalg.norm(where[1] - where[0]) == pytest.approx(40 / 0.4)


def test_magnification_follows_the_depth_of_the_point():
    _, magnification = _view().project(np.array([[0, -100, 0], [0, 100, 0]], float))
    np.testing.assert_allclose(magnification, [1200 / 900, 1200 / 700])


def test_moving_the_detector_moves_the_picture_the_other_way():
    point = np.array([[5.0, 3.0, 7.0]])
    plain, _ = _view().project(point)
    moved, _ = _view(detector_offset_mm=(6.0, -3.0)).project(point)
    np.testing.assert_allclose(moved - plain, [[-10.0, 5.0]])


def test_every_ray_meets_the_point_that_projects_onto_its_pixel():
    view = _view(20, 12, detector_offset_mm=(4.0, 9.0), pose=HeadPose((4.0, -3.0, 8.0), (2.0, 5.0, -1.0)))
    source, directions = view.rays()
    assert directions.shape == (200, 300, 3)
    for row, column in [(0, 0), (57, 211), (199, 299)]:
        where, _ = view.project((source + 777.0 * directions[row, column])[None])
        np.testing.assert_allclose(where[0], (row, column), atol=1e-6)


def test_a_coarse_grid_of_rays_passes_through_the_centres_of_its_cells():
    view = _view(5, 5)
    source, directions = view.rays((50, 75))
    where, _ = view.project((source + 800.0 * directions[10, 20])[None])
    np.testing.assert_allclose(where[0], (10.5 * 4 - 0.5, 20.5 * 4 - 0.5), atol=1e-6)


def test_a_pose_is_undone_by_its_inverse():
    pose = HeadPose((10.0, -7.0, 22.0), (1.0, 2.0, 3.0))
    points = np.random.default_rng(0).normal(size=(5, 3)) * 50
    np.testing.assert_allclose(pose.to_head(pose.to_table(points)), points, atol=1e-9)


def test_turning_the_head_equals_turning_the_arm_the_other_way():
    points = np.random.default_rng(1).normal(size=(6, 3)) * 40
    turned, _ = _view(0, pose=HeadPose((0.0, 0.0, 20.0))).project(points)
    arm, _ = _view(-20).project(points)
    np.testing.assert_allclose(turned, arm, atol=1e-9)


@pytest.mark.parametrize(
    "changes", [{"sod_mm": 1300.0}, {"sod_mm": 0.0}, {"shape": (4, 4)}, {"detector_pitch_mm": 0.0}]
)
def test_an_impossible_camera_is_refused(changes):
    arguments = {"sid_mm": 1200.0, "sod_mm": 800.0, "shape": (64, 64), "detector_pitch_mm": 0.5} | changes
    with pytest.raises(ValueError, match="must"):
        ViewGeometry(0, 0, **arguments)
