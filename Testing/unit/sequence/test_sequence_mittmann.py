"""The paper's networks have their sources' parameters, its checkpoints load, and its preprocessing is as published."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from ClaireDSALib.models.errors import BundleError  # noqa: E402
from ClaireDSALib.models.networks.mittmann import VARIANTS, MittmannNet, backbone_of, from_state  # noqa: E402
from ClaireDSALib.models.networks.mittmann_backbones import BACKBONES, make_backbone, n_features  # noqa: E402
from ClaireDSALib.models.sequence_mittmann import FILL, MittmannEnsemble, prepare_frames  # noqa: E402
from ClaireDSALib.models.sequence_mittmann_import import import_mittmann, view_of  # noqa: E402

_PARAMETERS = {
    "resnet18": 11_689_512 - 513_000,
    "efficientnet_b0": 5_288_548 - 1_281_000,
    "efficientnet_b1": 7_794_184 - 1_281_000,
    "efficientnet_b2": 9_109_994 - 1_409_000,
    "efficientnet_b3": 12_233_232 - 1_537_000,
    "tf_efficientnetv2_s": 21_458_488 - 1_281_000,
    "tf_efficientnetv2_m": 54_139_356 - 1_281_000,
    "efficientnetv2_rw_s": 23_941_296 - 1_793_000,
    "regnet_y_16gf": 83_590_140 - 3_025_000,
}
"""As published with the ImageNet weights of 1000 classes, less the classifier."""

_KEYS = [
    ("resnet18", ("conv1.weight", "bn1.running_var", "layer4.1.bn2.weight")),
    ("efficientnet_b0", ("features.0.0.weight", "features.1.0.block.1.fc1.bias", "features.8.1.running_mean")),
    ("tf_efficientnetv2_s", ("conv_stem.weight", "blocks.0.1.conv.weight", "blocks.3.0.se.conv_reduce.bias")),
    ("efficientnetv2_rw_s", ("blocks.0.0.conv_exp.weight", "blocks.5.14.conv_pwl.weight", "bn2.weight")),
    ("regnet_y_16gf", ("stem.0.weight", "trunk_output.block3.block3-10.f.se.fc2.weight")),
]


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_have_as_many_parameters_as_published(name):
    with torch.device("meta"):
        network = make_backbone(name)
        features = network(torch.zeros(2, 3, 64, 64))
    assert sum(p.numel() for p in network.parameters()) == _PARAMETERS[name]
    assert features.shape == (2, n_features(name))


@pytest.mark.parametrize(("name", "keys"), _KEYS)
def test_backbones_have_the_names_of_their_sources(name, keys):
    with torch.device("meta"):
        assert set(keys) <= set(make_backbone(name).state_dict())


def test_every_row_of_the_table_can_be_built_at_full_size():
    with torch.device("meta"):
        for backbone, cell in VARIANTS.values():
            network = MittmannNet(backbone, cell)
            gates = 3 if cell == "gru" else 4
            shape = network.state_dict()[f"{cell}.weight_ih_l0_reverse"].shape
            assert shape == (512 * gates, n_features(backbone))
            assert network.fc.weight.shape == (1, 1024)


def test_the_backbone_is_told_from_names_and_shapes():
    with torch.device("meta"):
        for name in ("resnet18", "efficientnet_b1", "efficientnet_b3", "efficientnetv2_rw_s"):
            state = {f"cnn.{k}": v for k, v in make_backbone(name).state_dict().items()}
            assert backbone_of(state) == name


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two small checkpoints of the published layout, one per view."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    for view, cell in (("frontal", "gru"), ("lateral", "lstm")):
        network = MittmannNet("resnet18", cell, hidden=4, layers=3)
        optimiser = torch.optim.AdamW(network.fc.parameters())
        content = {"epoch": 41, "loss": 0.5, "mcc": 0.6, "acc": 0.8, "model_state_dict": network.state_dict()}
        content["optimizer_state_dict"] = optimiser.state_dict()
        torch.save(content, folder / f"{view}_best_mcc_fold_2.pt")
    return folder


def _run(n_frames=7, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(1500, 3500, (n_frames, 60, 50)).astype(np.uint16)
    frames[:, :4] = 0
    return frames


def test_a_sequence_that_is_no_multiple_of_three_repeats_its_last_frame(checkpoints):
    network = from_state(torch.load(checkpoints / "frontal_best_mcc_fold_2.pt")["model_state_dict"])
    frames = torch.randn(7, 64, 64)
    with torch.no_grad():
        assert network(frames) == network(torch.cat([frames, frames[-1:], frames[-1:]]))


def test_checkpoints_become_one_ensemble_whose_verdict_is_the_mean(checkpoints, tmp_path):
    ensemble = MittmannEnsemble(import_mittmann([checkpoints], tmp_path))
    assert [(m["view"], m["fold"], m["cell"], m["mcc"]) for m in ensemble.members] == [
        ("frontal", 2, "gru", 0.6),
        ("lateral", 2, "lstm", 0.6),
    ]
    found = ensemble.read_pair(_run(7), _run(4, 1), size_px=64)
    network = from_state(torch.load(checkpoints / "lateral_best_mcc_fold_2.pt")["model_state_dict"])
    frames = torch.from_numpy(prepare_frames(_run(4, 1), n_frames=7, size_px=64))
    with torch.no_grad():
        assert found.lateral[0] == pytest.approx(float(torch.sigmoid(network(frames))), abs=1e-6)
    assert found.probability == pytest.approx((found.frontal[0] + found.lateral[0]) / 2)


def test_one_view_is_enough_and_none_is_refused(checkpoints, tmp_path):
    ensemble = MittmannEnsemble(import_mittmann([checkpoints / "frontal_best_mcc_fold_2.pt"], tmp_path))
    assert ensemble.read_pair(_run(3), None, size_px=64).lateral == ()
    with pytest.raises(ValueError, match="frontal"):
        ensemble.read_pair(None, _run(3), size_px=64)


def test_frames_are_filled_flipped_and_standardised():
    stored = np.full((2, 8, 8), 4095 * FILL // 255 + 1, np.uint16)
    stored[:, 0] = 0
    stored[1, 2, 3] = 4095
    ready = prepare_frames(stored, n_frames=3, size_px=8)
    assert ready.shape == (3, 8, 8)
    assert ready.mean() == pytest.approx(0, abs=1e-5)
    assert ready.std() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(ready.argmax(), ready.shape) == (1, 5, 3)
    assert len(np.unique(ready)) == 2, "what lies outside and what is filled up has the grey value of the background"


def test_files_that_do_not_fit_are_refused_with_the_reason(tmp_path):
    torch.save({"model_state_dict": {"conv.weight": torch.zeros(2)}}, tmp_path / "frontal_1.pt")
    with pytest.raises(BundleError, match=r"frontal_1.*layerNorm"):
        import_mittmann([tmp_path / "frontal_1.pt"], tmp_path)
    with pytest.raises(BundleError, match="which view"):
        view_of(tmp_path / "fold_1.pt")
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        import_mittmann([tmp_path / "absent.pt"], tmp_path)


def test_the_command_imports_an_ensemble(checkpoints, tmp_path):
    from typer.testing import CliRunner

    from ClaireDSALib.cli.models import app

    result = CliRunner().invoke(app, ["import", "--layout", "mittmann", str(checkpoints), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "resnet18 + lstm" in result.output
    metadata = json.loads((tmp_path / "mittmann_thrombus" / "configs" / "metadata.json").read_text())
    assert metadata["mittmann"]["threshold"] == 0.57
