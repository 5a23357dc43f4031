"""Spacing at the isocentre, angles and the name of the view."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.geometry import angle_between_deg, view_of
from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.series import Geometry
from Testing.unit.dsa_read import dicom_builder as build


def geometry(tmp_path, **attributes):
    return read(build.write_run(tmp_path / "run.dcm", **attributes)).series[0].geometry


def test_detector_spacing_is_divided_by_the_magnification_of_the_distances(tmp_path):
    found = geometry(
        tmp_path, ImagerPixelSpacing=[0.3, 0.2], DistanceSourceToDetector=1200, DistanceSourceToPatient=800
    )
    assert found.pixel_spacing_mm == pytest.approx((0.2, 0.2 / 1.5))
    assert found.magnification == pytest.approx(1.5)
    assert "ImagerPixelSpacing" in found.spacing_source
    assert (found.source_to_detector_mm, found.source_to_patient_mm) == (1200, 800)


def test_the_estimated_magnification_serves_where_distances_are_missing(tmp_path):
    found = geometry(tmp_path, ImagerPixelSpacing=[0.3, 0.3], EstimatedRadiographicMagnificationFactor=1.25)
    assert found.pixel_spacing_mm == pytest.approx((0.24, 0.24))
    assert "EstimatedRadiographicMagnificationFactor" in found.spacing_source


def test_pixel_spacing_names_its_calibration(tmp_path):
    found = geometry(tmp_path, PixelSpacing=[0.25, 0.25], PixelSpacingCalibrationType="FIDUCIAL")
    assert found.pixel_spacing_mm == (0.25, 0.25)
    assert found.spacing_source == "PixelSpacing (FIDUCIAL)"


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ImagerPixelSpacing": [0.3, 0.3]},
        {"ImagerPixelSpacing": [0.3, 0.3], "PixelSpacing": [0.3, 0.3]},
        {"ImagerPixelSpacing": [0.3, 0.3], "DistanceSourceToDetector": 800, "DistanceSourceToPatient": 1200},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": [-1, 0.2]},
    ],
)
def test_without_a_scale_at_the_patient_there_is_no_spacing(tmp_path, attributes):
    found = geometry(tmp_path, **attributes)
    assert found.pixel_spacing_mm is None
    assert found.spacing_source == "none"


@pytest.mark.parametrize(
    ("primary", "secondary", "view"),
    [
        (0, 0, "ap"), (5, 30, "ap"), (-19, -10, "ap"), (180, 0, "ap"), (90, 0, "lateral"), (-90, 5, "lateral"),
        (270, 0, "lateral"), (-75, 0, "lateral"), (-32, 2, "oblique"), (45, 0, "oblique"), (0, 60, "oblique"),
        (None, 0, "unknown"), (3, None, "ap"),
    ],
)  # fmt: skip
def test_angles_name_the_view(primary, secondary, view):
    assert view_of(primary, secondary) == view


def test_increments_of_a_moving_positioner_make_a_rotational_run(tmp_path):
    found = geometry(
        tmp_path, PositionerMotion="DYNAMIC", PositionerPrimaryAngle=-90, PositionerSecondaryAngle=0,
        PositionerPrimaryAngleIncrement=[0, *[20] * 7], PositionerSecondaryAngleIncrement=[0] * 8,
    )  # fmt: skip
    assert found.view == "rotational"
    np.testing.assert_allclose(found.primary_angles_deg, np.arange(-90, 51, 20))
    np.testing.assert_allclose(found.secondary_angles_deg, 0)


def test_increments_that_grow_evenly_are_offsets_from_the_start(tmp_path):
    found = geometry(
        tmp_path, PositionerMotion="DYNAMIC", PositionerPrimaryAngle=-90,
        PositionerPrimaryAngleIncrement=[20 * k for k in range(8)],
    )  # fmt: skip
    np.testing.assert_allclose(found.primary_angles_deg, np.arange(-90, 51, 20))


def test_enhanced_runs_keep_their_geometry_in_functional_groups(tmp_path):
    shared = {
        "XRayGeometrySequence": build.item(DistanceSourceToDetector=1100.0, DistanceSourceToIsocenter=750.0),
        "FramePixelDataPropertiesSequence": build.item(
            ImagerPixelSpacing=[0.22, 0.22], PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1
        ),
    }
    ds = build.build_enhanced(build.raw_run(4), angles=[(90.0, 1.0)] * 4, shared=shared)
    series = read(build.save(ds, tmp_path / "run.dcm")).series[0]
    assert series.geometry.pixel_spacing_mm == pytest.approx((0.15, 0.15))
    assert series.geometry.view == "lateral"
    assert series.geometry.secondary_angle_deg == 1.0
    assert series.intensity.relation == "LIN"
    assert series.intensity.polarity_source == "PixelIntensityRelationshipSign"


def test_enhanced_runs_may_tell_the_spacing_at_the_centre_of_the_beam(tmp_path):
    shared = {"ProjectionPixelCalibrationSequence": build.item(ObjectPixelSpacingInCenterOfBeam=[0.17, 0.17])}
    ds = build.build_enhanced(build.raw_run(3), angles=[(0.0, 0.0), (60.0, 0.0), (120.0, 0.0)], shared=shared)
    found = read(build.save(ds, tmp_path / "run.dcm")).series[0].geometry
    assert found.pixel_spacing_mm == pytest.approx((0.17, 0.17))
    assert found.spacing_source == "ObjectPixelSpacingInCenterOfBeam"
    assert found.primary_angles_deg == (0.0, 60.0, 120.0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((0, 0), (90, 0), 90), ((0, 30), (90, 0), 90), ((-10, 0), (30, 0), 40), ((0, 0), (0, 25), 25)],
)
def test_the_angle_between_two_views_is_that_between_their_rays(a, b, expected):
    first, second = (Geometry(primary_angle_deg=p, secondary_angle_deg=s) for p, s in (a, b))
    assert angle_between_deg(first, second) == pytest.approx(expected)


def test_single_frames_of_a_turning_positioner_make_a_rotational_run(tmp_path):
    frames = build.raw_run(5, 32)
    for k in range(5):
        build.write_run(
            tmp_path / f"{k}.dcm", frames[k : k + 1], SeriesInstanceUID="1.2.3", InstanceNumber=k + 1,
            PositionerPrimaryAngle=10 * k, FrameTime=100,
        )  # fmt: skip
    found = read(tmp_path).series
    assert len(found) == 1
    assert found[0].geometry.view == "rotational"
    assert found[0].geometry.primary_angles_deg == (0, 10, 20, 30, 40)
