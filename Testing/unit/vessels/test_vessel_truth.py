"""Which vessels count as shown, on iodine whose answer is known; and a simulated set with that truth."""

from types import SimpleNamespace

import numpy as np
import pytest

from ClaireDSALib.simulator.shown_vessels import shown_vessels

PER_MG = 0.015


def _iodine(artery=0.0, vein=0.0, blush=0.0, peak=None):
    """Column 10 to 13 is artery, column 30 to 33 vein; the geometry of both is everywhere known."""
    artery_mask, vein_mask = np.zeros((2, 40, 40), bool)
    artery_mask[:, 10:14], vein_mask[:, 30:34] = True, True
    artery_peak, vein_peak = artery * artery_mask, vein * vein_mask
    blush_peak = np.full((40, 40), float(blush))
    total = artery_peak + vein_peak + blush_peak if peak is None else np.full((40, 40), float(peak))
    return SimpleNamespace(
        artery_mask=artery_mask,
        vein_mask=vein_mask,
        artery_peak=artery_peak,
        vein_peak=vein_peak,
        blush_peak=blush_peak,
        peak=total,
    )


def _shown(iodine, noise=0.005, **keywords):
    region = np.ones((40, 40), bool)
    keywords = {"blur_px": 0.3} | keywords
    return shown_vessels(iodine, (PER_MG * iodine.peak).astype(np.float32), noise, region, **keywords)


def test_filled_arteries_and_veins_are_shown_where_they_are():
    iodine = _iodine(artery=30, vein=20)
    arteries, veins = _shown(iodine)
    np.testing.assert_array_equal(arteries, iodine.artery_mask)
    np.testing.assert_array_equal(veins, iodine.vein_mask)


def test_an_unfilled_vein_under_blush_is_not_shown():
    arteries, veins = _shown(_iodine(artery=30, vein=0, blush=10))
    assert arteries.any()
    assert not veins.any()


def test_what_does_not_rise_above_the_blush_or_the_noise_is_not_shown():
    iodine = _iodine(artery=30, vein=20, blush=40, peak=40)
    assert not any(mask.any() for mask in _shown(iodine))
    arteries, veins = _shown(_iodine(artery=30, vein=20), noise=0.2)
    assert arteries.any()
    assert not veins.any()


def test_noise_hides_vessels_where_it_is_and_nowhere_else():
    noise = np.full((40, 40), 0.005, np.float32)
    noise[20:] = 0.4
    arteries, _ = _shown(_iodine(artery=30), noise=noise)
    assert arteries[:20, 10:14].all()
    assert not arteries[20:].any()


def test_a_twig_that_the_detector_blurs_away_is_not_shown():
    iodine = _iodine(artery=30)
    iodine.artery_peak[:, 20] = iodine.peak[:, 20] = 5.0
    assert _shown(iodine)[0][:, 20].all()
    assert not _shown(iodine, blur_px=1.5)[0][:, 20].any()


def test_a_refluxed_artery_counts_and_a_speck_does_not():
    iodine = _iodine(artery=30)
    iodine.artery_peak[20:30, 20:24] = iodine.peak[20:30, 20:24] = 20.0
    iodine.artery_peak[4, 20] = iodine.peak[4, 20] = 0.0
    assert _shown(iodine)[0][20:30, 20:24].all()
    large = np.zeros((400, 400), np.float32)
    large[100:110, 100:110] = large[300, 300] = 30
    nothing = np.zeros_like(large)
    wide = SimpleNamespace(artery_peak=large, vein_peak=nothing, blush_peak=nothing, peak=large)
    arteries, _ = shown_vessels(wide, PER_MG * large, 0.005, np.ones(large.shape, bool), blur_px=0.3)
    assert arteries[105, 105]
    assert not arteries[300, 300]


def test_nothing_is_shown_without_contrast():
    assert not any(mask.any() for mask in _shown(_iodine(artery=30), contrast=False))


def test_a_simulated_set_holds_peak_and_truth_and_is_continued_not_repeated(tmp_path):
    pytest.importorskip("torch", reason="the simulator's detector")
    from ClaireDSALib.training.vessel_examples import load_examples
    from ClaireDSALib.training.vessel_set import VesselSetPlan, make_vessel_set, packed, unpacked

    plan = VesselSetPlan(tmp_path, patients=1, runs=2, sizes_px=(64,))
    make_vessel_set(plan)
    before = (tmp_path / "index.jsonl").read_text()
    make_vessel_set(plan)
    assert (tmp_path / "index.jsonl").read_text() == before
    examples = load_examples(tmp_path)
    assert examples
    for one in examples:
        assert one.image.shape == (5, 64, 64)
        assert one.times is not None
        assert one.times.shape == (4, 64, 64)
        assert one.truth.dtype == bool
        np.testing.assert_array_equal(one.truth[0], one.truth[1] | one.truth[2])
    values = np.linspace(-0.5, 1.5, 50)
    np.testing.assert_allclose(unpacked(packed(values * 3.0, 3.0)), values, atol=0.005)
