"""Every encoding of one run gives the same pixels; an encoding that cannot be read says what to do."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from ClaireDSALib.dsa.decode_codecs import FrameFormat, decode, refusal
from ClaireDSALib.dsa.decode_errors import DecodeError
from ClaireDSALib.dsa.read import read
from Testing.unit.dsa_read import dicom_builder as build


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", build.LOSSLESS)
def test_lossless_encodings_give_the_stored_values_back(tmp_path, syntax, bits):
    frames = build.raw_run(5, 40, bits)
    path = build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=syntax, FrameTime=250)
    series = read(path).series[0]
    assert series.frames.dtype == frames.dtype
    np.testing.assert_array_equal(series.to_array(), frames)


@pytest.mark.parametrize(("syntax", "tolerance"), [(build.JPEG_LS_NEAR, 2), (build.JPEG_2000, 60), (build.HTJ2K, 60)])
def test_lossy_encodings_stay_close_to_the_stored_values(tmp_path, syntax, tolerance):
    frames = build.raw_run(3, 64, 12)
    series = read(build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=syntax, FrameTime=250)).series[0]
    assert np.abs(series.to_array().astype(int) - frames).max() <= tolerance


@pytest.mark.parametrize(("syntax", "bits"), [(build.JPEG_BASELINE, 8), (build.JPEG_EXTENDED, 12)])
def test_dct_jpeg_is_read_in_eight_and_in_twelve_bits(tmp_path, syntax, bits):
    frames = build.raw_run(3, 64, bits)
    path = build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=syntax, bits_stored=bits, FrameTime=250)
    series = read(path).series[0]
    assert series.frames.dtype == frames.dtype
    assert np.abs(series.to_array().astype(int) - frames).mean() < 0.006 * 2**bits


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_all_predictors_of_lossless_jpeg_are_exact(predictor, bits):
    top = 2**bits
    frame = np.random.default_rng(predictor).integers(0, top, (21, 33)).astype(np.uint8 if bits == 8 else np.uint16)
    form = FrameFormat(21, 33, 8 * frame.dtype.itemsize, build.JPEG_LOSSLESS)
    decoded = decode(build.lossless_jpeg(frame, predictor, bits), form)
    np.testing.assert_array_equal(decoded, frame)


@pytest.mark.parametrize("syntax", [build.JPEG_LOSSLESS_SV1, build.JPEG_LS, build.JPEG_2000_LOSSLESS, build.RLE])
def test_signed_values_become_unsigned_in_the_same_order(tmp_path, syntax):
    frames = build.raw_run(3, 32, 12).astype(np.int32) - 2048
    stored = (frames & 0xFFF).astype(np.uint16)
    path = build.write_run(tmp_path / "run.dcm", stored, transfer_syntax=syntax, bits_stored=12, PixelRepresentation=1)
    np.testing.assert_array_equal(read(path).series[0].to_array(), frames + 2048)


def test_several_fragments_per_frame_are_joined(tmp_path):
    frames = build.raw_run(4, 64)
    path = build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=build.JPEG_LS, fragments_per_frame=3)
    np.testing.assert_array_equal(read(path).series[0].to_array(), frames)


def test_several_fragments_without_an_offset_table_are_told_apart_by_their_start(tmp_path):
    frames = build.raw_run(4, 64)
    ds = build.build(frames, transfer_syntax=build.JPEG_LS)
    encoded = [build.encode(frame, build.JPEG_LS, 12) for frame in frames]
    ds.PixelData = encapsulate(encoded, fragments_per_frame=2, has_bot=False)
    np.testing.assert_array_equal(read(build.save(ds, tmp_path / "run.dcm")).series[0].to_array(), frames)


def test_the_extended_offset_table_is_passed_over(tmp_path):
    frames = build.raw_run(4, 64)
    path = build.write_run(tmp_path / "run.dcm", frames, transfer_syntax=build.JPEG_LS, extended_offsets=True)
    np.testing.assert_array_equal(read(path).series[0].to_array(), frames)


def test_bits_above_the_stored_ones_are_ignored(tmp_path):
    frames = build.raw_run(3, 32, 10)
    overlay = frames | np.uint16(0xF000)
    path = build.write_run(tmp_path / "run.dcm", overlay, bits_stored=10)
    np.testing.assert_array_equal(read(path).series[0].to_array(), frames)


def test_values_shifted_up_by_high_bit_come_down(tmp_path):
    frames = build.raw_run(3, 32, 12)
    path = build.write_run(tmp_path / "run.dcm", frames << 4, bits_stored=12, HighBit=15)
    np.testing.assert_array_equal(read(path).series[0].to_array(), frames)


def test_a_stream_with_more_bits_than_promised_keeps_them_and_says_so(tmp_path):
    frames = build.raw_run(3, 32, 12)
    path = build.write_run(
        tmp_path / "run.dcm", frames, transfer_syntax=build.JPEG_LOSSLESS_SV1, BitsStored=10, HighBit=9
    )
    series = read(path).series[0]
    np.testing.assert_array_equal(series.to_array(), frames)
    assert series.intensity.bits_stored == 12
    assert any("12 bits" in warning for warning in series.warnings)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.53"])
def test_an_undecodable_syntax_names_its_uid_and_what_to_do(tmp_path, uid):
    ds = build.build(build.raw_run(2, 16), transfer_syntax=build.RLE)
    ds.file_meta.TransferSyntaxUID = UID(uid)
    found = read(build.save(ds, tmp_path / "run.dcm"))
    assert not found.series
    assert uid in found.skipped[0].reason
    assert "convert" in found.skipped[0].reason


def test_a_missing_decoder_names_what_to_install(monkeypatch):
    monkeypatch.setattr(imagecodecs.JPEG2K, "available", False)
    assert "pip install -U imagecodecs" in refusal(build.HTJ2K)


@pytest.mark.parametrize("syntax", [build.JPEG_LOSSLESS_SV1, build.JPEG_LS, build.JPEG_2000_LOSSLESS, build.HTJ2K])
def test_a_stream_larger_than_the_header_promises_is_refused_before_it_is_decoded(tmp_path, syntax):
    path = build.write_run(tmp_path / "run.dcm", build.raw_run(2, 64), transfer_syntax=syntax, Rows=32, Columns=32)
    found = read(path)
    assert "64 x 64" in found.skipped[0].reason
    assert "32 x 32" in found.skipped[0].reason


def test_a_damaged_frame_names_its_number_and_spares_the_others(tmp_path):
    frames = build.raw_run(9, 64)
    encoded = [build.encode(frame, build.JPEG_LS, 12) for frame in frames]
    encoded[3] = encoded[3][:40] + b"\xff\xd9" + bytes(60)  # frames 1, 3, 5, 7 and 9 are looked at while reading
    ds = build.build(frames, transfer_syntax=build.JPEG_LS)
    ds.PixelData = encapsulate(encoded)
    series = read(build.save(ds, tmp_path / "run.dcm")).series[0]
    np.testing.assert_array_equal(series.frame(4), frames[4])
    with pytest.raises(DecodeError, match="frame 4 of run"):
        series.frame(3)
