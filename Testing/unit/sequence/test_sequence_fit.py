"""Truth moves with the picture, training learns, and an interrupted training goes on where it stopped."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs torch")

from ClaireDSALib.cli.main import app  # noqa: E402
from ClaireDSALib.models.bundle import read_metadata  # noqa: E402
from ClaireDSALib.models.networks.sequence_net import MapsOutput, SequenceNet, SequenceNetConfig  # noqa: E402
from ClaireDSALib.training import sequence_fit  # noqa: E402
from ClaireDSALib.training.roc import auc  # noqa: E402
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle  # noqa: E402
from ClaireDSALib.training.sequence_cache import FeatureCache, features_of  # noqa: E402
from ClaireDSALib.training.sequence_evaluate import best_threshold, evaluate, fuse_pairs  # noqa: E402
from ClaireDSALib.training.sequence_examples import (  # noqa: E402
    SequenceExample,
    load_examples,
    pack,
    save_examples,
    unpack,
)
from ClaireDSALib.training.sequence_fit import (  # noqa: E402
    SequenceFitSettings,
    _Loop,
    batch_of,
    fit,
    frames_loss,
    maps_loss,
    pairs_of,
    predict,
)
from ClaireDSALib.training.sequence_train import evaluate_bundle, load_network, train_and_write  # noqa: E402

_SMALL = SequenceNetConfig(map_widths=(8, 8, 16, 16), frame_widths=(8, 8, 8), hidden=16)


def _example(seed: int, *, thrombus: bool, size: int = 64) -> SequenceExample:
    """A bright blob where the thrombus is, on frames that brighten and fade."""
    rng = np.random.default_rng(seed)
    site = rng.uniform(8, size - 8, 2)
    rows, columns = np.mgrid[:size, :size]
    blob = np.exp(-((rows - site[0]) ** 2 + (columns - site[1]) ** 2) / 8.0) if thrombus else np.zeros((size, size))
    course = np.array([0.0, 0.6, 1.0, 0.7, 0.3])
    vessel = np.abs(columns - size // 2) < 3
    stack = course[:, None, None] * (0.15 + blob + vessel) + rng.normal(0, 0.01, (5, size, size))
    return SequenceExample(
        stack=pack(stack),
        times_s=np.arange(5) * 0.5,
        phases=np.array([0, 1, 1, 2, 3], np.int8),
        thrombus=thrombus,
        site=(float(site[0]), float(site[1])) if thrombus else (np.nan, np.nan),
        territory=np.zeros((size // 4, size // 4), np.uint8),
        patient=f"p{seed}",
        view="ap",
        site_name="M1" if thrombus else "none",
        pair=f"{seed}-{'clot' if thrombus else 'open'}",
        pixel_mm=2.0,
        missing_mm2=900.0 if thrombus else 0.0,
    )


def test_packing_keeps_opacity_to_one_step():
    values = np.linspace(-0.5, 1.5, 1001)
    np.testing.assert_allclose(unpack(pack(values)), values, atol=2 / 255)


def test_examples_read_back_equal_the_ones_written(tmp_path):
    examples = [_example(1, thrombus=True), _example(2, thrombus=False)]
    save_examples(tmp_path / "a.npz", examples)
    for written, read in zip(examples, load_examples(tmp_path), strict=True):
        for field in dataclasses.fields(SequenceExample):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))


def test_training_learns_whether_where_and_when(tmp_path):
    train = [_example(s, thrombus=s % 2 == 0) for s in range(48)]
    held_out = [_example(1000 + s, thrombus=s % 2 == 0) for s in range(20)]
    settings = SequenceFitSettings(epochs=10, learning_rate=5e-3, versions=1, frames_every=2)
    network = fit(train, held_out, settings, tmp_path / "c.pt", network=SequenceNet(_SMALL))
    found = predict(network, held_out)
    truth = np.array([e.thrombus for e in held_out])
    assert auc(truth, found.maps_logits).value >= 0.95
    miss = np.linalg.norm(found.sites[truth] - np.array([e.site for e in held_out])[truth], axis=1)
    assert np.median(miss) < 8
    frames = np.concatenate([p.argmax(1) == e.phases for p, e in zip(found.phases, held_out, strict=True)])
    assert frames.mean() > 0.7


def test_an_interrupted_training_ends_like_an_uninterrupted_one(tmp_path):
    data = [_example(s // 2, thrombus=s % 2 == 0, size=32) for s in range(8)]
    settings = SequenceFitSettings(epochs=2, batch_groups=2, frames_every=2)
    torch.manual_seed(1)
    initial = SequenceNet(_SMALL).state_dict()

    def start() -> SequenceNet:
        network = SequenceNet(_SMALL)
        network.load_state_dict(initial)
        return network

    class PowerCut(Exception):
        pass

    def cut_after_one_epoch(_: str) -> None:
        raise PowerCut

    whole = fit(data, data, settings, tmp_path / "whole.pt", network=start())
    with pytest.raises(PowerCut):
        fit(data, data, settings, tmp_path / "parts.pt", network=start(), report=cut_after_one_epoch)
    resumed = fit(data, data, settings, tmp_path / "parts.pt", network=start())
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


def test_a_bundle_is_trained_and_measured_at_its_own_size_and_begins_where_another_ended(tmp_path):
    pytest.importorskip("onnx", reason="writing a bundle needs onnx")
    (tmp_path / "runs").mkdir()
    save_examples(tmp_path / "runs" / "a.npz", [_example(s, thrombus=s % 2 == 0) for s in range(12)])
    save_examples(tmp_path / "runs" / "b.npz", [_example(50 + s, thrombus=s % 2 == 0) for s in range(8)])
    first = {"epochs": 1, "size_px": 64}
    train_and_write(tmp_path / "runs", tmp_path / "first", first, validation=tmp_path / "runs")
    assert read_metadata(tmp_path / "first")["sequence"]["size_px"] == 64
    found = evaluate_bundle(tmp_path / "first", tmp_path / "runs")
    examples = list(load_examples(tmp_path / "runs"))
    network = load_network(tmp_path / "first")
    section = read_metadata(tmp_path / "first")["sequence"]
    given = {"mix": network.mix.tolist(), "temperature": section["temperature"], "threshold": section["threshold"]}
    own, other = (
        json.dumps(evaluate(examples, predict(network, examples, size_px=size), **given).to_dict())
        for size in (64, 160)
    )
    assert json.dumps(found.to_dict()) == own != other
    still = {"epochs": 1, "size_px": 64, "learning_rate": 0.0, "weight_decay": 0.0}
    train_and_write(tmp_path / "runs", tmp_path / "next", still, validation=tmp_path / "runs", start=tmp_path / "first")
    for name, weight in load_network(tmp_path / "next").maps.named_parameters():
        torch.testing.assert_close(weight, network.maps.get_parameter(name), msg=name)


def test_a_start_is_refused_where_it_would_be_ignored(tmp_path):
    given = ["train", "thrombus", "--data", str(tmp_path), "--out", str(tmp_path / "o"), "--start", str(tmp_path)]
    for more in (["--folds", "5"], ["--variant", "ResNet18 + GRU"]):
        result = CliRunner().invoke(app, [*given, *more])
        assert result.exit_code == 2
        assert "--start is for one training of the compact network" in result.output


@pytest.mark.parametrize("option", [["--maps-only"], ["--norm-until", "0.3"]])
def test_what_the_papers_networks_do_not_have_is_refused(tmp_path, option):
    given = ["train", "thrombus", "--data", str(tmp_path), "--out", str(tmp_path / "o"), "--variant", "ResNet18 + GRU"]
    result = CliRunner().invoke(app, [*given, "--folds", "5", *option])
    assert result.exit_code == 2
    assert "are for the compact network" in result.output


def test_the_options_of_a_training_reach_the_bundle(tmp_path):
    pytest.importorskip("onnx", reason="writing a bundle needs onnx")
    (tmp_path / "runs").mkdir()
    save_examples(tmp_path / "runs" / "4000000.npz", [_example(s, thrombus=s % 2 == 0) for s in range(4)])
    given = ["--data", str(tmp_path / "runs"), "--validation", str(tmp_path / "runs"), "--out", str(tmp_path / "o")]
    options = ["--patients", "1", "--epochs", "1", "--learning-rate", "0.004", "--norm-until", "0.3", "--maps-only"]
    result = CliRunner().invoke(app, ["train", "thrombus", *given, *options])
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "o" / "configs" / "train.json").read_text())["settings"]
    assert (settings["learning_rate"], settings["norm_until"], settings["frames_every"]) == (0.004, 0.3, 0)


def test_a_pair_is_judged_by_the_mean_of_its_views_and_unusable_runs_by_neither():
    truth = [True, True, False, False, True]
    examples = [
        dataclasses.replace(_example(s, thrombus=t, size=32), pair=p, view=v)
        for s, (t, p, v) in enumerate(zip(truth, ["a", "a", "b", "b", "c"], ["ap", "lat"] * 2 + ["ap"], strict=True))
    ]
    members = np.arange(5)
    batch, labels, groups = batch_of(examples, members, [features_of(e, 32) for e in examples], "cpu")
    logits = torch.tensor([3.0, -3.0, -1.0, 1.0, 9.0])
    output = MapsOutput(logits, torch.zeros(5, 8, 8), torch.zeros(5, 8, 8))
    usable = np.array([True, True, True, True, False])
    settings = SequenceFitSettings(pair_weight=2.0)
    found = maps_loss(output, batch, labels, usable, groups, pairs_of(examples, members), settings)
    assert float(found["pairs"]) == pytest.approx(2 * np.log(2))  # both means are 0: as good as a coin
    single = (np.logaddexp(0, -3.0) + np.logaddexp(0, 3.0) + np.logaddexp(0, -1.0) + np.logaddexp(0, 1.0)) / 4
    assert float(found["yes_no"]) == pytest.approx(single, rel=1e-6)


def test_views_of_an_injection_stay_in_one_batch_and_patients_are_limited():
    examples = [
        dataclasses.replace(
            _example(p, thrombus=kind == "clot", size=32), pair=f"{p}-{i}-{kind}", view=view, patient=f"p{p}"
        )
        for p in range(3)
        for i in range(2)
        for kind in ("clot", "open")
        for view in ("ap", "lateral")
    ]
    settings = SequenceFitSettings(batch_groups=3, injections_per_patient=1)
    loop = _Loop(examples, FeatureCache(examples, size_px=32), settings)
    batches = [[examples[i] for i in members] for members in loop._batches(0)]
    assert [len(batch) for batch in batches] == [8, 4]  # two views and two twins an injection
    for batch in batches:
        injections = [e.pair.rpartition("-")[0] for e in batch]
        assert all(injections.count(name) == 4 for name in injections)
    assert sorted({e.patient for batch in batches for e in batch}) == ["p0", "p1", "p2"]


def test_the_recurrent_branch_sees_open_runs_and_clots_in_every_epoch(tmp_path, monkeypatch):
    examples = [
        dataclasses.replace(_example(p, thrombus=kind == "clot", size=32), pair=f"{p}-0-{kind}", view=view)
        for p in range(10)
        for view in ("ap", "lateral")
        for kind in ("open", "clot")
    ]
    asked: list[list[bool]] = []

    def noted(outputs, truth, settings):
        asked[-1] += [thrombus for _, thrombus, _ in truth]
        return frames_loss(outputs, truth, settings)

    def next_epoch(_: str) -> None:
        asked.append([])

    monkeypatch.setattr(sequence_fit, "frames_loss", noted)
    next_epoch("")
    settings = SequenceFitSettings(epochs=3, batch_groups=10, frames_every=4)
    fit(examples, [], settings, tmp_path / "c.pt", network=SequenceNet(_SMALL), report=next_epoch)
    assert [len(epoch) for epoch in asked] == [10, 10, 10, 0]
    assert all(0 < sum(epoch) < len(epoch) for epoch in asked[:3])


@pytest.mark.parametrize("until", [0.0, 0.5, 1.0])
def test_batch_normalisation_keeps_its_statistics_from_where_the_settings_say(tmp_path, until):
    examples = [_example(s, thrombus=s % 2 == 0, size=32) for s in range(8)]
    network = SequenceNet(_SMALL)
    settings = SequenceFitSettings(epochs=4, batch_groups=4, norm_until=until)
    fit(examples, [], settings, tmp_path / "c.pt", network=network)
    last = torch.load(tmp_path / "c.pt", weights_only=True)["last"]
    assert int(last["maps.down0.1.num_batches_tracked"]) == round(until * 8)  # two batches an epoch


def test_a_training_of_the_maps_alone_leaves_the_recurrent_branch(tmp_path):
    examples = [_example(s, thrombus=s % 2 == 0, size=32) for s in range(8)]
    network = SequenceNet(_SMALL)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = SequenceFitSettings(epochs=2, batch_groups=4, frames_every=0)
    after = fit(examples, examples, settings, tmp_path / "c.pt", network=network).state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert any(name.startswith("maps.") for name in changed)
    assert not any(name.startswith("frames.") for name in changed)


def test_bundles_are_averaged_and_their_threshold_is_chosen_anew(tmp_path):
    pytest.importorskip("onnx", reason="writing a bundle needs onnx")
    (tmp_path / "runs").mkdir()
    save_examples(tmp_path / "runs" / "a.npz", [_example(s, thrombus=s % 2 == 0) for s in range(12)])
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(SequenceNet(_SMALL).eval())
        write_sequence_bundle(networks[-1], tmp_path / f"b{seed}", size_px=64, threshold=0.9, temperature=1.0)
    bundles = [str(tmp_path / f"b{seed}") for seed in range(2)]
    given = ["--validation", str(tmp_path / "runs"), "--out", str(tmp_path / "both")]
    result = CliRunner().invoke(app, ["train", "average", *bundles, *given])
    assert result.exit_code == 0, result.output
    section = read_metadata(tmp_path / "both")["sequence"]
    assert (section["size_px"], section["network"]["arguments"]["members"]) == (64, 2)
    joined, examples = load_network(tmp_path / "both"), list(load_examples(tmp_path / "runs"))
    found = predict(joined, examples, size_px=64)
    apart = [predict(network, examples, size_px=64) for network in networks]
    expected = np.mean([one.maps_logits for one in apart], 0)
    np.testing.assert_allclose(found.maps_logits, expected, atol=1e-4)
    np.testing.assert_allclose(found.frames_logits, apart[0].frames_logits, atol=1e-4)
    pairs = fuse_pairs(examples, found.mixed(joined.mix.tolist()))
    assert section["threshold"] == pytest.approx(best_threshold(pairs.truth, pairs.logits), abs=1e-3)


def test_bundles_of_different_sizes_are_not_averaged(tmp_path):
    pytest.importorskip("onnx", reason="writing a bundle needs onnx")
    save_examples(tmp_path / "a.npz", [_example(s, thrombus=s % 2 == 0) for s in range(4)])
    sizes = {"small": (_SMALL, 64), "fine": (_SMALL, 96), "wide": (dataclasses.replace(_SMALL, hidden=24), 64)}
    for name, (config, size_px) in sizes.items():
        write_sequence_bundle(SequenceNet(config), tmp_path / name, size_px=size_px, threshold=0.5, temperature=1.0)
    for other, why in (("fine", "one input size can be averaged, not [64, 96] px"), ("wide", "networks of one size")):
        given = ["--validation", str(tmp_path), "--out", str(tmp_path / "o")]
        result = CliRunner().invoke(app, ["train", "average", str(tmp_path / "small"), str(tmp_path / other), *given])
        assert result.exit_code == 1
        assert why in result.output
        assert not (tmp_path / "o").exists()
