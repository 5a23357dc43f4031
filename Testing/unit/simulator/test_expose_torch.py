"""The detector on a torch device follows the law of the one in NumPy; tried on CPU tensors where there is no GPU."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the GPU path needs torch")

from ClaireDSALib.simulator.case import simulate_case  # noqa: E402
from ClaireDSALib.simulator.expose_torch import Exposure, check_device, count_frames  # noqa: E402
from ClaireDSALib.simulator.xray import Detector, count  # noqa: E402

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
_QUIET = Detector(photons=1e9, electronic_noise=0.0, blur_px=0.6)


@pytest.fixture
def a_slab():
    """Two frames of a slab with an attenuation step, behind a collimator, with scatter."""
    attenuation = np.full((2, 64, 64), 2.0, np.float32)
    attenuation[:, :, 32:] = 3.0
    opening = np.ones((64, 64), np.float32)
    opening[:8] = 0.0
    scatter = np.full((64, 64), 0.01, np.float32)
    return attenuation, Exposure(opening, scatter, None, 1, 0.1, np.array([0.0, 0.05]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("blur_px", [0.0, 0.6, 1.2])
def test_without_noise_the_counts_are_those_of_the_numpy_detector(a_slab, device, blur_px):
    attenuation, exposure = a_slab
    detector = replace(_QUIET, blur_px=blur_px)
    found = count_frames(attenuation, exposure, detector, seed=1, device=device)
    for number in range(2):
        primary = np.exp(-attenuation[number]) * exposure.opening + exposure.scatter
        expected = count(primary, detector, 0.1, np.random.default_rng(0), drift=exposure.drift[number])
        np.testing.assert_allclose(found[number], expected, rtol=2e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_the_variance_of_the_counts_is_their_mean(a_slab, device):
    attenuation, exposure = a_slab
    detector = Detector(photons=4000, electronic_noise=0.0, blur_px=0.0)
    stack = np.repeat(attenuation[:1], 400, 0)
    found = count_frames(stack, replace(exposure, drift=np.zeros(400)), detector, seed=3, device=device)
    inside = found[:, 10:, :]
    np.testing.assert_allclose(inside.var(0).mean(), inside.mean(), rtol=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_gives_the_same_counts_on_the_same_device(a_slab, device):
    attenuation, exposure = a_slab
    detector = Detector()
    one, two, other = (count_frames(attenuation, exposure, detector, seed=s, device=device) for s in (7, 7, 8))
    np.testing.assert_array_equal(one, two)
    assert (one != other).mean() > 0.9


def test_devices_that_appear_later_darken_only_later_frames(a_slab):
    attenuation, exposure = a_slab
    wire = np.ones((64, 64), np.float32)
    wire[30] = 0.2
    found = count_frames(attenuation, replace(exposure, late=wire), replace(_QUIET, blur_px=0.0), seed=1, device="cpu")
    assert found[1, 30].mean() < 0.5 * found[0, 30].mean()


@pytest.mark.parametrize("device", ["cpu:0", *DEVICES[1:]])
def test_a_case_simulated_with_torch_shows_what_numpy_shows(device):
    here, there = (simulate_case(5, runs=2, size=128, device=d).runs for d in ("cpu", device))
    for one, other in zip(here, there, strict=True):
        assert one.labels == other.labels
        np.testing.assert_array_equal(one.opacity, other.opacity)
        assert one.frames.shape == other.frames.shape
        np.testing.assert_allclose(one.frames.std(0).mean(), other.frames.std(0).mean(), rtol=0.1)


def test_an_absent_gpu_and_an_unknown_device_are_named():
    with pytest.raises(ValueError, match="must be cpu or cuda; got 'tpu'"):
        check_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no CUDA device"):
            check_device("cuda")
