import numpy as np
import pytest

from ClaireDSALib.dsa.contrast import contrast_curve
from ClaireDSALib.dsa.series import DsaSeries, Intensity
from ClaireDSALib.dsa.subtraction import choose_mask, why_no_mask

LIN = Intensity(bits_stored=16, relation="LIN")


def injected(opacities, *, size=192, noise=0.01, shift_px=0, gain=None, seed=0):
    """A skull-like shading with thin bones, and a vessel of the given opacity in every frame."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    head = 1.2 * np.exp(-(((x - size / 2) ** 2 + (y - size / 2) ** 2) / (0.35 * size) ** 2))
    bones = sum(0.3 * np.exp(-(((x - c * size) / 2.5) ** 2)) for c in (0.2, 0.8))
    vessel = np.exp(-(((x - size / 2 - 0.1 * size * np.sin(y / 20)) / 3.0) ** 2)) * (y > size / 4)
    frames = []
    for number, opacity in enumerate(opacities):
        attenuation = head + bones + opacity * vessel
        if shift_px:
            attenuation = ndimage.shift(attenuation, (0, rng.uniform(-shift_px, shift_px)), order=1, mode="nearest")
        scale = 1.0 if gain is None else gain[number]
        frames.append(30000 * scale * np.exp(-attenuation + noise * rng.standard_normal((size, size))))
    return np.clip(frames, 1, 65535).astype(np.uint16)


RISE = [0, 0, 0, 0, 0, 0.2, 0.6, 0.9, 1.0, 0.8, 0.5, 0.3]


def series_of(frames, **attributes):
    return DsaSeries.from_array(frames, intensity=LIN, **attributes)


def test_the_frames_before_the_contrast_are_found():
    curve = contrast_curve(series_of(injected(RISE)))
    assert curve.contrast_free == (0, 1, 2, 3, 4)
    assert curve.arrival_frame == 5
    assert curve.reason == ""


def test_the_mask_leaves_out_the_last_frame_before_the_contrast():
    choice = choose_mask(series_of(injected(RISE)))
    assert choice.frames == (0, 1, 2, 3)
    assert choice.source == "estimated"


def test_many_free_frames_give_the_five_nearest_in_time():
    choice = choose_mask(series_of(injected([0] * 12 + RISE[5:])))
    assert choice.frames == (6, 7, 8, 9, 10)


def test_one_free_frame_is_enough():
    assert choose_mask(series_of(injected([0, 0.5, 1.0, 0.8]))).frames == (0,)


def test_two_frames_make_a_mask_and_a_picture():
    assert choose_mask(series_of(injected([0, 1.0]))).frames == (0,)


@pytest.mark.parametrize("seed", range(3))
def test_bones_that_wander_a_little_are_not_taken_for_contrast(seed):
    curve = contrast_curve(series_of(injected(RISE, shift_px=1.5, seed=seed)))
    assert curve.contrast_free == (0, 1, 2, 3, 4)


def test_exposure_that_drifts_is_not_taken_for_contrast():
    gain = np.linspace(1.3, 0.8, len(RISE))
    assert contrast_curve(series_of(injected(RISE, gain=gain))).contrast_free == (0, 1, 2, 3, 4)


def test_low_dose_does_not_hide_the_arrival():
    assert contrast_curve(series_of(injected(RISE, noise=0.08))).contrast_free == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("opacities", [[1.0, 0.9, 0.7, 0.4, 0.2, 0.1, 0, 0], [0.8, 1.0, 0.9, 0.3, 0.1, 0]])
def test_contrast_from_the_first_frame_on_gives_no_mask_and_says_so(opacities):
    series = series_of(injected(opacities))
    assert choose_mask(series) is None
    assert why_no_mask(series) == "contrast is in the picture from the first frame on"


@pytest.mark.parametrize("opacity", [0.0, 0.7])
def test_a_run_that_does_not_change_gives_no_mask_and_says_so(opacity):
    series = series_of(injected([opacity] * 6))
    assert choose_mask(series) is None
    assert "no arrival of contrast is seen" in why_no_mask(series)


def test_constant_frames_give_no_mask_and_no_warning():
    assert choose_mask(series_of(np.full((5, 40, 40), 777, np.uint16))) is None


def test_a_single_frame_gives_no_mask():
    curve = contrast_curve(series_of(injected([0.0])))
    assert curve.contrast_free == ()
    assert curve.reason == "a run of 1 frame has no frame to spare as mask"


def test_an_unsteady_first_frame_is_left_out_of_the_mask():
    frames = injected([0, *RISE])
    frames[0] = injected([0], noise=0.01, seed=9)[0]
    y = np.arange(192)[:, None]
    frames[0] = (frames[0] * np.exp(-0.9 * np.exp(-(((y - 40) / 3.0) ** 2)))).astype(np.uint16)
    curve = contrast_curve(series_of(frames))
    assert 0 not in curve.contrast_free
    assert curve.contrast_free[-1] == 5


def test_the_curve_follows_the_bolus():
    curve = contrast_curve(series_of(injected(RISE), times_s=np.arange(12) * 0.5))
    assert curve.opacity.shape == curve.onset.shape == (12,)
    correlation = np.corrcoef(curve.opacity, RISE)[0, 1]
    assert correlation > 0.99
    assert abs(curve.opacity[:5]).max() < 0.05 * curve.opacity.max()


def test_it_works_on_eight_bits_and_inside_shutters():
    frames = (injected(RISE) >> 7).astype(np.uint8)
    region = np.zeros((192, 192), bool)
    region[10:-10, 20:-20] = True
    frames[:, ~region] = 3
    series = DsaSeries.from_array(frames, intensity=Intensity(bits_stored=8, relation="LIN"), valid_region=region)
    assert contrast_curve(series).contrast_free == (0, 1, 2, 3, 4)


def test_large_frames_are_decoded_once_each(lazily):
    series = lazily(injected(RISE))
    contrast_curve(series, workers=2)
    assert sorted(series.frames.reads) == list(range(12))
