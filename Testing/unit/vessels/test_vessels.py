"""The vessel network's way in and out, its bundle, and that training on pictures with truth teaches it."""

import copy
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the vessel network needs torch")
pytest.importorskip("monai", reason="the vessel network is MONAI's U-Net")

from ClaireDSALib.cli.console import NOTHING_USABLE  # noqa: E402
from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.dsa.opacity_frames import OpacityArray  # noqa: E402
from ClaireDSALib.models.errors import BundleError, ImageRefusedError  # noqa: E402
from ClaireDSALib.models.networks.vessel_net import VesselNet  # noqa: E402
from ClaireDSALib.models.vessel_cleaning import Cleaning  # noqa: E402
from ClaireDSALib.models.vessel_input import prepare_vessels  # noqa: E402
from ClaireDSALib.models.vessel_look import Look  # noqa: E402
from ClaireDSALib.models.vessel_segmenter import CHANNELS, VesselProbabilities, VesselSegmenter  # noqa: E402
from ClaireDSALib.training.vessel_bundle import set_choices, write_vessel_bundle  # noqa: E402
from ClaireDSALib.training.vessel_choices import choose_mask  # noqa: E402
from ClaireDSALib.training.vessel_examples import VesselExample  # noqa: E402
from ClaireDSALib.training.vessel_fit import VesselFitSettings, fit, mean_dice  # noqa: E402
from ClaireDSALib.training.vessel_train import choose_for, load_unet, mean_unet, train_and_write  # noqa: E402
from Testing.unit.vessels.bars import TINY, a_picture, write_set  # noqa: E402


@pytest.fixture(scope="module")
def a_network():
    torch.manual_seed(0)
    return VesselNet(TINY, in_channels=3).eval()


