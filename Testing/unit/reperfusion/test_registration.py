"""A run that was moved on purpose is moved back by as much."""

import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.run_registration import LEAST_SIMILARITY, register
from ClaireDSALib.dsa.small_run import SmallRun

TIMES = np.arange(16) * 0.75


def _moved(picture, shift, angle_deg):
    """Content shifted by (row, column) pixels and turned about the centre."""
    turned = ndimage.rotate(picture, angle_deg, reshape=False, order=3, mode="reflect")
    return ndimage.shift(turned, shift, order=3, mode="reflect").astype(np.float32)


@pytest.mark.parametrize(("shift", "angle_deg"), [((0, 0), 0.0), ((3.0, -5.0), 0.0), ((-2.0, 1.5), 4.0)])
def test_a_moved_run_is_laid_back(head, skull, shift, angle_deg):
    before = SmallRun(head().astype(np.float32), TIMES, background=skull.astype(np.float32))
    frames = np.stack([_moved(frame, shift, angle_deg) for frame in head()])
    found = register(before, SmallRun(frames, TIMES, background=_moved(skull, shift, angle_deg)))
    assert abs(found.rotation_deg) == pytest.approx(angle_deg, abs=0.6)
    back = found.pull(frames)
    inner = np.s_[12:-12, 12:-12]
    peak = head().max(0)[inner]
    assert np.abs(back.max(0)[inner] - peak).mean() < 0.1 * peak.mean()
    assert found.similarity > 0.8


def test_pixels_of_another_size_are_scaled(head, skull):
    before = SmallRun(head().astype(np.float32), TIMES, background=skull.astype(np.float32))
    half = SmallRun(head()[:, ::2, ::2].astype(np.float32), TIMES, background=skull[::2, ::2].astype(np.float32))
    found = register(before, half, scale=0.5)
    assert found.pull(half.opacity).shape == before.opacity.shape
    assert np.hypot(*found.shift_px) < 1.5


def test_vessels_serve_where_there_is_no_bone(head):
    before = SmallRun(head().astype(np.float32), TIMES)
    after = SmallRun(np.roll(head(), 4, axis=2).astype(np.float32), TIMES)
    found = register(before, after)
    assert found.source == "vessels"
    assert found.shift_px[1] == pytest.approx(4, abs=0.7)


def test_pictures_that_do_not_match_are_refused():
    rng = np.random.default_rng(5)
    runs = [SmallRun(rng.random((4, 64, 64)).astype(np.float32), np.arange(4.0)) for _ in range(2)]
    with pytest.raises(ValueError, match=f"at least {LEAST_SIMILARITY}"):
        register(*runs)
