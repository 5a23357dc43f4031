"""Training on whole pictures: what is shown, what is scored, and that normalisation is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the vessel network needs torch")
pytest.importorskip("monai", reason="the vessel network is MONAI's U-Net")

from monai.bundle import ConfigParser  # noqa: E402

from ClaireDSALib.cli.console import BAD_USAGE  # noqa: E402
from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.models.networks.vessel_net import VesselNet  # noqa: E402
from ClaireDSALib.models.vessel_input import prepare_vessels  # noqa: E402
from ClaireDSALib.models.vessel_segmenter import VesselSegmenter  # noqa: E402
from ClaireDSALib.training.vessel_bundle import write_vessel_bundle  # noqa: E402
from ClaireDSALib.training.vessel_fit import VesselFitSettings, fit  # noqa: E402
from ClaireDSALib.training.vessel_whole import (  # noqa: E402
    WholeFitSettings,
    WholePicture,
    draw,
    fit_whole,
    picture_loss,
    vessel_dice,
)
from Testing.unit.vessels.bars import TINY, a_picture, write_set  # noqa: E402


class _NeverNew:
    """A generator whose pictures are neither mirrored nor changed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def random(self) -> float:
        return 0.99

    def integers(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high))


def _statistics(network: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for name, value in network.state_dict().items() if "running" in name]


def test_whole_pictures_teach_a_network_whose_normalisation_stays(tmp_path):
    train, held_out = [a_picture(s, 64) for s in range(12)], [a_picture(100 + s, 64) for s in range(4)]
    torch.manual_seed(0)
    patches = VesselFitSettings(steps=30, batch=4, patch_px=64, learning_rate=5e-3, validate_every=30, half=False)
    network = fit(train, held_out, patches, tmp_path / "patches.pt", network=VesselNet(TINY, in_channels=3))
    shown, statistics = [WholePicture.of(one, 3) for one in held_out], _statistics(network)
    with torch.no_grad():
        network.unet.final_conv.bias -= 2  # a network that has to learn anew at which level a vessel begins
    assert np.mean([vessel_dice(network, one) for one in shown]) < 0.1

    told: list[str] = []
    settings = WholeFitSettings(steps=20, batch=1, learning_rate=1e-2, validate_every=20, half=False, average=0.5)
    whole = fit_whole(train, held_out, settings, tmp_path / "whole.pt", network, report=told.append)
    after = np.mean([vessel_dice(whole, one) for one in shown])
    assert after > 0.9
    assert f"Dice vessel {after:.4f}" in told[0]
    for old, new in zip(statistics, _statistics(whole), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)
    again = fit_whole(train, held_out, settings, tmp_path / "whole.pt", VesselNet(TINY, in_channels=3))
    assert np.mean([vessel_dice(again, one) for one in shown]) == pytest.approx(after, abs=1e-6)


def test_a_picture_is_shown_as_the_analysis_shows_it():
    square = a_picture(3, 90)
    one = replace(square, opacity=square.opacity[:, :70], truth=square.truth[..., :70], times=square.times[..., :70])
    whole = WholePicture.of(one, 3)
    image, truth = draw(whole, 512, _NeverNew(0))
    prepared = prepare_vessels(one.opacity.astype(np.float32), times=one.absolute_times(), n_channels=3)
    height, width = prepared.work_shape
    assert image.shape == (1, 3, 512, 398)
    np.testing.assert_allclose(image.numpy(), prepared.image[..., :height, :width], atol=1e-3)
    np.testing.assert_array_equal(truth[0].numpy() > 0.5, one.truth)


def test_a_run_is_scored_as_the_bundle_segments_it(tmp_path):
    torch.manual_seed(0)
    network = VesselNet(TINY, in_channels=3).eval()
    write_vessel_bundle(network, tmp_path / "bundle")
    square = a_picture(5, 90)
    one = replace(square, opacity=square.opacity[:, :70], truth=square.truth[..., :70], times=square.times[..., :70])
    maps = VesselSegmenter(tmp_path / "bundle").segment(one.opacity.astype(np.float32), times=one.absolute_times()).maps
    with torch.no_grad():
        network.unet.final_conv.bias[0] -= float(np.log(np.median(maps[0]) / (1 - np.median(maps[0]))))
    mask = maps[0] >= np.median(maps[0])
    expected = 2 * (mask & one.truth[0]).sum() / (mask.sum() + one.truth[0].sum())
    assert 0.05 < expected < 0.95
    assert vessel_dice(network, WholePicture.of(one, 3)) == pytest.approx(expected, abs=0.01)