@pytest.fixture(scope="module")
def the_bundle(a_network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny_vessels"
    write_vessel_bundle(a_network, folder)
    set_choices(folder, thresholds=[0.5, 0.4, 0.3])
    return folder


def _with_looks(bundle, folder, looks):
    """A copy of a bundle that shows pictures in these ways; entries of a look that are missing have their default."""
    shutil.copytree(bundle, folder)
    set_choices(folder, looks=looks)
    return folder


@pytest.mark.parametrize("shape", [(96, 80), (512, 512), (300, 700)])
def test_maps_come_back_in_the_shape_of_the_run(the_bundle, shape):
    opacity = np.random.default_rng(0).random(shape).astype(np.float32)
    found = VesselSegmenter(the_bundle).segment(opacity)
    assert found.maps.shape == (3, *shape)
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1
    np.testing.assert_array_equal(found.mask("vein"), found.mask("vessel") & (found.maps[2] >= 0.3))


def test_the_bundle_gives_what_the_network_gives(the_bundle, a_network, tmp_path):
    rng = np.random.default_rng(1)
    opacity, times = rng.random((512, 512)).astype(np.float32), rng.random((2, 512, 512)).astype(np.float32)
    prepared = prepare_vessels(opacity, times=times, n_channels=3).image
    with torch.no_grad():
        expected = a_network(torch.from_numpy(prepared))[0].sigmoid().numpy()
    once = _with_looks(the_bundle, tmp_path / "once", [{}])
    np.testing.assert_allclose(VesselSegmenter(once).segment(opacity, times=times).maps, expected, atol=1e-4)


def test_several_looks_give_the_mean_of_their_logits(the_bundle, a_network, tmp_path):
    opacity = np.random.default_rng(1).random((512, 640)).astype(np.float32)
    looks = [{}, {"least_px": 768}, {"mirrored": True}, {"upside_down": True}]
    with torch.no_grad():
        own = torch.from_numpy(prepare_vessels(opacity, n_channels=3).image)
        large = prepare_vessels(opacity, n_channels=3, work_px=(768, 768))
        shown = [
            a_network(own)[0].numpy(),
            large.to_run(a_network(torch.from_numpy(large.image))[0].numpy()),
            a_network(own.flip(3)).flip(3)[0].numpy(),
            a_network(own.flip(2)).flip(2)[0].numpy(),
        ]
    expected = 1 / (1 + np.exp(-np.mean(shown, axis=0)))
    assert np.ptp(shown, axis=0).max() > 0.01  # a hundred times what the maps may differ by
    segmenter = VesselSegmenter(_with_looks(the_bundle, tmp_path / "often", looks))
    np.testing.assert_allclose(segmenter.segment(opacity).maps, expected, atol=1e-4)


def test_left_and_right_count_the_same_when_a_picture_is_also_shown_mirrored(the_bundle, tmp_path):
    opacity = np.random.default_rng(2).random((512, 512)).astype(np.float32)
    segmenter = VesselSegmenter(_with_looks(the_bundle, tmp_path / "twice", [{}, {"mirrored": True}]))
    mirrored = segmenter.segment(opacity[:, ::-1]).maps[..., ::-1]
    np.testing.assert_allclose(segmenter.segment(opacity).maps, mirrored, atol=1e-5)


def test_a_bundle_that_says_nothing_of_looks_shows_the_picture_once_at_its_size(the_bundle, tmp_path):
    older = _with_looks(the_bundle, tmp_path / "older", [])
    path = older / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["vessels"] = {k: v for k, v in metadata["vessels"].items() if k != "looks"} | {"work_px": [256, 384]}
    path.write_text(json.dumps(metadata))
    assert VesselSegmenter(older).looks == (Look(256, 384),)


def test_early_and_late_parts_are_taken_from_the_frames(the_bundle):
    rng = np.random.default_rng(4)
    stack = rng.random((9, 64, 64)).astype(np.float32)
    segmenter = VesselSegmenter(the_bundle)
    from ClaireDSALib.models.vessel_sequence import early_and_late

    told = segmenter.segment_run(stack.max(0), frames=OpacityArray(stack), times_s=np.arange(9.0))
    expected = segmenter.segment(stack.max(0), times=early_and_late(stack[1:]))
    np.testing.assert_allclose(told.maps, expected.maps, atol=1e-5)
    alone = segmenter.segment_run(stack.max(0))
    np.testing.assert_array_equal(alone.maps, segmenter.segment(stack.max(0)).maps)


def test_nothing_is_found_outside_the_collimator(the_bundle):
    opacity = np.random.default_rng(2).random((512, 512)).astype(np.float32)
    region = np.zeros((512, 512), bool)
    region[100:400, 100:400] = True
    assert VesselSegmenter(the_bundle).segment(opacity, region).maps[:, ~region].max() == 0


def test_dose_cancels_and_small_pictures_are_enlarged():
    rng = np.random.default_rng(3)
    opacity, times = rng.random((168, 167)).astype(np.float32), rng.random((2, 168, 167)).astype(np.float32)
    weak = prepare_vessels(opacity * 0.1, times=times * 0.1, n_channels=3)
    strong = prepare_vessels(opacity * 5, times=times * 5, n_channels=3)
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


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (None, "no vessel bundle"),
        ({"channels": ["vein"]}, "gives channels"),
        ({"inputs": ["mean"]}, "takes"),
        ({"looks": [{"least_px": 640, "most_px": 512}]}, "does not know: .* range 640 to 512 px"),
        ({"looks": [{"turned": 90}]}, "does not know"),
        ({"looks": []}, "no picture at all"),
        ({"work_px": [768, 512]}, "range 768 to 512 px"),
        ({"work_px": 512}, "does not know"),
    ],
)
def test_a_bundle_of_another_kind_is_refused(tmp_path, section, sentence):
    (tmp_path / "configs").mkdir()
    whole = {"onnx": "m", "thresholds": [0.5] * 3, "channels": list(CHANNELS)}
    metadata = {"version": "1"} if section is None else {"version": "1", "vessels": whole | section}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(BundleError, match=sentence):
        VesselSegmenter(tmp_path)


def test_specks_and_faint_pieces_are_no_vessels():
    probability = np.zeros((100, 100), np.float32)
    probability[10:13, 10:90] = 0.95
    probability[40:43, 10:90] = 0.6
    probability[80, 80] = 0.99
    cleaned = Cleaning(smallest_fraction=1e-3, seed=0.9).mask(probability, 0.5)
    assert cleaned.sum() == 3 * 80
    assert cleaned[11, 50]
    assert Cleaning(smallest_fraction=0.0).mask(probability, 0.5).sum() == 6 * 80 + 1
    with pytest.raises(ValueError, match="from 0 to 1"):
        Cleaning(seed=2.0)


def test_arteries_and_veins_lie_inside_the_vessels_and_may_overlap():
    maps = np.zeros((3, 64, 64), np.float32)
    maps[0, 20:30] = maps[1, 20:30] = maps[2, 20:30, 20:40] = 0.9
    maps[1, 50:60] = 0.9
    found = VesselProbabilities(maps, (0.5, 0.5, 0.5))
    np.testing.assert_array_equal(found.mask("artery"), found.mask("vessel"))
    assert (found.mask("artery") & found.mask("vein")).sum() == 10 * 20


