import colorsys

import numpy as np
import pytest

from ClaireDSALib.dsa.color_summary import color_summary, legend, legend_image
from ClaireDSALib.dsa.maps import TemporalMaps


def maps_with(times, opacity):
    times, opacity = np.asarray(times, np.float32), np.asarray(opacity, np.float32)
    return TemporalMaps(times, times, opacity, opacity, times)


def hue_of(rgb):
    return colorsys.rgb_to_hsv(*(np.asarray(rgb) / 255))[0]


def test_hue_runs_from_red_to_blue_with_time():
    times = np.linspace(1, 5, 200)[None]
    picture = color_summary(maps_with(times, np.ones((1, 200))))
    hues = [hue_of(rgb) for rgb in picture[0]]
    assert picture.dtype == np.uint8
    assert hues[0] == pytest.approx(0.0, abs=0.01)
    assert hues[-1] == pytest.approx(0.64, abs=0.01)
    assert np.all(np.diff(hues) > -1e-6)


def test_brightness_grows_with_opacity_and_hue_does_not():
    picture = color_summary(maps_with(np.tile([[1.0], [2.0]], (1, 50)), np.tile(np.linspace(0.05, 1, 50), (2, 1))))
    bright = picture.max(axis=-1).astype(int)
    assert np.all(np.diff(bright, axis=1) >= 0)
    assert bright[0, -1] == 255
    assert np.ptp([hue_of(c) for c in picture[1, 20:]]) < 0.02


def test_no_contrast_is_black():
    picture = color_summary(maps_with([[np.nan, 1.0]], [[np.nan, 0.5]]))
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 1].max() == 255
    assert not color_summary(maps_with(np.full((3, 3), np.nan), np.full((3, 3), np.nan))).any()


def test_the_legend_has_round_seconds_inside_its_range():
    scale = legend(maps_with(np.linspace(0.7, 8.4, 5000)[None], np.ones((1, 5000))))
    assert scale.ticks_s == (2.0, 4.0, 6.0, 8.0)
    assert all(scale.first_s <= t <= scale.last_s for t in scale.ticks_s)
    assert scale.position(scale.first_s) == 0
    assert scale.position(scale.last_s) == 1
    assert scale.position(-5) == 0
    assert scale.colors.shape == (256, 3)


def test_a_pixel_has_the_colour_the_legend_gives_its_time():
    times = np.linspace(0, 10, 101)[None]
    maps = maps_with(times, np.ones((1, 101)))
    scale = legend(maps)
    picture = color_summary(maps)
    for index in (10, 40, 77):
        expected = scale.colors[round(scale.position(times[0, index]) * 255)]
        np.testing.assert_allclose(picture[0, index].astype(int), expected.astype(int), atol=8)


def test_a_run_whose_pixels_all_peak_together_has_one_tick():
    scale = legend(maps_with(np.full((4, 4), 2.5), np.ones((4, 4))))
    assert scale.ticks_s == (2.5,)
    assert legend(maps_with(np.full((2, 2), np.nan), np.ones((2, 2)))).ticks_s == (0.0,)


def test_another_map_can_give_the_colours():
    maps = maps_with([[1.0, 2.0]], [[1.0, 1.0]])
    assert hue_of(color_summary(maps, times_s=np.array([[9.0, 3.0]]))[0, 1]) == pytest.approx(0.0, abs=0.02)


def test_the_legend_picture_is_early_at_the_bottom():
    scale = legend(maps_with(np.linspace(0, 4, 100)[None], np.ones((1, 100))))
    bar = legend_image(scale, height=101, width=20)
    assert bar.shape == (101, 20, 3)
    assert hue_of(bar[-1, 0]) == pytest.approx(0.0, abs=0.01)
    assert hue_of(bar[0, 0]) == pytest.approx(0.64, abs=0.01)
    assert (bar[:, -1] == 255).all(axis=1).sum() == len(scale.ticks_s)
