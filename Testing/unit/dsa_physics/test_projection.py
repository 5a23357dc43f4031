import numpy as np
import pytest

from ClaireDSALib.dsa.projection import minip, minip_of_array, project
from ClaireDSALib.dsa.series import DsaSeries


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("workers", [1, 2, 5, 50])
def test_streamed_projections_equal_numpys_own_in_value_and_type(lazily, dtype, workers):
    frames = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (7, 33, 41), dtype=dtype, endpoint=True)
    found = project(lazily(frames), workers=workers)
    np.testing.assert_array_equal(found["min"], frames.min(0))
    np.testing.assert_array_equal(found["max"], frames.max(0))
    np.testing.assert_allclose(found["mean"], frames.mean(0), rtol=1e-6)
    assert found["min"].dtype == found["max"].dtype == dtype
    assert found["mean"].dtype == np.float32


def test_every_frame_is_decoded_once_whatever_is_projected(lazily):
    series = lazily(np.zeros((9, 4, 4), np.uint16))
    project(series, ("min", "max", "mean"))
    assert sorted(series.frames.reads) == list(range(9))


def test_only_the_frames_asked_for_count(lazily):
    frames = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    series = lazily(frames)
    assert minip(series, frames=[3, 2, 4]).tolist() == [[2, 2], [2, 2]]
    assert sorted(series.frames.reads) == [2, 3, 4]
    assert minip(DsaSeries.from_array(frames), frames=(3, 4)).tolist() == [[3, 3], [3, 3]]


def test_projections_do_not_change_their_input():
    frames = np.random.default_rng(0).integers(0, 255, (4, 8, 8), dtype=np.uint8)
    before = frames.copy()
    result = minip(DsaSeries.from_array(frames))
    result[:] = 0
    np.testing.assert_array_equal(frames, before)


def test_the_order_of_the_frames_does_not_matter(lazily):
    frames = np.random.default_rng(1).integers(0, 4096, (6, 16, 16)).astype(np.uint16)
    np.testing.assert_array_equal(minip(lazily(frames)), minip(lazily(frames[::-1])))


def test_a_single_frame_is_its_own_projection(lazily):
    frames = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    for projection in project(lazily(frames)).values():
        np.testing.assert_array_equal(projection, frames[0])


def test_the_mean_of_many_bright_frames_does_not_overflow(lazily):
    frames = np.full((300, 2, 2), 65535, np.uint16)
    assert np.all(project(lazily(frames), ("mean",))["mean"] == 65535)


def test_wrong_requests_are_refused_with_what_was_asked(lazily):
    series = lazily(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"unknown projections \['median'\]"):
        project(series, ("median",))
    with pytest.raises(ValueError, match="at least one frame"):
        minip(series, frames=[])
    with pytest.raises(ValueError, match=r"must lie in 0\.\.2; got 1\.\.3"):
        minip(series, frames=[1, 3])
    with pytest.raises(ValueError, match=r"\(0, 2, 2\)"):
        minip_of_array(np.zeros((0, 2, 2)))


def test_memory_stays_at_a_few_frames_however_long_the_run():
    import tracemalloc

    side, n_frames = 512, 60
    frame_bytes = side * side * 2

    class Generated:
        shape, dtype = (n_frames, side, side), np.dtype(np.uint16)

        def read(self, index):
            return np.full((side, side), 1000 + index, np.uint16)

    series = DsaSeries("made", Generated(), times_s=np.arange(n_frames))
    tracemalloc.start()
    result = minip(series, workers=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.all(result == 1000)
    assert peak < 8 * frame_bytes
