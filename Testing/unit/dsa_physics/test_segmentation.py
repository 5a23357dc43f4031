import numpy as np
import pytest
from scipy import ndimage

from ClaireDSALib.dsa.segmentation import centerline_of, measure, segment_classical

KEYS = {"fraction", "length_px", "mean_diameter_px", "length_mm", "mean_diameter_mm"}


def tree(size=256, noise=0.01, seed=0):
    """A peak opacity with a trunk and three branches on a sloping background, and its true mask."""
    y, x = np.mgrid[:size, :size] * (256 / size)
    distance = np.abs(x - 128 - 12 * np.sin(y / 30)) / 5.0
    for slope, start, half_width in ((0.7, 60, 2.0), (-0.9, 110, 1.6), (0.5, 160, 1.2)):
        along = (y - start) * np.sign(slope) * 0 + (y - start)
        branch = np.abs(x - 128 - slope * along * 1.2 - 12 * np.sin(start / 30)) / half_width
        distance = np.minimum(distance, np.where((along > 0) & (along < 80), branch, np.inf))
    truth = distance <= 1
    opacity = 0.6 * np.sqrt(np.clip(1.4 - distance**2, 0, None) / 1.4) + 0.05 * (x / 256)
    noisy = opacity + noise * np.random.default_rng(seed).standard_normal(opacity.shape)
    return noisy.astype(np.float32), truth


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.85), (0.01, 0.85), (0.03, 0.8), (0.08, 0.7)])
def test_a_tree_is_found_also_under_noise(noise, least):
    opacity, truth = tree(noise=noise)
    assert dice(segment_classical(opacity=opacity).mask, truth) > least


def test_a_clip_of_metal_does_not_hide_the_vessels():
    opacity, truth = tree()
    opacity[100:104, 30:34] = 5.0
    assert np.count_nonzero(segment_classical(opacity=opacity).mask & truth) > 0.8 * np.count_nonzero(truth)


@pytest.mark.parametrize("size", [128, 512, 1024])
def test_it_works_at_any_size(size):
    opacity, truth = tree(size)
    assert dice(segment_classical(opacity=opacity).mask, truth) > 0.8


def test_the_unit_of_the_picture_does_not_matter():
    opacity, _ = tree()
    once = segment_classical(opacity=opacity)
    scaled = segment_classical(opacity=opacity * 256 + 1024)
    assert dice(once.mask, scaled.mask) > 0.98
    assert scaled.threshold == pytest.approx(256 * once.threshold, rel=0.05)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_minip_is_dark_where_the_vessels_are(dtype):
    opacity, truth = tree()
    full = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    minip = (full * np.clip(0.9 - 0.5 * opacity, 0, 1)).astype(dtype)
    assert dice(segment_classical(minip).mask, truth) > 0.85


def test_the_centre_lines_lie_in_the_mask_and_are_thin():
    opacity, _ = tree()
    found = segment_classical(opacity=opacity)
    assert found.centerline.any()
    assert np.all(found.mask[found.centerline])
    assert found.centerline.sum() < 0.35 * found.mask.sum()
    assert set(found.measurements) == KEYS


def test_specks_are_dropped():
    opacity, truth = tree()
    rng = np.random.default_rng(3)
    for row, column in rng.integers(8, 248, (40, 2)):
        if not ndimage.binary_dilation(truth, iterations=6)[row, column]:
            opacity[row : row + 2, column : column + 2] = 0.5
    sizes = np.bincount(ndimage.label(segment_classical(opacity=opacity).mask, np.ones((3, 3)))[0].ravel())[1:]
    assert sizes.min() >= round(2e-4 * opacity.size)


def test_the_edge_of_a_shutter_is_no_vessel():
    opacity, truth = tree()
    region = np.zeros(opacity.shape, bool)
    region[20:-20, 30:-30] = True
    shuttered = np.where(region, opacity, 3.0).astype(np.float32)
    found = segment_classical(opacity=shuttered, valid_region=region)
    assert not found.mask[~region].any()
    assert dice(found.mask, truth & region) > 0.8
    ring = region & ~ndimage.binary_erosion(region, iterations=5)
    assert (found.mask & ring & ~truth).sum() < 0.02 * ring.sum()


def test_dark_corners_of_a_minip_are_found_without_being_told():
    opacity, truth = tree()
    minip = (60000 * np.clip(0.9 - 0.5 * opacity, 0, 1)).astype(np.uint16)
    y, x = np.mgrid[:256, :256] - 127.5
    round_field = np.hypot(x, y) < 120
    minip[~round_field] = 100
    found = segment_classical(minip)
    assert not found.mask[np.hypot(x, y) > 124].any()
    assert dice(found.mask, truth & round_field) > 0.8


def test_an_opacity_without_contrast_gives_an_empty_mask():
    found = segment_classical(opacity=np.zeros((64, 64), np.float32))
    assert not found.mask.any()
    assert found.measurements["length_px"] == 0
    assert found.measurements["mean_diameter_px"] == 0


