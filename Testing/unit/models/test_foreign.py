"""Checkpoints in torchvision's or timm's ResNet key layout become a bundle with the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("monai", reason="MONAI is not installed")

from ClaireDSALib.models.classifier import load_classifier  # noqa: E402
from ClaireDSALib.models.errors import BundleError  # noqa: E402
from ClaireDSALib.models.foreign import backbone_of, import_checkpoints  # noqa: E402
from ClaireDSALib.models.networks.resnets import make_resnet, torchvision_keys  # noqa: E402
from ClaireDSALib.models.preprocessing import prepare  # noqa: E402
from Testing.unit.models.tiny_pictures import a_minip  # noqa: E402


def a_resnet(n_classes: int, depth: str = "resnet18", seed: int = 0) -> torch.nn.Module:
    """Random ResNet whose batch norm has seen data."""
    torch.manual_seed(seed)
    network = make_resnet(depth, n_classes).train()
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    return network.eval()


def describe(folder: Path, labels: list[dict], **more: object) -> Path:
    path = folder / "description.json"
    path.write_text(json.dumps({"name": "foreign", "input": {"size_px": 64}, "onnx": False, "labels": labels, **more}))
    return path


def test_imported_networks_give_the_same_probabilities(tmp_path: Path) -> None:
    side, view = a_resnet(2, seed=1), a_resnet(3, "resnet34", seed=2)
    torch.save({"state_dict": {f"module.model.{k}": v for k, v in side.state_dict().items()}}, tmp_path / "side.pth")
    torch.save(view.state_dict(), tmp_path / "view.pth")
    labels = [
        {"name": "side", "classes": ["left", "right"], "checkpoint": "side.pth"},
        {"name": "view", "classes": ["ap", "lateral", "oblique"], "checkpoint": "view.pth"},
    ]
    bundle = import_checkpoints(describe(tmp_path, labels), tmp_path)
    assert bundle.network_arguments["backbones"] == ["resnet18", "resnet34"]
    classifier = load_classifier(bundle.folder, device="cpu", confirmed=True)
    found = classifier.classify(a_minip())
    x = torch.from_numpy(prepare(a_minip(), bundle.input_spec))[None].expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (bundle.input_spec.mean, bundle.input_spec.std))
    with torch.no_grad():
        for name, network in (("side", side), ("view", view)):
            expected = network((x - mean) / std).softmax(dim=1)[0].numpy()
            np.testing.assert_allclose(found.label(name).probabilities, expected, atol=5e-3)
    assert found.out_of_distribution is None
    assert found.cams["view"]["oblique"].shape == (2, 2)


def test_a_single_sigmoid_output_becomes_two_classes(tmp_path: Path) -> None:
    network = a_resnet(1)
    torch.save(network.state_dict(), tmp_path / "c.pth")
    labels = [{"name": "contrast_fluid", "classes": ["absent", "present"], "checkpoint": "c.pth"}]
    bundle = import_checkpoints(describe(tmp_path, labels), tmp_path)
    found = load_classifier(bundle.folder, device="cpu", confirmed=True).classify(a_minip())
    x = torch.from_numpy(prepare(a_minip(), bundle.input_spec))[None].expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (bundle.input_spec.mean, bundle.input_spec.std))
    with torch.no_grad():
        expected = float(torch.sigmoid(network((x - mean) / std))[0, 0])
    assert found.label("contrast_fluid").probability("present") == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("depth", ["resnet18", "resnet34", "resnet50"])
def test_the_depth_is_read_from_the_keys(depth: str) -> None:
    assert backbone_of(make_resnet(depth, 2).state_dict(), "x") == depth


def test_prefixes_are_stripped_in_any_nesting() -> None:
    state = {"module.model.backbone.layer1.0.conv1.weight": torch.zeros(1)}
    assert list(torchvision_keys(state)) == ["layer1.0.conv1.weight"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save(a_resnet(2).state_dict(), tmp_path / "two.pth")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    three = [{"name": "view", "classes": ["ap", "lateral", "oblique"], "checkpoint": "two.pth"}]
    for labels, words in (
        (three, "2 outputs but 3 classes"),
        ([{**three[0], "checkpoint": "other.pth"}], "no ResNet-18/34/50 key layout"),
        ([{**three[0], "checkpoint": "absent.pth"}], "is missing beside the description"),
        ([{"name": "view", "classes": ["ap", "lateral"]}], "names no checkpoint"),
    ):
        with pytest.raises(BundleError, match=words):
            import_checkpoints(describe(tmp_path, labels), tmp_path)
    assert not (tmp_path / "foreign").exists()
