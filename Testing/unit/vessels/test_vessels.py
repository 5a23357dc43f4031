"""The vessel network's way in and out, its bundle, and that training on pictures with truth teaches it."""

import json
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the vessel network needs torch")
pytest.importorskip("monai", reason="the vessel network is MONAI's U-Net")

from ClaireDSALib.models.errors import BundleError, ImageRefusedError  # noqa: E402
from ClaireDSALib.models.networks.vessel_net import VesselNet  # noqa: E402
from ClaireDSALib.models.vessel_input import prepare_vessels  # noqa: E402
from ClaireDSALib.models.vessel_segmenter import CHANNELS, VesselSegmenter  # noqa: E402
from ClaireDSALib.training.vessel_fit import VesselExample, VesselFitSettings, fit, mean_dice  # noqa: E402


def _picture(seed: int, side: int = 96) -> VesselExample:
    """Bright bars on noise: a vertical artery and a horizontal vein."""
    rng = np.random.default_rng(seed)
    artery, vein = np.zeros((side, side), bool), np.zeros((side, side), bool)
    column, row = rng.integers(20, side - 20, 2)
    artery[:, column - 2 : column + 3] = True
    vein[row - 4 : row + 5] = True
    opacity = 0.8 * artery + 0.35 * vein + rng.normal(0, 0.03, (side, side))
    return VesselExample(opacity.astype(np.float16), np.stack([artery | vein, artery, vein]), f"p{seed}")


@pytest.fixture(scope="module")
def a_network():
    torch.manual_seed(0)
    return VesselNet((8, 16, 16)).eval()


@pytest.fixture
def a_bundle(a_network, tmp_path):
    folder = tmp_path / "tiny_vessels"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    section = {"onnx": "models/model.onnx", "thresholds": [0.5, 0.4, 0.3], "channels": list(CHANNELS)}
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1", "vessels": section}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            a_network,
            (torch.zeros(1, 1, 64, 64),),
            str(folder / "models" / "model.onnx"),
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {2: "h", 3: "w"}, "logits": {2: "h", 3: "w"}},
            opset_version=18,
        )
    return folder


@pytest.mark.parametrize("shape", [(96, 80), (512, 512), (600, 1400)])
def test_maps_come_back_in_the_shape_of_the_run(a_bundle, shape):
    opacity = np.random.default_rng(0).random(shape).astype(np.float32)
    found = VesselSegmenter(a_bundle).segment(opacity)
    assert found.maps.shape == (3, *shape)
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1
    np.testing.assert_array_equal(found.mask("vein"), found.maps[2] >= 0.3)


def test_the_bundle_gives_what_the_network_gives(a_bundle, a_network):
    opacity = np.random.default_rng(1).random((512, 512)).astype(np.float32)
    with torch.no_grad():
        expected = a_network(torch.from_numpy(prepare_vessels(opacity).image))[0].sigmoid().numpy()
    np.testing.assert_allclose(VesselSegmenter(a_bundle).segment(opacity).maps, expected, atol=1e-4)


def test_nothing_is_found_outside_the_collimator(a_bundle):
    opacity = np.random.default_rng(2).random((512, 512)).astype(np.float32)
    region = np.zeros((512, 512), bool)
    region[100:400, 100:400] = True
    assert VesselSegmenter(a_bundle).segment(opacity, region).maps[:, ~region].max() == 0


def test_dose_cancels_and_small_pictures_are_enlarged():
    opacity = np.random.default_rng(3).random((168, 167)).astype(np.float32)
    weak, strong = prepare_vessels(opacity * 0.1), prepare_vessels(opacity * 5)
    np.testing.assert_allclose(weak.image, strong.image, atol=1e-5)
    assert max(weak.work_shape) == 512
    assert all(side % 16 == 0 for side in weak.image.shape[2:])


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (np.zeros((64, 64), np.float32), "constant"),
        (np.ones((16, 16), np.float32), "32 to 8192 px"),
        (np.ones((20, 9000), np.float32), "32 to 8192 px"),
        (np.full((64, 64), np.nan, np.float32), "not finite"),
        (np.ones((64, 64), np.uint16), "opacity picture"),
    ],
)
def test_what_cannot_be_segmented_is_refused_in_one_sentence(picture, sentence):
    with pytest.raises(ImageRefusedError, match=sentence):
        prepare_vessels(picture)


def test_a_bundle_without_a_vessel_section_is_refused(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text('{"version": "1"}')
    with pytest.raises(BundleError, match="no vessel bundle"):
        VesselSegmenter(tmp_path)


def test_training_learns_vessels_and_tells_arteries_from_veins(tmp_path):
    train, held_out = [_picture(s) for s in range(24)], [_picture(100 + s) for s in range(6)]
    settings = VesselFitSettings(steps=120, batch=6, patch_px=64, learning_rate=8e-3, validate_every=60)
    network = fit(train, held_out, settings, tmp_path / "c.pt", network=VesselNet((8, 16, 16)))
    vessel, artery, vein = mean_dice(network, held_out)
    assert vessel > 0.8
    assert artery > 0.7
    assert vein > 0.7
