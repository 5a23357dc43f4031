"""Damaged and hostile files end in a result or a named error: never a crash, a hang or a blow-up of memory.

Mutations run in a process of their own, whose memory is limited: a crash of a native decoder or an
allocation that a lying header asked for is then a failing test and not a dead test run.
``CLAIRE_DSA_FUZZ_SECONDS`` sets the time (40 s unless told), ``CLAIRE_DSA_FUZZ_SEED`` the first seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ClaireDSALib.dsa.decode_codecs import FrameFormat, decode
from ClaireDSALib.dsa.decode_errors import DecodeError
from ClaireDSALib.dsa.read import read
from ClaireDSALib.dsa.series import DsaSeries
from Testing.unit.dsa_read import dicom_builder as build
from Testing.unit.dsa_read.fuzz_process import SLOWEST_FILE_S, use

SECONDS = float(os.environ.get("CLAIRE_DSA_FUZZ_SECONDS", "40"))
SEED = int(os.environ.get("CLAIRE_DSA_FUZZ_SEED", "0"))
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="memory limits of a process need POSIX")
@pytest.mark.timeout(SECONDS * 3 + 120)
def test_thousands_of_mutated_files_are_survived(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "Testing.unit.dsa_read.fuzz_process", str(tmp_path), str(SECONDS)]
    ran = subprocess.run(
        [*command, str(SEED)], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS * 2 + 90, check=False
    )
    last = (tmp_path / "last.txt").read_text() if (tmp_path / "last.txt").exists() else "nothing was tried"
    assert ran.returncode == 0, f"{last}\nexit code {ran.returncode}\n{ran.stderr[-3000:]}"
    outcome = json.loads(ran.stdout)
    assert outcome["files"] >= 5 * SECONDS
    assert outcome["read"] > 0
    assert outcome["refused"] > 0
    assert outcome["slowest_s"] < SLOWEST_FILE_S


HEADER_VALUES = {
    "Rows": st.integers(0, 65535),
    "Columns": st.integers(0, 65535),
    "NumberOfFrames": st.integers(-3, 2**31 - 1),
    "BitsAllocated": st.sampled_from([0, 1, 8, 12, 16, 32, 64, 65535]),
    "BitsStored": st.integers(0, 65535),
    "HighBit": st.integers(0, 65535),
    "PixelRepresentation": st.integers(0, 1),
    "SamplesPerPixel": st.integers(0, 4),
    "FrameTime": st.sampled_from(["0", "-1", "33.3", "1e30", "1e-30"]),
    "FrameTimeVector": st.lists(st.integers(-5, 500), max_size=12),
    "CineRate": st.integers(-5, 500),
    "ImagerPixelSpacing": st.lists(st.sampled_from(["0", "-1", "0.3", "1e9"]), max_size=3),
    "DistanceSourceToDetector": st.sampled_from(["0", "-1", "1200", "1e30"]),
    "DistanceSourceToPatient": st.sampled_from(["0", "800", "1e-30"]),
    "PositionerPrimaryAngle": st.sampled_from(["0", "90", "-1e9", "361"]),
    "PositionerPrimaryAngleIncrement": st.lists(st.sampled_from(["0", "5", "-1e9"]), max_size=9),
    "PixelPaddingValue": st.integers(0, 32767),
    "PixelIntensityRelationshipSign": st.integers(-2, 2),
    "WindowCenter": st.sampled_from(["0", "-1e30", "300"]),
    "WindowWidth": st.sampled_from(["0", "-1", "1e30"]),
    "RescaleSlope": st.sampled_from(["0", "-1", "1e30"]),
    "AcquisitionTime": st.text("0123456789.:x", max_size=12),
    "AcquisitionDate": st.text("0123456789.", max_size=10),
    "ShutterShape": st.sampled_from(["RECTANGULAR", "CIRCULAR", "POLYGONAL", ["RECTANGULAR", "CIRCULAR"]]),
    "ShutterLeftVerticalEdge": st.integers(-(2**31), 2**31 - 1),
    "RadiusOfCircularShutter": st.integers(-(2**31), 2**31 - 1),
    "CenterOfCircularShutter": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    "VerticesOfThePolygonalShutter": st.lists(st.integers(-99, 99), max_size=9),
    "Modality": st.sampled_from(["XA", "RF", "CT", "", "xa"]),
    "PhotometricInterpretation": st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", ""]),
}  # fmt: skip
HEADERS = st.fixed_dictionaries({}, optional=HEADER_VALUES)
MASKS = st.lists(
    st.fixed_dictionaries(
        {"MaskOperation": st.sampled_from(["NONE", "AVG_SUB", "TID", "REV_TID", "X", ""])},
        optional={
            "MaskFrameNumbers": st.lists(st.integers(0, 65535), max_size=4),
            "ApplicableFrameRange": st.lists(st.integers(0, 65535), max_size=5),
            "TIDOffset": st.integers(-(2**15), 2**15 - 1),
            "ContrastFrameAveraging": st.integers(0, 65535),
            "MaskSubPixelShift": st.lists(st.floats(width=32), max_size=3),
        },
    ),
    max_size=3,
)
A_FILE = build.raw_run(6, 24)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(header=HEADERS, masks=MASKS, syntax=st.sampled_from([*build.LOSSLESS, *build.LOSSY]))
def test_any_header_gives_a_valid_series_or_one_sentence(tmp_path_factory, header, masks, syntax):
    path = tmp_path_factory.getbasetemp() / "any_header.dcm"
    items = [build.item(**mask) for mask in masks]
    build.write_run(path, A_FILE, transfer_syntax=syntax, MaskSubtractionSequence=items, **header)
    found = read(path)
    assert len(found.series) + len(found.skipped) == 1
    for series in found.series:
        assert isinstance(series, DsaSeries)
        assert series.frame(0).max() <= series.max_value


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=400),
    syntax=st.sampled_from([build.RLE, build.JPEG_LS, build.JPEG_2000, build.HTJ2K, build.JPEG_EXTENDED]),
    start=st.sampled_from(
        [b"", b"\xff\xd8", b"\xff\xd8\xff\xc3", b"\xff\x4f\xff\x51", b"\x02\0\0\0", b"\xff\xd8\xff\xf7"]
    ),
)
def test_arbitrary_bytes_are_a_frame_or_a_decode_error(data, syntax, start):
    form = FrameFormat(24, 24, 16, syntax)
    with contextlib.suppress(DecodeError):
        assert decode(start + data, form).shape == (24, 24)


def test_the_process_that_mutates_notices_a_result_that_breaks_the_contract(tmp_path, monkeypatch):
    path = build.write_run(tmp_path / "run.dcm", A_FILE)
    assert use(path) == "read"
    monkeypatch.setattr("Testing.unit.dsa_read.fuzz_process.read", lambda path: read(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        use(path)
