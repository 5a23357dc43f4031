"""Beer-Lambert, noise and rays against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.simulator.body import CORTICAL_DENSITY, Body, BodyLayers, resize
from ClaireDSALib.simulator.geometry import ViewGeometry
from ClaireDSALib.simulator.xray import (
    BIN_WEIGHT,
    BONE_PER_MM,
    IODINE_CM2_PER_MG,
    SOFT_PER_MM,
    Detector,
    attenuation_bins,
    contrast_opacity,
    count,
    transmit,
)


def _layers(soft: float, far: float = 0.0, near: float = 0.0, n: int = 8) -> BodyLayers:
    return BodyLayers(*(np.full((n, n), v, np.float32) for v in (soft, far, near)))


def test_a_slab_of_water_and_bone_transmits_what_beer_and_lambert_say():
    got = transmit(attenuation_bins(_layers(150.0, 6.0, 8.0)))
    expected = sum(w * np.exp(-s * 150 - b * 14) for w, s, b in zip(BIN_WEIGHT, SOFT_PER_MM, BONE_PER_MM, strict=True))
    assert np.allclose(got, expected, rtol=1e-4)


def test_iodine_alone_darkens_by_the_weighted_sum_of_both_bins():
    iodine = np.full((8, 8), 40.0, np.float32)
    got = contrast_opacity(attenuation_bins(_layers(0.0)), iodine)
    expected = -np.log(sum(w * np.exp(-m * 40) for w, m in zip(BIN_WEIGHT, IODINE_CM2_PER_MG, strict=True)))
    assert np.allclose(got, expected, rtol=1e-4)


def test_a_thicker_body_hardens_the_beam_and_lowers_the_opacity_of_the_same_iodine():
    iodine = np.full((8, 8), 40.0, np.float32)
    thin, thick = (contrast_opacity(attenuation_bins(_layers(soft, 5, 5)), iodine)[0, 0] for soft in (50.0, 200.0))
    assert thick < thin


@pytest.mark.parametrize("photons", [500.0, 2000.0, 20000.0])
def test_noise_variance_equals_the_mean_number_of_quanta(photons: float):
    detector = Detector(photons=photons, blur_px=0.0, electronic_noise=0.0)
    counts = count(np.full((400, 400), 0.01, np.float32), detector, 0.01, np.random.default_rng(0))
    assert counts.mean() == pytest.approx(photons, rel=2e-3)
    assert counts.var() == pytest.approx(photons, rel=0.02)


def test_blur_keeps_the_sum_and_spreads_a_point_by_its_variance():
    detector = Detector(photons=1e8, blur_px=0.7, electronic_noise=0.0)
    image = np.full((41, 41), 1e-6, np.float32)
    image[20, 20] = 1.0
    spread = count(image.copy(), detector, 1.0, np.random.default_rng(0)) / 1e8
    rows = np.arange(41)[:, None] - 20.0
    weight = spread - 1e-6
    assert weight.sum() == pytest.approx(1.0, rel=1e-3)
    assert (weight * rows**2).sum() == pytest.approx(0.49, rel=0.02)


def test_scatter_and_detector_settings_must_make_sense():
    with pytest.raises(ValueError, match="photons must be positive"):
        Detector(photons=0)
    with pytest.raises(ValueError, match="must not be negative"):
        Detector(glare=-0.1)


@pytest.mark.parametrize("primary_deg", [0.0, 37.0, 90.0])
def test_rays_through_a_ball_measure_its_chord_from_every_side(primary_deg: float):
    axis = np.arange(-60, 61, 1.0)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    occupancy = np.clip(40 - distance + 0.5, 0, 1)
    body = Body(occupancy.astype(np.float32), (-60.0, -60.0, -60.0), (1.0, 1.0, 1.0))
    view = ViewGeometry(primary_deg, 0.0, 1200.0, 750.0, (65, 65), 3.0)
    layers = body.cast(view, (65, 65))
    assert layers.soft_mm[32, 32] == pytest.approx(80.0, abs=1.0)
    assert layers.soft_mm[0, 0] == 0.0
    assert float(layers.bone_far_mm.max()) == 0.0


def test_bone_is_told_from_soft_tissue_and_split_between_the_halves():
    density = np.ones((60, 60, 60), np.float32)
    density[:, :10] = CORTICAL_DENSITY
    body = Body(density, (-29.5, -29.5, -29.5), (1.0, 1.0, 1.0))
    layers = body.cast(ViewGeometry(0.0, 0.0, 1200.0, 750.0, (33, 33), 3.0), (33, 33))
    # The detector stands in front of the face (negative y), where the bone is.
    assert layers.bone_near_mm[16, 16] == pytest.approx(10.0, abs=1.0)
    assert layers.bone_far_mm[16, 16] == 0.0
    assert layers.soft_mm[16, 16] == pytest.approx(60.0, abs=1.2)


def test_resizing_keeps_a_linear_ramp():
    ramp = np.add.outer(np.arange(16.0), 2 * np.arange(16.0))
    doubled = resize(ramp, (32, 32))
    inner = doubled[2:-2, 2:-2]
    assert np.allclose(np.diff(inner, axis=0), 0.5, atol=1e-4)
    assert np.allclose(np.diff(inner, axis=1), 1.0, atol=1e-4)
