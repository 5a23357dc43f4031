"""A stored series is the series."""

import dataclasses
import json

import numpy as np
import pytest

from ClaireDSALib.dsa.series import DsaSeries, FrameRef, Geometry, Identity, Intensity, MaskOperation
from ClaireDSALib.pipeline.series_store import load_series, save_series


@pytest.fixture
def a_described_series() -> DsaSeries:
    frames = np.random.default_rng(0).integers(0, 4096, (3, 6, 7), dtype=np.uint16)
    region = np.ones((6, 7), bool)
    region[0] = False
    return DsaSeries.from_array(
        frames,
        times_s=[0.0, 0.333, 1.333],
        run_id="run",
        frame_refs=tuple(FrameRef("1.2.3", n + 1) for n in range(3)),
        identity=Identity(series_uid="1.2", series_number=4),
        geometry=Geometry(pixel_spacing_mm=(0.2, 0.21), view="ap", primary_angle_deg=2.0),
        intensity=Intensity(bits_stored=12, relation="LOG", window=(100.0, 50.0)),
        subtraction_state="unsubtracted",
        mask_operations=(MaskOperation("AVG_SUB", (0, 1), ((1, 2),), sub_pixel_shift=(0.5, -0.25)),),
        valid_region=region,
        warnings=("spacing is unknown",),
    )


def test_a_stored_series_reads_back_equal(tmp_path, a_described_series):
    loaded = load_series(save_series(tmp_path / "s", a_described_series))
    np.testing.assert_array_equal(loaded.to_array(), a_described_series.to_array())
    np.testing.assert_array_equal(loaded.valid_region, a_described_series.valid_region)
    np.testing.assert_array_equal(loaded.times_s, a_described_series.times_s)
    for field in dataclasses.fields(DsaSeries):
        if field.name not in ("frames", "valid_region", "times_s"):
            assert getattr(loaded, field.name) == getattr(a_described_series, field.name), field.name


def test_stored_frames_are_mapped_not_loaded(tmp_path, a_described_series):
    loaded = load_series(save_series(tmp_path / "s", a_described_series))
    assert isinstance(loaded.frame(0).base, np.memmap)


def test_a_store_of_another_version_is_refused(tmp_path, a_described_series):
    folder = save_series(tmp_path / "s", a_described_series)
    data = json.loads((folder / "series.json").read_text()) | {"version": 99}
    (folder / "series.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="stored series of version 99; this program reads 1"):
        load_series(folder)