def test_training_learns_vessels_and_tells_arteries_from_veins_by_their_time(tmp_path):
    train, held_out = [a_picture(s) for s in range(24)], [a_picture(100 + s) for s in range(6)]
    settings = VesselFitSettings(steps=180, batch=4, patch_px=64, learning_rate=1e-2, validate_every=90, half=False)
    told: list[str] = []
    torch.manual_seed(0)
    network = fit(
        train, held_out, settings, tmp_path / "c.pt", network=VesselNet(TINY, in_channels=3), report=told.append
    )
    vessel, artery, vein = mean_dice(network, held_out)
    assert vessel > 0.68
    assert artery > 0.6
    assert vein > 0.6
    assert len(told) == 2
    again = fit(train, held_out, settings, tmp_path / "c.pt", network=VesselNet(TINY, in_channels=3))
    assert mean_dice(again, held_out)[0] == pytest.approx(vessel, abs=1e-6)

    write_vessel_bundle(network, tmp_path / "learnt")
    made = choose_for(tmp_path / "learnt", held_out)
    section = json.loads((tmp_path / "learnt" / "configs" / "metadata.json").read_text())["vessels"]
    assert section["thresholds"] == list(made.thresholds)
    assert section["calibration"] != [[1.0, 0.0]] * 3
    assert made.dice > 0.7
    with pytest.raises(ValueError, match="no entries"):
        set_choices(tmp_path / "learnt", colour="red")


def test_a_training_begins_with_the_weights_of_a_bundle(the_bundle, a_network, tmp_path):
    begun = load_unet(the_bundle)
    assert (begun.channels, begun.in_channels) == (a_network.channels, a_network.in_channels)
    for name, weight in a_network.named_parameters():
        torch.testing.assert_close(begun.get_parameter(name), weight, atol=2e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="'cascade' cannot start"):
        train_and_write(tmp_path, tmp_path / "o", network="cascade", start=the_bundle)


def test_a_training_begins_with_the_mean_of_several_bundles(the_bundle, a_network, tmp_path):
    other = copy.deepcopy(a_network)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.5
    write_vessel_bundle(other, tmp_path / "other")
    mean = mean_unet([the_bundle, tmp_path / "other"])
    for name, weight in load_unet(the_bundle).named_parameters():
        torch.testing.assert_close(mean.get_parameter(name), weight + 0.25, atol=2e-3, rtol=2e-3)
    narrow = VesselNet((8, 8, 8, 8, 8, 8), in_channels=a_network.in_channels)
    write_vessel_bundle(narrow, tmp_path / "narrow")
    with pytest.raises(ValueError, match="one size"):
        mean_unet([the_bundle, tmp_path / "narrow"])


def test_the_mask_with_the_best_agreement_is_chosen():
    truth = np.zeros((200, 200), bool)
    truth[40:160, 100:104] = True
    chart = np.where(truth, 0.43, 0.02)
    chart[5:7, 5:12] = 0.7  # 14 pixels that no threshold drops, less than 4e-4 and more than 2e-4 of the picture
    chart[180:190, 20:180] = 0.33  # more likely than the background, too large to be cleaned away
    threshold, cleaning = choose_mask([chart], [truth])
    np.testing.assert_array_equal(cleaning.mask(chart, threshold), truth)
    assert 0.33 < threshold <= 0.43
    assert cleaning == Cleaning(smallest_fraction=4e-4, seed=0.0)


def test_a_training_of_no_steps_leaves_the_weights_it_began_with(a_network, tmp_path):
    began = copy.deepcopy(a_network)
    one = VesselExample(np.zeros((64, 64), np.float16), np.zeros((3, 64, 64), bool), "p")
    trained = fit([one], [one], VesselFitSettings(steps=0), tmp_path / "c.pt", network=began)
    for name, weight in a_network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], weight)


def test_the_command_trains_with_the_patches_it_is_told(tmp_path):
    write_set(tmp_path / "set")
    command = ["train", "vessels", "--data", str(tmp_path / "set"), "--patients", "0", "--network", "unet"]
    command += ["--out", str(tmp_path / "made"), "--steps", "1", "--batch", "2"]

    refused = CliRunner().invoke(app, [*command, "--patch-px", "50"])
    assert refused.exit_code == NOTHING_USABLE
    assert "multiple of 32 px; got 50" in refused.output
    assert not (tmp_path / "made").exists()

    done = CliRunner().invoke(app, [*command, "--patch-px", "64"])
    assert done.exit_code == 0, done.output
    training = json.loads((tmp_path / "made" / "configs" / "train.json").read_text())["settings"]
    assert (training["batch"], training["patch_px"], training["steps"]) == (2, 64, 1)