def test_image_and_truth_are_mirrored_together():
    mask = np.zeros((3, 96, 96), bool)
    mask[:, 5:20, 60:90] = True
    image = np.repeat(mask[:1], 3, 0).astype(np.float16)
    seen = set()
    for seed in range(40):
        shown, truth = draw(WholePicture(image, mask), 512, np.random.default_rng(seed))
        bright = shown[0, 0] > shown[0, 0].mean()
        rows, columns = np.nonzero(truth[0, 0].numpy())
        assert bright[rows, columns].float().mean() > 0.9
        seen.add((rows.min() < 48, columns.min() < 48))
    assert len(seen) == 4


def test_parts_are_cut_from_pictures_at_their_own_size_only():
    numbers = np.arange(700 * 640, dtype=np.float32).reshape(700, 640) / 700 / 640
    own = WholePicture(np.repeat(numbers[None], 3, 0).astype(np.float16), np.repeat(numbers[None] > 0.5, 3, 0))
    image, truth = draw(own, 512, _NeverNew(4))
    assert image.shape == (1, 3, 512, 512)
    np.testing.assert_array_equal(truth[0, 0].numpy() > 0.5, image[0, 0].numpy() > 0.5)
    shrunk = WholePicture(own.image, np.zeros((3, 1400, 1280), bool))
    image, truth = draw(shrunk, 512, _NeverNew(4))
    assert image.shape == (1, 3, 700, 640)
    assert truth.shape == (1, 3, 1400, 1280)


def test_some_pictures_come_without_what_frames_tell_and_some_with_another_look():
    whole = WholePicture(np.full((3, 64, 64), 0.5, np.float16), np.ones((3, 64, 64), bool))
    drawn = [draw(whole, 512, np.random.default_rng(seed))[0] for seed in range(300)]
    alone = sum(bool((one[0, 0] == 0.5).all() and (one[0, 1:] == 0).all()) for one in drawn)
    as_is = sum(bool((one == 0.5).all()) for one in drawn)
    assert 18 <= alone <= 58
    assert 200 <= as_is <= 256


def test_every_picture_counts_the_same_and_absent_channels_not_at_all():
    def loss(vessel_rows: int, found_rows: int) -> float:
        truth = torch.zeros(1, 3, 64, 64)
        truth[:, 0, :vessel_rows] = 1
        logits = torch.full((1, 3, 64, 64), -30.0)
        logits[:, 0, :found_rows] = 30.0
        cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        return float(picture_loss(logits, truth) - 2 * cross)

    assert loss(8, 8) == pytest.approx(0, abs=1e-5)
    assert loss(4, 2) == pytest.approx(1 / 3, abs=1e-5)
    assert loss(32, 16) == pytest.approx(1 / 3, abs=1e-5)
    assert loss(0, 0) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("settings", "sentence"), [({"patch_px": 100}, "multiple of 32 px"), ({"batch": 0}, "one")])
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        WholeFitSettings(**settings)


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_command_goes_on_from_a_bundle_with_whole_pictures(tmp_path, threads_restored):
    threads = str(torch.get_num_threads() + 1)
    write_set(tmp_path / "set")
    torch.manual_seed(0)
    write_vessel_bundle(VesselNet(TINY, in_channels=5), tmp_path / "start")
    command = ["train", "vessels", "--data", str(tmp_path / "set"), "--patients", "0", "--network", "unet", "--whole"]
    command += ["--out", str(tmp_path / "made"), "--steps", "1"]
    alone = CliRunner().invoke(app, [*command, "--data", str(tmp_path / "other"), "--patients", "1"])
    assert "name its bundle as the start" in alone.output
    assert not (tmp_path / "other").exists()

    done = CliRunner().invoke(app, [*command, "--start", str(tmp_path / "start"), "--batch", "1", "--threads", threads])
    assert done.exit_code == 0, done.output
    assert torch.get_num_threads() == int(threads)
    training = tmp_path / "made" / "configs" / "train.json"
    assert json.loads(training.read_text())["settings"] == {"network": "unet", "whole": True, "steps": 1, "batch": 1}

    parser = ConfigParser()
    parser.read_config(training)
    parser.update({"bundle_root": str(tmp_path / "made"), "data": str(tmp_path / "set")})
    again = parser.get_parsed_content("trainer")()
    assert again == tmp_path / "made" / "trained"
    assert (again / "models" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--network", "cascade", "--batch", "4"], "--batch"),
        (["--network", "none", "--minutes", "3"], "--minutes"),
        (["--network", "sequence", "--patch-px", "64"], "--patch-px"),
        (["--network", "cascade", "--whole"], "--whole"),
        (["--network", "unet", "--whole", "--device", "cuda"], "--device"),
        (["--network", "cascade", "--threads", "2"], "--threads"),
    ],
)
def test_an_option_of_another_training_is_refused_before_anything_is_simulated(tmp_path, options, flag):
    told = CliRunner().invoke(
        app, ["train", "vessels", "--data", str(tmp_path / "s"), "--patients", "0", "--out", "o", *options]
    )
    assert told.exit_code == BAD_USAGE
    assert f"{flag} is not for the training" in told.output
    assert not (tmp_path / "s").exists()
