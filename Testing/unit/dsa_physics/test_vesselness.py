import itertools

import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.vesselness import SIGMAS_PX, frangi, sato


def ridge(sigma, size=160, angle_deg=0.0, height=1.0):
    """A straight ridge with a Gaussian profile through the middle."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    a = np.deg2rad(angle_deg)
    return height * np.exp(-((x * np.cos(a) + y * np.sin(a)) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("width", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0])
def test_the_height_of_a_gaussian_ridge_has_its_closed_form(width, sigma):
    answer = sato(ridge(width), [sigma])[78:82, 78:82].max()
    expected = sigma**2 * width / (sigma**2 + width**2) ** 1.5
    off_centre = 1 - 1.5 * 0.25 / (width**2 + sigma**2)  # the nearest pixel lies half a pixel beside the crest
    assert answer == pytest.approx(expected * off_centre, rel=0.03)


@pytest.mark.parametrize("vesselness", [frangi, sato])
def test_the_order_of_the_scales_does_not_matter(vesselness):
    picture = np.random.default_rng(0).normal(size=(64, 70)).astype(np.float32)
    answers = [vesselness(picture, order) for order in itertools.permutations((1.0, 2.5, 5.0))]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
    np.testing.assert_array_equal(vesselness(picture, (5.0, 1.0, 1.0, 2.5)), answers[0])


@pytest.mark.parametrize("angle", [0, 30, 45, 60, 90])
def test_ridges_answer_alike_in_every_direction(angle):
    upright = sato(ridge(2.5))[60:100, 60:100].max()
    assert sato(ridge(2.5, angle_deg=angle))[60:100, 60:100].max() == pytest.approx(upright, rel=0.03)


def test_frangi_prefers_lines_to_blobs_and_ignores_valleys():
    y, x = np.mgrid[:96, :96] - 47.5
    blob = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    line = ridge(3.0, 96)
    assert frangi(line, [3.0], gamma=0.2)[47, 47] > 3 * frangi(blob, [3.0], gamma=0.2)[47, 47]
    assert frangi(-line, [3.0], gamma=0.2)[47, 47] == 0


def test_frangis_answer_is_its_formula():
    answer = frangi(ridge(3.0, 96), [3.0], gamma=0.2)[47, 47]
    structure = sato(ridge(3.0, 96), [3.0])[47, 47]
    assert answer == pytest.approx(1 - np.exp(-(structure**2) / (2 * 0.2**2)), rel=2e-3)


def frangi_by_the_book(picture, sigma, gamma, beta=0.5):
    """Equation 15 with derivatives of Gaussians in double precision."""
    rr, rc, cc = (
        sigma**2 * ndimage.gaussian_filter(picture, sigma, order=order, truncate=6)
        for order in ((2, 0), (1, 1), (0, 2))
    )
    mean, root = (rr + cc) / 2, np.hypot((rr - cc) / 2, rc)
    weak, strong = np.where(mean < 0, [mean + root, mean - root], [mean - root, mean + root])
    blob = np.divide(weak, strong, out=np.zeros_like(weak), where=strong != 0) ** 2
    answer = np.exp(-blob / (2 * beta**2)) * (1 - np.exp(-(weak**2 + strong**2) / (2 * gamma**2)))
    return np.where(strong < 0, answer, 0)


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0, 6.0])
def test_frangi_by_second_differences_equals_frangi_by_the_book(sigma):
    picture = ridge(2.0, 128, 20) + 0.6 * ridge(4.0, 128, 110)
    difference = np.abs(frangi(picture, [sigma], gamma=0.15) - frangi_by_the_book(picture, sigma, 0.15))[16:-16, 16:-16]
    assert difference.mean() < 0.01
    assert np.percentile(difference, 98) < 0.06  # more only where the curvatures are equal and their order jumps


def test_a_larger_gamma_asks_for_more_contrast():
    picture = ridge(2.0, 64)
    assert frangi(picture, gamma=0.5).max() < frangi(picture, gamma=0.1).max()


def test_frangi_with_its_own_gamma_does_not_care_about_the_unit():
    picture = ridge(2.0, 96) + 0.05 * np.random.default_rng(0).normal(size=(96, 96))
    np.testing.assert_allclose(frangi(picture * 512), frangi(picture), atol=2e-3)


def test_sato_keeps_the_unit():
    picture = ridge(2.0, 96)
    np.testing.assert_allclose(sato(picture * 512), 512 * sato(picture), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("vesselness", [frangi, sato])
def test_flat_pictures_have_no_vessels(vesselness):
    assert not vesselness(np.full((40, 40), 3.0)).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (17, 19), (257, 130)])
def test_any_shape_comes_back_in_its_shape(shape):
    picture = np.random.default_rng(0).random(shape)
    for vesselness in (frangi, sato):
        answer = vesselness(picture, (1.0, 4.0, 12.0))
        assert answer.shape == shape
        assert answer.dtype == np.float32
        assert np.isfinite(answer).all()
        assert answer.min() >= 0


def test_the_scale_that_fits_answers_most():
    answers = [sato(ridge(3.0), [sigma])[80, 80] for sigma in SIGMAS_PX]
    assert int(np.argmax(answers)) == 3  # sqrt(2) * 3 = 4.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"picture": np.zeros((3, 3, 3)), "sigmas_px": [1]}, r"finite \(H, W\) picture; got shape \(3, 3, 3\)"),
        ({"picture": np.array([[np.nan]]), "sigmas_px": [1]}, "finite"),
        ({"picture": np.zeros((9, 9)), "sigmas_px": []}, "at least one"),
        ({"picture": np.zeros((9, 9)), "sigmas_px": [1, 0]}, "positive"),
        ({"picture": np.zeros((9, 9)), "sigmas_px": [1], "gamma": -1}, "beta and gamma must be positive"),
    ],
)
def test_senseless_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        frangi(**arguments)
