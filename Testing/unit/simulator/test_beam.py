"""What the detector gets of a contrast, against the law it follows."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.simulator.acquisition import expose
from ClaireDSALib.simulator.beam import Beam, beam_behind
from ClaireDSALib.simulator.body import BodyLayers
from ClaireDSALib.simulator.collimator import Collimator
from ClaireDSALib.simulator.labels import Shown, contrast_visible, device_of
from ClaireDSALib.simulator.xray import Detector

ONE = np.ones((4, 5), np.float32)


def beam(primary: float, scatter: float, quanta: float = 1e5, **more: float) -> Beam:
    return Beam(primary * ONE, scatter * ONE, quanta, **{"blur_kept": 1.0, "electronic_noise": 0.0} | more)


def test_nothing_is_lost_where_nothing_scatters() -> None:
    assert np.allclose(beam(0.02, 0.0).detected(0.7 * ONE), 0.7, atol=1e-6)


def test_as_much_scatter_as_beam_halves_a_faint_contrast() -> None:
    assert np.allclose(beam(0.02, 0.02).detected(0.01 * ONE), 0.005, rtol=0.01)


def test_behind_dense_bone_only_scatter_is_left() -> None:
    assert float(beam(1e-5, 0.02).detected(2.0 * ONE).max()) < 1e-3


def test_what_was_there_from_the_start_counts_as_much_as_what_comes() -> None:
    plain, with_wire = beam(0.02, 0.01), beam(0.02 * np.exp(-0.4), 0.01)
    assert np.allclose(with_wire.detected(0.0, removed=0.4 * ONE), plain.detected(0.4 * ONE), atol=1e-6)


def test_a_device_that_moves_away_brightens() -> None:
    assert float(beam(0.02, 0.01).detected(-0.4 * ONE).max()) < 0


def test_noise_is_one_over_the_root_of_the_quanta() -> None:
    assert np.allclose(beam(0.02, 0.02, quanta=1e5).noise(), 1 / np.sqrt(4000), rtol=1e-5)


def test_noise_grows_behind_contrast_and_with_the_electronics() -> None:
    quiet, loud = beam(0.02, 0.0), beam(0.02, 0.0, electronic_noise=40.0)
    assert quiet.noise(1.0 * ONE).min() > quiet.noise().max()
    assert loud.noise().min() > quiet.noise().max()


def test_noise_stays_finite_where_nothing_arrives() -> None:
    dark = Beam(0 * ONE, 0 * ONE, 1e5, 1.0, 4.0)
    assert np.isfinite(dark.noise()).all()
    assert np.isfinite(dark.detected(1.0 * ONE)).all()


def test_the_detector_loses_as_much_contrast_as_the_beam_says() -> None:
    """Counts of a simulated exposure, averaged until the noise is gone, against the formula."""
    size, frames = 48, 60
    soft = np.full((size, size), 160.0, np.float32)
    layers = BodyLayers(soft, 0 * soft, 0 * soft)
    iodine = np.zeros((frames, size, size), np.float32)
    iodine[frames // 2 :, 20:28, 8:40] = 12.0
    detector = Detector(6000, scatter_to_primary=0.9, blur_px=0.0, electronic_noise=0, fluctuation=0)
    metal = np.zeros((size, size), np.float32)
    rng = np.random.default_rng(2)
    exposed = expose(layers, iodine, metal, metal, frames, None, Collimator(), detector, 0.3, rng)
    half = frames // 2
    seen = np.log(exposed.counts[:half].mean(0) / exposed.counts[half:].mean(0))[22:26, 12:36].mean()
    told = exposed.beam.detected(exposed.opacity)[22:26, 12:36].mean()
    assert seen == pytest.approx(told, rel=0.02)
    assert told < 0.75 * exposed.opacity[22:26, 12:36].mean()
    spread = np.log(exposed.counts[half:, 23, 12:36]).std(0, ddof=1).mean()
    assert spread == pytest.approx(exposed.beam.noise(exposed.opacity)[23, 12:36].mean(), rel=0.15)


def test_beam_of_a_detector_counts_its_photons_at_the_reference_level() -> None:
    made = beam_behind(0.01 * ONE, 0 * ONE, Detector(photons=5000, blur_px=0.0, electronic_noise=0.0), 0.01)
    assert np.allclose(made.noise(), 1 / np.sqrt(5000), rtol=1e-5)


def shown(**changed: np.ndarray) -> Shown:
    field = np.zeros((100, 100), np.float32)
    given = {"opacity": field, "device_opacity": field, "noise": field + 0.01} | changed
    return Shown(region=np.ones(field.shape, bool), artefact=0.0, **given)


def stripe(value: float) -> np.ndarray:
    field = np.zeros((100, 100), np.float32)
    field[40:44, 20:80] = value
    return field


def test_a_wire_behind_the_noisy_skull_base_is_no_device_shown() -> None:
    noisy = np.full((100, 100), 0.01, np.float32)
    assert device_of(shown(device_opacity=stripe(0.3)), 0.3) == "present"
    noisy[:, :] = 0.15
    assert device_of(shown(device_opacity=stripe(0.3), noise=noisy), 0.3) == "absent"


def test_contrast_counts_only_where_it_stands_out_of_the_local_noise() -> None:
    noisy = np.full((100, 100), 0.01, np.float32)
    assert contrast_visible(shown(opacity=stripe(0.2)))
    noisy[40:44, 20:80] = 0.15
    assert not contrast_visible(shown(opacity=stripe(0.2), noise=noisy))
