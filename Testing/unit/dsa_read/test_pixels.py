"""Contrast is dark after reading, whatever the file does; and what was done is recorded."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.dsa.read import examine, read
from ClaireDSALib.dsa.read_polarity import darkening
from Testing.unit.dsa_read import dicom_builder as build

TOP = 4095


def one(tmp_path, frames, **attributes):
    attributes.setdefault("FrameTime", 250)
    attributes.setdefault("bits_stored", 12)
    return read(build.write_run(tmp_path / "run.dcm", frames, **attributes)).series[0]


def test_dark_contrast_stays_as_it_is(tmp_path):
    frames = build.raw_run(8, 128)
    series = one(tmp_path, frames, PixelIntensityRelationship="LIN")
    np.testing.assert_array_equal(series.to_array(), frames)
    assert not series.intensity.inverted
    assert series.intensity.relation == "LIN"
    assert series.intensity.polarity_source == "PixelIntensityRelationship"


def test_the_sign_of_the_intensity_relationship_inverts(tmp_path):
    frames = build.raw_run(8, 128)
    series = one(tmp_path, TOP - frames, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=-1)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.inverted
    assert series.intensity.polarity_source == "PixelIntensityRelationshipSign"


def test_monochrome1_inverts(tmp_path):
    frames = build.raw_run(8, 128)
    series = one(tmp_path, TOP - frames, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(series.to_array(), frames)
    assert (series.intensity.photometric, series.intensity.polarity_source) == (
        "MONOCHROME1",
        "PhotometricInterpretation",
    )


@pytest.mark.parametrize("make", [build.raw_run, build.subtracted_run])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_bright_contrast_without_any_tag_is_seen_in_the_pixels(tmp_path, make, bits):
    frames = make(9, 256, bits)
    series = one(tmp_path, 2**bits - 1 - frames, bits_stored=bits)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.inverted
    assert series.intensity.polarity_source == "pixels"


@pytest.mark.parametrize("make", [build.raw_run, build.subtracted_run])
def test_dark_contrast_without_any_tag_is_confirmed_by_the_pixels(tmp_path, make):
    frames = make(9, 256, 12)
    series = one(tmp_path, frames)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert not series.intensity.inverted
    assert series.intensity.polarity_source == "pixels"


def test_pixels_overrule_a_wrong_tag_with_a_warning(tmp_path):
    frames = build.subtracted_run(9, 256)
    series = one(tmp_path, frames, PixelIntensityRelationshipSign=-1)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert not series.intensity.inverted
    assert any("PixelIntensityRelationshipSign says otherwise" in warning for warning in series.warnings)


def test_examination_of_headers_alone_believes_the_tag(tmp_path):
    path = build.write_run(tmp_path / "run.dcm", build.subtracted_run(9, 256), PixelIntensityRelationshipSign=-1)
    assert examine(path).series[0].intensity.inverted


def test_the_evidence_turns_round_with_the_values():
    small = build.raw_run(5, 128).astype(np.float32)
    assert darkening(small) == pytest.approx(-darkening(TOP - small), abs=1e-3)
    assert darkening(small) > 0


def test_contrast_that_arrives_and_stays_does_not_pass_for_bright_contrast():
    rng = np.random.default_rng(0)
    frames = np.full((16, 64, 64), 2000.0) + rng.normal(0, 8, (16, 64, 64))
    frames[5:, :, 30:34] *= np.exp(-1.0)
    assert darkening(frames.astype(np.float32)) >= 0


def test_a_run_in_which_nothing_happens_gives_no_evidence():
    assert darkening(np.ones((5, 64, 64), np.float32)) is None
    assert darkening(build.raw_run(3, 64).astype(np.float32)) is None


def test_a_negative_rescale_slope_inverts_values_and_window(tmp_path):
    frames = build.raw_run(8, 128)
    series = one(tmp_path, TOP - frames, RescaleSlope=-1, RescaleIntercept=TOP, WindowCenter=1000, WindowWidth=600)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.window == (1000, 600)


def test_the_window_of_signed_values_moves_with_them(tmp_path):
    frames = build.raw_run(8, 64)
    stored = frames.astype(np.int16) - 2048
    series = one(tmp_path, stored, WindowCenter=-48, WindowWidth=600)
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.window == (2000, 600)


def lut(values, first=0, bits=12):
    item = build.item(
        ModalityLUTType="US",
        LUTDescriptor=[len(values) % 65536, first, bits],
        LUTData=np.array(values, "<u2").tobytes(),
    )
    return {"ModalityLUTSequence": [item]}


def test_a_modality_lut_makes_logarithmic_values_linear(tmp_path):
    linear = build.raw_run(8, 64, 12)
    stored = np.round(np.log1p(linear) / np.log1p(TOP) * TOP).astype(np.uint16)
    table = np.clip(np.round(np.expm1(np.arange(TOP + 1) / TOP * np.log1p(TOP))), 0, TOP).astype(int)
    series = one(tmp_path, stored, PixelIntensityRelationship="LOG", **lut(table.tolist()))
    np.testing.assert_array_equal(series.to_array(), table[stored])
    assert series.intensity.relation == "LIN"


def test_a_falling_modality_lut_inverts(tmp_path):
    frames = build.raw_run(8, 64, 12)
    series = one(tmp_path, TOP - frames, **lut(list(range(TOP, -1, -1))))
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.inverted


@pytest.mark.parametrize("values", [[0, 5, 3, 9], [7, 7, 7]])
def test_a_modality_lut_that_is_not_monotone_is_left_out_with_a_warning(tmp_path, values):
    frames = build.raw_run(8, 64, 12)
    series = one(tmp_path, frames, **lut(values))
    np.testing.assert_array_equal(series.to_array(), frames)
    assert any("modality LUT" in warning for warning in series.warnings)


@pytest.mark.parametrize("stored", [0, 17, 99])
def test_impossible_bits_stored_fall_back_to_the_container(tmp_path, stored):
    series = one(tmp_path, build.raw_run(3, 16), BitsStored=stored)
    assert series.intensity.bits_stored == 16


def test_the_largest_value_fits_the_bits(tmp_path):
    series = one(tmp_path, build.raw_run(3, 16, 10), bits_stored=10)
    assert series.max_value == 1023
    assert series.to_array().max() <= 1023