def test_a_region_that_leaves_nothing_gives_an_empty_mask():
    found = segment_classical(opacity=tree()[0], valid_region=np.zeros((256, 256), bool))
    assert not found.mask.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a minip or an opacity"),
        ({"minip": np.zeros((64, 64)), "opacity": np.zeros((64, 64))}, "either a minip or an opacity"),
        ({"minip": np.zeros((64, 64), np.uint8)}, "every pixel of the MinIP is 0; there is nothing to segment"),
        ({"minip": np.zeros((16, 16), np.uint8)}, r"at least 32 x 32.*got shape \(16, 16\)"),
        ({"minip": np.zeros((2, 64, 64), np.uint8)}, r"got shape \(2, 64, 64\)"),
        ({"opacity": np.full((64, 64), np.nan)}, "NaN"),
        ({"opacity": np.zeros((64, 64)), "valid_region": np.ones((3, 3), bool)}, r"got \(3, 3\)"),
        ({"minip": np.broadcast_to(np.uint8(0), (9000, 9000))}, "at most 67108864 pixels"),
    ],
)
def test_senseless_input_gets_a_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        segment_classical(**arguments)


@pytest.mark.parametrize("width", [3, 4, 7, 12])
def test_a_straight_vessel_has_its_length_and_width(width):
    mask = np.zeros((60, 240), bool)
    mask[20 : 20 + width, 20:220] = True
    found = measure(mask)
    assert found["length_px"] == pytest.approx(200, abs=width + 1)
    assert found["mean_diameter_px"] == pytest.approx(width, abs=0.6)
    assert found["fraction"] == pytest.approx(width * 200 / mask.size)
    assert found["length_mm"] is None
    assert found["mean_diameter_mm"] is None


def test_millimetres_follow_the_spacing_along_each_axis():
    upright, across = np.zeros((200, 60), bool), np.zeros((60, 200), bool)
    upright[10:190, 30:35] = True
    across[30:35, 10:190] = True
    spacing = (0.5, 0.2)
    assert measure(upright, spacing)["length_mm"] == pytest.approx(0.5 * 180, abs=3)
    assert measure(across, spacing)["length_mm"] == pytest.approx(0.2 * 180, abs=2)
    assert measure(upright, spacing)["mean_diameter_mm"] == pytest.approx(5 * 0.2, abs=0.25)
    assert measure(across, spacing)["mean_diameter_mm"] == pytest.approx(5 * 0.5, abs=0.3)


def test_a_diagonal_is_longer_than_its_pixels():
    line = np.eye(100, dtype=bool)
    assert measure(line)["length_px"] == pytest.approx(99 * np.sqrt(2), rel=0.02)


def test_a_circle_has_its_circumference():
    y, x = np.mgrid[:200, :200] - 99.5
    ring = np.abs(np.hypot(x, y) - 70) < 3
    assert measure(ring)["length_px"] == pytest.approx(2 * np.pi * 70, rel=0.07)
    assert measure(ring)["mean_diameter_px"] == pytest.approx(6, abs=0.7)


def test_the_fraction_counts_the_picture_only():
    mask = np.zeros((10, 10), bool)
    mask[2, 2:7] = True
    region = np.zeros((10, 10), bool)
    region[:5] = True
    assert measure(mask, region=region)["fraction"] == pytest.approx(0.1)


def test_measurements_of_nothing_are_zero():
    assert measure(np.zeros((20, 20), bool), (0.3, 0.3)) == {
        "fraction": 0.0,
        "length_px": 0.0,
        "mean_diameter_px": 0.0,
        "length_mm": 0.0,
        "mean_diameter_mm": 0.0,
    }
    assert not centerline_of(np.zeros((5, 5), bool)).any()


def test_wrong_masks_and_spacings_are_refused():
    with pytest.raises(ValueError, match=r"\(H, W\); got shape \(2, 3, 4\)"):
        measure(np.zeros((2, 3, 4), bool))
    with pytest.raises(ValueError, match=r"positive; got \(0, 1\)"):
        measure(np.zeros((4, 4), bool), (0, 1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 0.5)])
@pytest.mark.parametrize("seed", range(12))
def test_diameters_are_those_of_the_distance_transform(seed, spacing):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.normal(size=rng.integers(5, 60, 2)), 1.5) > rng.uniform(-0.1, 0.2)
    line = centerline_of(mask)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1]
    expected = 2 * distance[line].mean() - sum(spacing) / 4
    found = measure(mask, spacing)
    assert line.any()
    assert found["mean_diameter_mm"] == pytest.approx(expected, abs=1e-9)
    assert (found["mean_diameter_px"] == pytest.approx(expected, abs=1e-9)) == (spacing == (1.0, 1.0))


def test_a_picture_full_of_vessel_ends_the_vessel_where_it_ends():
    assert measure(np.ones((9, 9), bool))["mean_diameter_px"] == pytest.approx(8, abs=1)
