"""Motion, looks and delivery."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.subtraction import subtracted_minip
from ClaireDSALib.simulator.acquisition import frame_times
from ClaireDSALib.simulator.as_series import series_of
from ClaireDSALib.simulator.case import take_run
from ClaireDSALib.simulator.collimator import Collimator
from ClaireDSALib.simulator.motion import Motion, artefact_level, fit_motion, grade_of, translate
from ClaireDSALib.simulator.vendor import (
    LOOKS,
    VendorLook,
    kept_of_contrast,
    modality_table,
    store_intensity,
    store_opacity,
)
from ClaireDSALib.simulator.xray import Detector


def test_variable_runs_slow_down_and_times_grow():
    times = frame_times("variable", 20, 3.0)
    assert times[0] == 0
    assert np.all(np.diff(times) > 0)
    assert np.diff(times)[0] == pytest.approx(1 / 3, abs=1e-5)
    assert np.diff(times)[-1] == pytest.approx(2.0)


def test_translation_moves_a_point_by_whole_and_by_half_pixels():
    image = np.zeros((11, 11), np.float32)
    image[5, 5] = 1
    assert translate(image, 2, -3)[7, 2] == 1
    half = translate(image, 0.5, 0)
    assert half[5, 5] == pytest.approx(0.5)
    assert half[6, 5] == pytest.approx(0.5)


@pytest.mark.parametrize("grade", ["none", "mild", "severe"])
def test_motion_is_scaled_to_the_grade_it_is_asked_for(grade: str):
    rng = np.random.default_rng(2)
    ramp = np.cumsum(rng.normal(0, 0.05, (96, 96)), axis=1).astype(np.float32)
    shift = np.linspace(0, 1, 6)[:, None] * np.array([0.2, 1.0])
    motion = Motion("drift", shift, np.zeros(6))
    fitted, level = fit_motion(motion, grade, ramp, np.ones((96, 96), bool), 0.6, rng)  # type: ignore[arg-type]
    assert grade_of(level) == grade
    assert artefact_level(fitted, 0, ramp, np.ones((96, 96), bool), 0.6) == 0.0


def test_a_motion_free_run_without_noise_subtracts_to_the_noise_free_opacity(patient, small_plan):
    still = replace(
        small_plan,
        detector=Detector(photons=1e9, scatter_to_primary=0, glare=0, blur_px=0, electronic_noise=0, fluctuation=0),
        look=VendorLook(bits=16, white_level=0.5),
        motion_grade="none",
    )
    run = take_run(patient, still, "clean")
    opacity = subtracted_minip(series_of(run))
    strong = run.opacity > 0.3
    assert strong.sum() > 100
    # Only rounding to 16 bits and the small motion that even the best runs have may differ.
    assert np.median(np.abs(opacity[strong] - run.opacity[strong])) < 0.02


def test_the_darkest_vessel_is_where_the_geometry_says_it_is(small_case):
    run = small_case.runs[0]
    strongest = np.unravel_index(run.opacity.argmax(), run.opacity.shape)
    assert run.iodine.artery_mask[strongest] or run.iodine.vein_mask[strongest]


def test_what_is_visible_is_a_vessel_of_the_geometry_as_the_detector_blurs_it(small_case):
    for run in small_case.runs:
        geometry = run.iodine.artery_mask | run.iodine.vein_mask
        assert np.any(run.visible & ~geometry)
        assert not np.any(run.visible & ~ndimage.binary_dilation(geometry)), "by one neighbouring pixel, not more"


CLEAN = Detector(photons=1e7, scatter_to_primary=0, glare=0, blur_px=0.3, electronic_noise=0, fluctuation=0)


def test_a_clean_detector_shows_every_vessel_of_the_geometry_that_adds_a_tenth_of_opacity(patient, small_plan):
    run = take_run(patient, replace(small_plan, detector=CLEAN, delivery="subtracted"), "clean")
    iodine = run.iodine
    vessel_share = 1 - iodine.blush_peak / np.maximum(iodine.peak, 1e-9)
    filled = (iodine.artery_mask | iodine.vein_mask) & run.region & (run.opacity * vessel_share > 0.1)
    assert filled.sum() > 300
    assert run.visible[filled].all()


def test_scatter_hides_vessels_and_shows_no_others(patient, small_plan):
    clean = take_run(patient, replace(small_plan, detector=CLEAN), "clean").visible
    foggy = take_run(patient, replace(small_plan, detector=replace(CLEAN, scatter_to_primary=3.0)), "foggy").visible
    assert 0 < foggy.sum() < 0.95 * clean.sum()
    assert (foggy & ~clean).sum() < 0.01 * clean.sum()


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_every_look_keeps_contrast_dark(name: str):
    look = LOOKS[name]
    counts = np.full((2, 32, 32), 4000.0, np.float32)
    counts[1, 16] = 1500.0
    for stored in (store_intensity(counts, look, 6000.0), store_opacity(counts, counts[0], look)):
        assert stored.max() <= look.max_value
        assert stored[1, 16].mean() < stored[1, 4].mean()


def test_the_modality_table_of_log_pixels_restores_intensity():
    look = VendorLook("log", "LOG", 12, white_level=0.9)
    counts = np.linspace(300, 3000, 64, dtype=np.float32).reshape(1, 8, 8)
    linear = modality_table(look)[store_intensity(counts, look, 4000.0)].astype(float)  # type: ignore[index]
    ratio = linear / counts
    assert np.ptp(ratio) / ratio.mean() < 0.01


def test_subtracted_pixels_show_opacity_on_the_scale_of_the_look():
    look = VendorLook("plain", bits=12, background=0.8, opacity_range=1.6)
    mask = np.full((8, 8), 1000.0, np.float32)
    frames = (mask * np.exp(-0.8))[None]
    assert np.allclose(store_opacity(frames, mask, look) / look.max_value, 0.4, atol=1e-3)


def test_looks_reject_what_dicom_cannot_hold():
    with pytest.raises(ValueError, match="bits must be 8, 10, 12 or 16"):
        VendorLook(bits=13)
    with pytest.raises(ValueError, match="LOG pixels need MONOCHROME2"):
        VendorLook(relation="LOG", photometric="MONOCHROME1")


def test_a_circular_collimator_covers_the_area_of_its_circle():
    region = Collimator("circular", radius=0.8).valid_region((200, 200))
    assert region.mean() == pytest.approx(np.pi * 0.16, rel=0.01)


def test_collimator_edges_are_soft():
    opening = Collimator("rectangular", (0.2, 1.0, 0.0, 1.0), softness_px=3.0, leakage=0.0).opening((64, 64))
    profile = opening[32]
    assert profile[0] < 1e-3
    assert profile[40] > 0.999
    assert ((profile > 0.05) & (profile < 0.95)).sum() >= 5


@pytest.mark.parametrize("name", ["linear", "east", "south", "classic"])
def test_contrast_is_lost_where_the_console_is_white_with_and_without_it(name: str):
    look = LOOKS[name]
    clear = np.full((3, 64), 500.0, np.float32)
    clear[1], clear[2] = 1e6, 1e-3
    dark = clear * np.float32(np.exp(-0.5))
    kept = kept_of_contrast(clear, dark, look, 1000.0)
    assert np.allclose(kept[0], 1.0, atol=1e-5)
    assert np.all(kept[1:] == 0.0)
    stored = store_intensity(np.stack([clear, dark]), look, 1000.0)
    assert (stored[0, 0] > stored[1, 0]).all()
    assert (stored[0, 1] == stored[1, 1]).all()


def test_contrast_that_brings_a_white_pixel_into_range_is_kept_in_part():
    look = VendorLook(bits=12, white_level=0.5)
    clear = np.full((2, 2), 4000.0, np.float32)  # twice what is white
    dark = clear * np.float32(np.exp(-1.0))
    assert np.allclose(kept_of_contrast(clear, dark, look, 1000.0), 1 - np.log(2), atol=1e-5)


def test_where_there_is_no_contrast_all_of_it_is_kept():
    clear = np.full((2, 2), 4000.0, np.float32)
    assert np.all(kept_of_contrast(clear, clear, LOOKS["south"], 1000.0) == 1.0)


def test_a_saturated_console_shows_fewer_vessels(patient, small_plan):
    plain = replace(small_plan, detector=CLEAN, delivery="unsubtracted", look=VendorLook(bits=12, white_level=0.3))
    glaring = replace(plain, look=replace(plain.look, white_level=6.0))
    shown, left = (take_run(patient, one, "x").visible for one in (plain, glaring))
    assert left.sum() < 0.8 * shown.sum()
    assert not np.any(left & ~ndimage.binary_dilation(shown, iterations=2))


def test_vessels_of_a_run_that_is_delivered_subtracted_lie_where_the_patient_moved_them(patient, small_plan):
    sharp = Detector(photons=1e9, scatter_to_primary=0, glare=0, blur_px=0, electronic_noise=0, fluctuation=0)
    plan = replace(small_plan, detector=sharp, motion_kind="table", motion_grade="severe", delivery="subtracted")
    moved = take_run(patient, plan, "moved")
    still = take_run(patient, replace(plan, motion_grade="none"), "still")
    masked = take_run(patient, replace(plan, delivery="unsubtracted"), "masked")
    assert np.abs(moved.motion.shift_mm).max() > 0.5 * plan.view.isocentre_spacing_mm
    np.testing.assert_array_equal(masked.opacity, still.opacity, "its frames can be moved back onto the mask")
    assert (moved.visible != still.visible).mean() > 0.002
    seen = subtracted_minip(series_of(moved))
    gone, come = still.visible & ~moved.visible, moved.visible & ~still.visible
    assert come.any()
    assert seen[come].mean() > (seen[gone].mean() if gone.any() else 0)
