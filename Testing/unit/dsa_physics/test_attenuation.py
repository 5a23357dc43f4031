import numpy as np
import pytest

from ClaireDSALib.dsa.attenuation import DISPLAY_SPAN, attenuation_curve
from ClaireDSALib.dsa.series import DsaSeries, Intensity


def series_of(relation, bits=12, **attributes):
    frames = np.zeros((2, 4, 4), np.uint16)
    return DsaSeries.from_array(frames, intensity=Intensity(bits_stored=bits, relation=relation), **attributes)


@pytest.mark.parametrize("relation", ["LIN", "unknown"])
def test_linear_pixels_follow_beer_and_lambert(relation):
    curve = attenuation_curve(series_of(relation))
    intensity = 3000 * np.exp(-np.array([0.0, 0.5, 1.5]))
    np.testing.assert_allclose(np.diff(curve(intensity)), [0.5, 1.0], rtol=1e-5)


@pytest.mark.parametrize("relation", ["LOG", "DISP"])
def test_logarithmic_pixels_are_scaled_not_logged_again(relation):
    curve = attenuation_curve(series_of(relation))
    values = np.array([0.0, 1000.0, 2000.0])
    np.testing.assert_allclose(np.diff(curve(values)), -1000 * np.log(4096) / 4095, rtol=1e-5)


def test_a_subtracted_run_spans_the_display():
    curve = attenuation_curve(series_of("LIN", subtraction_state="subtracted"))
    np.testing.assert_allclose(curve(np.array([0.0, 4095.0])), [0, -DISPLAY_SPAN], rtol=1e-6)


@pytest.mark.parametrize("relation", ["LIN", "LOG", "DISP", "unknown"])
def test_attenuation_never_rises_with_the_stored_value(relation):
    table = attenuation_curve(series_of(relation)).table(np.dtype(np.uint16))
    assert table.shape == (65536,)
    assert table.dtype == np.float32
    assert np.all(np.diff(table) <= 0)
    assert np.isfinite(table).all()
