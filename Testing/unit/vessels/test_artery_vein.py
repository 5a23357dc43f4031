"""The network over the frames: it learns what fills first, its graphs are the network, and a run is read through it."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network over the frames is trained in torch")
pytest.importorskip("monai", reason="the vessel network is MONAI's U-Net")

from ClaireDSALib.dsa.opacity_frames import OpacityArray  # noqa: E402
from ClaireDSALib.models.artery_vein import ArteryVeinReader  # noqa: E402
from ClaireDSALib.models.bundle import read_metadata  # noqa: E402
from ClaireDSALib.models.networks.cave import CaveTemporalUNet  # noqa: E402
from ClaireDSALib.models.networks.vessel_net import VesselNet  # noqa: E402
from ClaireDSALib.models.vessel_segmenter import VesselSegmenter  # noqa: E402
from ClaireDSALib.models.vessel_sequence import early_and_late_of_run, one_per_second, parts_and_samples  # noqa: E402
from ClaireDSALib.training import vessel_train  # noqa: E402
from ClaireDSALib.training.artery_vein_bundle import (  # noqa: E402
    _best_threshold,
    _Inside,
    add_artery_vein,
    choose_artery_vein,
)
from ClaireDSALib.training.vessel_bundle import set_choices, write_vessel_bundle  # noqa: E402
from ClaireDSALib.training.vessel_compare import (  # noqa: E402
    AS_USED,
    FRAMES_KNOWN,
    MINIP_ONLY,
    SEQUENCE,
    WITH_TIMES,
    compare,
)
from ClaireDSALib.training.vessel_evaluate import score_runs, with_bundle  # noqa: E402
from ClaireDSALib.training.vessel_examples import VesselExample  # noqa: E402
from ClaireDSALib.training.vessel_fit import VesselFitSettings, fit  # noqa: E402
from ClaireDSALib.training.vessel_sequence_fit import (  # noqa: E402
    SequenceFitSettings,
    SequencePictures,
    fit_sequence,
    inside_dice,
    small,
)
from ClaireDSALib.training.vessel_set import packed  # noqa: E402
from ClaireDSALib.training.vessel_train import train_and_write  # noqa: E402
from Testing.unit.vessels.bars import write_set  # noqa: E402

WIDTHS = (4, 4, 6, 6, 8)


def _example(seed: int, side: int = 64, n_frames: int = 8) -> VesselExample:
    """A bar that fills at once and a bar that fills four seconds later, each upright or level by chance."""
    rng = np.random.default_rng(seed)
    first, second = np.zeros((2, side, side), bool)
    places = rng.permutation(np.arange(8, side - 8, 12))[:2]
    for mask, place in zip((first, second), places, strict=True):
        mask[:, place - 3 : place + 3] = True
    if rng.random() < 0.5:
        first, second = first.T.copy(), second.T.copy()
    course = np.arange(n_frames)[:, None, None]
    frames = first * np.exp(-0.5 * (course - 1) ** 2) + second * np.exp(-0.5 * (course - 5) ** 2)
    frames = frames + rng.normal(0, 0.03, frames.shape)
    peak = frames.max(0)
    labels = {"contrast_fluid": "present", "region": "intracranial", "projection": "ap"}
    facts = {"motion": "none", "vendor": "north", "labels": labels}
    strongest = float(np.percentile(peak.astype(np.float16).astype(np.float32), 99.5))
    return VesselExample(
        peak.astype(np.float16),
        np.stack([first | second, first, second]),
        f"p{seed}",
        facts=facts,
        frames=packed(frames, strongest),
    )


@pytest.fixture(scope="module")
def a_network():
    torch.manual_seed(1)
    network = CaveTemporalUNet(2, 1, 2, WIDTHS, "batch")
    for module in network.modules():  # an untouched batch norm hides errors
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.2, 0.6)
    return network.eval()


@pytest.fixture(scope="module")
def the_bundle(a_network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "with_frames"
    torch.manual_seed(0)
    write_vessel_bundle(VesselNet((4, 8, 8, 8, 8, 4), in_channels=3).eval(), folder)
    add_artery_vein(a_network, folder, 48)
    return folder


@pytest.fixture(scope="module")
def a_unet(tmp_path_factory):
    """A network that sees the bars."""
    torch.manual_seed(0)
    settings = VesselFitSettings(steps=60, batch=4, patch_px=64, learning_rate=1e-2, validate_every=60, half=False)
    checkpoint = tmp_path_factory.mktemp("unet") / "c.pt"
    shown = [_example(s) for s in range(300, 303)]
    return fit([_example(s) for s in range(12)], shown, settings, checkpoint, network=VesselNet((4, 8, 8, 8, 8, 4)))


def _reader(folder):
    return ArteryVeinReader(folder, _entry(folder))


@pytest.mark.parametrize("shape", [(48, 48), (48, 37), (30, 48)])
def test_the_graphs_give_what_the_network_gives(the_bundle, a_network, shape):
    frames = np.random.default_rng(3).random((5, *shape)).astype(np.float32)
    found = _reader(the_bundle).read(iter(frames), 1.0, shape)
    pad = [(0, -side % 16) for side in shape]
    stream = (torch.from_numpy(np.pad(f, pad, mode="edge")[None, None]) for f in frames)
    with torch.no_grad():
        expected = a_network(stream)[0, :, : shape[0], : shape[1]].sigmoid().numpy()
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_dose_cancels_and_maps_come_back_in_the_shape_of_the_run(the_bundle):
    frames = np.random.default_rng(4).random((4, 96, 80)).astype(np.float32)
    reader = _reader(the_bundle)
    found = reader.read(frames, 1.0, (96, 80))
    assert found.shape == (2, 96, 80)
    np.testing.assert_allclose(reader.read(3 * frames, 3.0, (96, 80)), found, atol=1e-5)


def test_no_frame_is_refused(the_bundle):
    with pytest.raises(ValueError, match="needs one frame at least"):
        _reader(the_bundle).read(iter(()), 1.0, (32, 32))


def test_a_run_is_told_apart_by_its_frames_and_a_picture_without_them(the_bundle, tmp_path):
    folder = tmp_path / "other_thresholds"
    shutil.copytree(the_bundle, folder)
    set_choices(folder, artery_vein=_entry(folder) | {"thresholds": [0.2, 0.7]})
    segmenter = VesselSegmenter(folder)
    rng = np.random.default_rng(5)
    frames, times = OpacityArray(rng.random((6, 64, 64)).astype(np.float32)), np.arange(6.0)
    opacity = np.max([frames.read(k) for k in range(6)], axis=0)
    region = np.ones((64, 64), bool)
    region[:10] = False
    run = segmenter.segment_run(opacity, region, frames=frames, times_s=times)
    alone = segmenter.segment_run(opacity, region)
    strongest = float(np.percentile(opacity, 99.5))
    expected = segmenter.artery_vein.read(one_per_second(frames, times), strongest, (64, 64))
    np.testing.assert_allclose(run.maps[1:, 10:], expected[:, 10:], atol=1e-5)
    assert np.all(run.maps[:, :10] == 0)
    assert run.thresholds == (segmenter.thresholds[0], 0.2, 0.7)
    assert alone.thresholds == segmenter.thresholds
    assert not np.allclose(alone.maps[1:], run.maps[1:])
    two = segmenter.segment_run(opacity, region, frames=frames, times_s=times[:2])
    np.testing.assert_array_equal(two.maps, alone.maps)


def _entry(folder):
    return json.loads((folder / "configs/metadata.json").read_text())["vessels"]["artery_vein"]


class _Counted:
    """Frames that are made when they are asked for, and count how often."""

    def __init__(self, frames):
        self._frames, self.shape, self.asked = frames, frames.shape, 0

    def __len__(self):
        return len(self._frames)

    def read(self, index):
        self.asked += 1
        return self._frames[index]


def test_parts_and_samples_are_those_of_their_own_and_cost_each_frame_once():
    rng = np.random.default_rng(6)
    frames, times = rng.random((9, 40, 50)).astype(np.float32), np.arange(9) * 0.5
    counted = _Counted(frames)
    parts, samples = parts_and_samples(counted, times, 25)
    assert counted.asked <= 9
    np.testing.assert_array_equal(parts, early_and_late_of_run(OpacityArray(frames), times))
    direct = list(one_per_second(OpacityArray(frames), times))
    assert [s.shape for s in samples] == [(20, 25)] * len(direct)
    np.testing.assert_allclose(samples[2], direct[2].reshape(20, 2, 25, 2).mean((1, 3)), atol=1e-5)


def test_what_fills_first_is_learnt_and_thresholds_are_chosen(a_unet, tmp_path):
    train, held_out = ([_example(s) for s in seeds] for seeds in (range(24), range(100, 106)))
    torch.manual_seed(0)
    settings = SequenceFitSettings(steps=90, batch=4, crop_px=32, learning_rate=2e-2, validate_every=45)
    told: list[str] = []
    fresh = CaveTemporalUNet(2, 1, 2, WIDTHS, "batch")
    pictures = [[small(one) for one in some] for some in (train, held_out)]
    assert isinstance(pictures[0][0], SequencePictures)
    network = fit_sequence(*pictures, settings, tmp_path / "c.pt", network=fresh, report=told.append)
    artery, vein = inside_dice(network, pictures[1])
    assert min(artery, vein) > 0.85
    assert len(told) == 2

    folder = tmp_path / "bundle"
    write_vessel_bundle(a_unet, folder)
    add_artery_vein(network, folder, 32)
    made = choose_artery_vein(folder, held_out)
    assert min(made["dice"]) > 0.8
    assert _entry(folder)["thresholds"] == made["thresholds"]
    assert _entry(folder)["calibration"] != [[1.0, 0.0]] * 2
    with pytest.raises(ValueError, match="frames and vessels"):
        choose_artery_vein(folder, [])


def test_what_is_chosen_counts_vessels_that_were_not_found():
    logits, picture = np.array([[3.0, -1.0, -3.0]]), np.array([[0.9, 0.4, 0.1]], np.float32)
    truth = np.array([[True, True, False]])
    run = _Inside(logits, picture, truth, (2, 0))
    score, threshold = _best_threshold([run], 0, (1.0, 0.0), 0.0)
    assert (score, threshold) == (1.0, 0.2)
    score, _ = _best_threshold([run._replace(total=(4, 0))], 0, (1.0, 0.0), 0.0)  # two more outside the mask
    assert score == pytest.approx(2 * 2 / (2 + 4))
    assert _best_threshold([run], 0, (1.0, 0.0), 1.0) == (1.0, 0.2)
    assert _best_threshold([run], 0, (1.0, -2.0), 0.0)[0] == pytest.approx(2 / 3)  # one of two, at any threshold
    assert _best_threshold([run._replace(total=(0, 0))], 0, (1.0, 0.0), 0.0)[0] == 0.0


def test_choices_are_made_anew_without_training(a_unet, a_network, tmp_path, monkeypatch):
    the_bundle, folder, other = tmp_path / "before", tmp_path / "bundle", _example(200)
    write_vessel_bundle(a_unet, the_bundle)
    add_artery_vein(a_network, the_bundle, 48)
    shutil.copytree(the_bundle, folder)
    set_choices(folder, thresholds=[0.9, 0.9, 0.9], cleaning={"smallest_fraction": 0.5, "seed": 0.99})
    unfit = dataclasses.replace(other, facts=other.facts | {"motion": "severe"})
    monkeypatch.setattr(vessel_train, "load_examples", lambda *_, **__: [_example(s) for s in range(6)] + [unfit])
    told: list[str] = []
    train_and_write(tmp_path, folder, network="none", report=told.append)
    before, after = (read_metadata(one)["vessels"] for one in (the_bundle, folder))
    assert told[0].startswith("6 suitable runs: ")
    assert after["thresholds"] != [0.9, 0.9, 0.9]
    assert after["cleaning"] != {"smallest_fraction": 0.5, "seed": 0.99}
    assert after["artery_vein"]["calibration"] != before["artery_vein"]["calibration"]
    for name in (before["weights"], before["artery_vein"]["weights"]):
        assert (folder / name).read_bytes() == (the_bundle / name).read_bytes()
    for kind in ("none", "sequence"):
        with pytest.raises(ValueError, match="is no vessel bundle"):
            train_and_write(tmp_path, tmp_path / "nothing", network=kind)


def test_a_training_from_a_bundle_takes_its_network_over_the_frames_along(the_bundle, tmp_path):
    write_set(tmp_path / "set")
    start = shutil.copytree(the_bundle, tmp_path / "start")
    set_choices(start, artery_vein=_entry(start) | {"thresholds": [0.4, 0.6]})
    frames = np.random.default_rng(2).random((6, 48, 40)).astype(np.float32)
    expected = _reader(start).read(frames, 1.0, (48, 40))
    for out in (tmp_path / "made", start):
        made = train_and_write(tmp_path / "set", out, {"steps": 0}, network="unet", start=start)
        assert _entry(made)["thresholds"] == [0.4, 0.6]
        np.testing.assert_array_equal(_reader(made).read(frames, 1.0, (48, 40)), expected)


def test_what_the_frames_add_is_measured_on_the_runs_that_have_them(the_bundle):
    segmenter = VesselSegmenter(the_bundle)
    examples = [_example(1), dataclasses.replace(_example(2), frames=None), _example(3)]
    found = compare(examples, segmenter)
    assert found[AS_USED].n_runs == 3
    alone = {
        SEQUENCE: with_bundle(segmenter),
        WITH_TIMES: with_bundle(segmenter, frames=False),
        MINIP_ONLY: with_bundle(segmenter, times=False),
    }
    for name, way in alone.items():
        expected = score_runs([examples[0], examples[2]], way)
        np.testing.assert_array_equal(_dices(found[FRAMES_KNOWN + name].runs), _dices(expected))
    over_time, minip = (_dices(found[FRAMES_KNOWN + name].runs) for name in (SEQUENCE, MINIP_ONLY))
    assert not np.array_equal(over_time[:, 1:], minip[:, 1:], equal_nan=True)


def _dices(runs):
    return np.array([(run.dice, run.artery_dice, run.vein_dice) for run in runs])


def test_the_picture_has_the_say_it_was_given(tmp_path):
    folder = tmp_path / "dsa_vessels"
    write_vessel_bundle(VesselNet((4, 8, 8, 8, 8, 4), in_channels=5).eval(), folder)
    add_artery_vein(CaveTemporalUNet(2, 1, 2, (4, 4, 8, 8, 8), "batch").eval(), folder, 32)
    opacity = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    samples = [opacity * level for level in (0.3, 1.0, 0.5)]
    entry = read_metadata(folder)["vessels"]["artery_vein"]
    maps = {}
    for weight in (0.0, 0.25, 1.0):
        set_choices(folder, artery_vein=entry | {"picture_weight": weight})
        maps[weight] = VesselSegmenter(folder).segment(opacity, samples=samples).maps
    picture = VesselSegmenter(folder).segment(opacity).maps
    np.testing.assert_allclose(maps[1.0], picture, atol=1e-6)
    np.testing.assert_allclose(maps[0.25][1:], 0.75 * maps[0.0][1:] + 0.25 * picture[1:], atol=1e-6)
    np.testing.assert_array_equal(maps[0.0][0], picture[0], err_msg="vessels are the picture's in any case")
