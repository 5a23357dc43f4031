import numpy as np
import pytest

from ClaireDSALib.dsa.attenuation import attenuation_curve
from ClaireDSALib.dsa.display_curve import POWERS, display_power, noise_exponent
from ClaireDSALib.dsa.series import DsaSeries, Intensity
from ClaireDSALib.dsa.subtraction import MaskChoice, subtract

SIDE, FRAMES = 192, 10
BRIGHTEST = 4000.0


@pytest.fixture(scope="module")
def intensity():
    """(T, H, W) share of the unattenuated beam: a wedge of bone, photons counted; one vessel from frame 5 on."""
    wedge = np.exp(-np.linspace(0, 2.2, SIDE))[None, :] * np.ones((SIDE, 1))
    clean = np.repeat(wedge[None], FRAMES, axis=0)
    clean[5:, 90:102] *= np.exp(-0.4)
    return np.random.default_rng(1).poisson(clean * BRIGHTEST) / BRIGHTEST


def display(values, bits=12):
    stored = np.round(np.clip(values, 0, 1) * (2**bits - 1)).astype(np.uint16)
    return DsaSeries.from_array(stored, intensity=Intensity(bits_stored=bits, relation="DISP"))


@pytest.mark.parametrize("power", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("bits", [8, 12])
def test_the_power_of_display_pixels_is_read_off_their_noise(intensity, power, bits):
    series = display((0.9 * intensity) ** power, bits)
    assert noise_exponent(series) == pytest.approx(1 - 1 / (2 * power), abs=0.1)
    assert display_power(series) == pytest.approx(power, rel=0.12)


@pytest.mark.parametrize("power", [0.7, 1.0, 1.5])
def test_a_vessel_is_as_opaque_behind_bone_as_beside_it(intensity, power):
    opacity = subtract(display((0.9 * intensity) ** power), MaskChoice((0, 1, 2, 3, 4))).to_array()[5:].mean(0)
    bright, dark = opacity[92:100, 4:34].mean(), opacity[92:100, -34:-4].mean()
    assert bright == pytest.approx(0.4, rel=0.12)
    assert dark == pytest.approx(bright, rel=0.1)


def test_logarithmic_display_pixels_are_not_logged_again(intensity):
    series = display(0.95 + np.log(np.maximum(intensity, 1e-3)) / 4)
    assert noise_exponent(series) < 0
    assert display_power(series) is None
    curve = attenuation_curve(series)
    assert not curve.logarithmic
    assert curve.slope == pytest.approx(np.log(4096) / 4095)


def test_clipped_pixels_say_nothing_about_the_curve(intensity):
    assert display_power(display(2.0 * intensity)) == pytest.approx(1.0, rel=0.15)


def test_pixels_outside_the_collimator_say_nothing_about_the_curve(intensity):
    painted = intensity.copy()
    painted[:, :, :60] = np.random.default_rng(2).normal(0.9, 0.001, painted[:, :, :60].shape)
    region = np.ones((SIDE, SIDE), bool)
    region[:, :60] = False
    whole = display(painted)
    inside = DsaSeries.from_array(whole.to_array(), intensity=whole.intensity, valid_region=region)
    assert display_power(whole) != pytest.approx(1.0, rel=0.15)
    assert display_power(inside) == pytest.approx(1.0, rel=0.15)


def test_frames_between_which_much_moves_say_nothing_about_the_curve(intensity):
    moved = intensity.copy()
    moved[6:, :, 100:] *= np.random.default_rng(4).uniform(0.7, 1.3, moved[6:, :, 100:].shape)
    assert display_power(display(0.9 * moved)) == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(
    "frames",
    [
        np.full((1, SIDE, SIDE), 0.4),
        np.full((4, SIDE, SIDE), 0.4),
        np.random.default_rng(0).poisson(np.tile(np.linspace(200, 900, 64), (4, 64, 1))) / 1000,
        np.random.default_rng(0).normal(0.5, 0.01, (4, SIDE, SIDE)),
    ],
    ids=["one frame", "no noise", "too few pixels", "one brightness"],
)
def test_without_noise_over_brightness_the_curve_is_not_known(frames):
    series = display(frames)
    assert noise_exponent(series) is None
    assert not attenuation_curve(series).logarithmic


def test_the_power_stays_within_its_limits():
    rng = np.random.default_rng(3)
    wedge = np.linspace(0.1, 0.9, SIDE)[None, None] * np.ones((FRAMES, SIDE, 1))
    steep = display(np.clip(wedge * (1 + 0.05 * wedge**2 * rng.standard_normal(wedge.shape)), 0, 1))
    assert noise_exponent(steep) > 1
    assert display_power(steep) == POWERS[1]
