"""Whole simulated runs: time course, truth, reuse of the projection, determinism."""

import numpy as np
import pytest

from ClaireDSALib.simulator.flow import Injection
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.iodine import Projector, render_iodine
from ClaireDSALib.simulator.occlusion import NO_OCCLUSION, Occlusion
from ClaireDSALib.simulator.patient import Anatomy, simulate_anatomy

_TIMES_S = np.arange(16) / 1.6


@pytest.fixture(scope="module")
def a_patient() -> Anatomy:
    return simulate_anatomy(7)


def _view(primary=0.0, **changes) -> ViewGeometry:
    return ViewGeometry(primary, 5, 1200, 800, (160, 160), 2.0, isocentre_mm=(0, 5, -15), **changes)


@pytest.fixture(scope="module")
def a_projector(a_patient) -> Projector:
    return Projector(a_patient, _view())


@pytest.fixture(scope="module")
def a_run(a_projector):
    return a_projector.render(Injection(), times_s=_TIMES_S)


def test_frames_are_line_integrals_of_plausible_size(a_run):
    assert a_run.frames.shape == (16, 160, 160)
    assert a_run.frames.dtype == np.float32
    assert np.all(np.isfinite(a_run.frames))
    assert a_run.frames.min() >= 0
    assert 60 < a_run.frames.max() < 900  # an ICA of 4.4 mm with undiluted contrast casts 130 mg/cm^2


def test_a_run_starts_without_contrast_and_passes_through_all_phases(a_run):
    assert a_run.phases[0] == "non_contrast"
    assert a_run.frames[0].max() == 0
    assert set(a_run.phases) == {"non_contrast", "arterial", "parenchymal", "venous"}


def test_arteries_peak_before_veins(a_run):
    arteries = a_run.frames[:, a_run.artery_mask & ~a_run.vein_mask].mean(1)
    veins = a_run.frames[:, a_run.vein_mask & ~a_run.artery_mask].mean(1)
    assert np.argmax(arteries) < np.argmax(veins)


def test_the_artery_mask_is_where_the_arteries_thickness_is(a_run):
    assert np.all(a_run.vessel_thickness_mm[a_run.artery_mask] > 0)
    assert a_run.vessel_thickness_mm[~a_run.artery_mask].max() < 0.2
    assert 0.01 < a_run.artery_mask.mean() < 0.4


def test_the_first_frames_with_contrast_show_it_only_in_arteries(a_projector):
    run = a_projector.render(Injection(start_s=0.5), times_s=np.array([0.9]))
    assert run.frames.max() > 1
    assert run.frames[0][run.vessel_thickness_mm == 0].max() == 0


def test_centre_lines_run_inside_the_picture_and_the_mask(a_run):
    assert len(a_run.centerlines) == len(a_run.centerline_radius_px) > 50
    for line, radius in zip(a_run.centerlines, a_run.centerline_radius_px, strict=True):
        assert line.shape == (len(radius), 2)
        assert line.min() >= 0
        assert line.max() <= 159
    points, radius = np.vstack(a_run.centerlines), np.concatenate(a_run.centerline_radius_px)
    rows, columns = np.rint(points[radius > 0.5]).astype(int).T
    assert a_run.artery_mask[rows, columns].mean() > 0.99


def test_the_same_request_gives_the_same_frames_from_a_kept_or_a_new_projection(a_patient, a_projector, a_run):
    again = a_projector.render(Injection(), times_s=_TIMES_S)
    fresh = render_iodine(a_patient, Injection(), NO_OCCLUSION, _view(), _TIMES_S)
    np.testing.assert_array_equal(a_run.frames, again.frames)
    np.testing.assert_array_equal(a_run.frames, fresh.frames)


def test_other_runs_leave_the_projection_untouched(a_projector, a_run):
    a_projector.render(Injection("ECA", "right"), Occlusion("M1"), times_s=_TIMES_S)
    np.testing.assert_array_equal(a_projector.render(Injection(), times_s=_TIMES_S).frames, a_run.frames)


def test_a_run_without_contrast_is_empty(a_projector):
    run = a_projector.render(Injection(concentration_mg_ml=0.0), times_s=_TIMES_S)
    assert run.frames.max() == 0
    assert set(run.phases) == {"non_contrast"}


def test_half_the_iodine_casts_half_the_shadow(a_projector, a_run):
    half = a_projector.render(Injection(concentration_mg_ml=150.0), times_s=_TIMES_S)
    np.testing.assert_allclose(half.frames, 0.5 * a_run.frames, rtol=1e-4, atol=1e-4)


def test_a_late_start_shows_later_frames(a_projector):
    beats = 4 / (5 / 1.6)  # whole heart beats within the shift
    early = a_projector.render(Injection(heart_rate_hz=beats), times_s=_TIMES_S)
    late = a_projector.render(Injection(heart_rate_hz=beats, start_s=0.8 - 5 / 1.6), times_s=_TIMES_S)
    np.testing.assert_allclose(late.frames[:-5], early.frames[5:], atol=0.01 * early.frames.max())
    assert late.phases[0] != "non_contrast"


@pytest.mark.parametrize("vessel", ["ICA", "ECA", "CCA", "VA", "ARCH", "FEMORAL"])
def test_every_vessel_can_be_injected(a_patient, vessel):
    middle = {"ARCH": (0, 10, -230), "FEMORAL": (0, 0, 0)}.get(vessel, (0, 5, -40))
    view = ViewGeometry(0, 0, 1200, 800, (96, 96), 3.2, isocentre_mm=middle)
    run = render_iodine(a_patient, Injection(vessel, "right"), NO_OCCLUSION, view, _TIMES_S)
    assert run.frames.max() > 20
    assert run.artery_mask.any()


def test_left_and_right_injections_lie_on_opposite_sides_of_a_frontal_picture(a_projector):
    columns = np.arange(160)
    centre = {}
    for side in ("left", "right"):
        mask = a_projector.render(Injection("ICA", side), times_s=_TIMES_S[:2]).artery_mask
        centre[side] = (mask.sum(0) * columns).sum() / mask.sum()
    assert centre["left"] > 85 > 75 > centre["right"]


def test_a_lateral_view_shows_the_same_iodine_as_a_frontal_one(a_patient, a_run):
    lateral = render_iodine(a_patient, Injection(), NO_OCCLUSION, _view(90), _TIMES_S)
    frontal_mass, lateral_mass = a_run.frames[4:9].sum(), lateral.frames[4:9].sum()
    assert lateral_mass == pytest.approx(frontal_mass, rel=0.25)


def test_a_slow_circulation_delays_the_veins(a_projector):
    times = np.arange(0, 24, 0.8)
    runs = [a_projector.render(Injection(speed_scale=s), times_s=times) for s in (1.0, 0.6)]
    peak = [times[np.argmax(run.frames[:, run.vein_mask & ~run.artery_mask].mean(1))] for run in runs]
    assert 4 < peak[0] < 9
    assert peak[1] > peak[0] + 1.5
