"""Checkpoints in CAVE's layout become bundles that segment runs; the checkpoints here are small and made up."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from typer.testing import CliRunner  # noqa: E402

from ClaireDSALib.dsa.opacity_frames import OpacityArray  # noqa: E402
from ClaireDSALib.models.cave_import import import_cave, install  # noqa: E402
from ClaireDSALib.models.cave_input import cave_sequence  # noqa: E402
from ClaireDSALib.models.cave_segmenter import CaveSegmenter  # noqa: E402
from ClaireDSALib.models.errors import BundleError, ImageRefusedError  # noqa: E402
from ClaireDSALib.models.networks.cave import CaveTemporalUNet, CaveUNet  # noqa: E402
from ClaireDSALib.models.vessel_segmenter import load_segmenter  # noqa: E402

SMALL = (4, 6, 8, 8, 8)


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """The user's models in a folder of their own."""
    home = tmp_path / "home"
    monkeypatch.setattr("ClaireDSALib.models.cave_import.user_models_folder", lambda: home)
    monkeypatch.setattr("ClaireDSALib.models.catalogue.user_models_folder", lambda: home)
    return home


def _checkpoint(path, network):
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("network", "file", "kind", "n_classes", "size_px"),
    [
        (CaveUNet(1, SMALL), "minip_vessel_sigmoid_image512_x.pt", "minip", 1, 512),
        (CaveUNet(2, SMALL), "minip_av_sigmoid_image1024_x.pt", "minip", 2, 1024),
        (CaveTemporalUNet(2, 3, 2, SMALL), "sequence_vessel_sigmoid_image512_x.pt", "sequence", 2, 512),
    ],
)
def test_what_the_file_holds_decides_and_the_name_tells_the_size_alone(
    tmp_path, network, file, kind, n_classes, size_px
):
    folder = import_cave(_checkpoint(tmp_path / file, network), tmp_path / "out")
    section = json.loads((folder / "configs" / "metadata.json").read_text())["cave"]
    assert (section["kind"], section["n_classes"], section["size_px"]) == (kind, n_classes, size_px)
    assert section["scaling"] == "training"


def test_an_imported_sequence_network_segments_a_run_as_the_published_steps_would(tmp_path, user_folder):
    network = CaveTemporalUNet(2, 3, 2, SMALL)
    path = _checkpoint(tmp_path / "av.pt", network)
    entry = install(import_cave(path, tmp_path / "out", size_px=64), source="av.pt")
    assert entry.task == "vessels"
    assert "non-commercial" in entry.licence
    segmenter = load_segmenter(entry.name, device="cpu")

    rng = np.random.default_rng(0)
    stored = rng.integers(300, 3000, (6, 64, 64)).astype(np.uint16)
    opacity = (3000.0 - stored) / 1000
    found = segmenter.segment_run(opacity.max(0), frames=OpacityArray(opacity), times_s=np.arange(6.0))
    with torch.no_grad():
        frames = torch.from_numpy(cave_sequence(stored, np.arange(6.0)))[:, None, None]
        expected = network.eval()(iter(frames))[0].sigmoid().numpy()
    np.testing.assert_allclose(found.maps[1:], expected, atol=0.02)
    np.testing.assert_allclose(found.maps[0], found.maps[1:].max(0))
    assert found.thresholds == (0.5, 0.5, 0.5)


def test_a_minip_network_needs_no_frames_and_finds_vessels_alone(tmp_path):
    folder = import_cave(_checkpoint(tmp_path / "v.pt", CaveUNet(1, SMALL)), tmp_path, size_px=64)
    segmenter = CaveSegmenter(folder, device="cpu")
    region = np.ones((50, 70), bool)
    region[:10] = False
    found = segmenter.segment_run(np.random.default_rng(0).random((50, 70), np.float32), region)
    assert found.maps.shape == (3, 50, 70)
    assert found.channels == ("vessel",)
    assert found.maps[:, :10].max() == 0
    assert found.maps[1:].max() == 0
    with pytest.raises(ImageRefusedError, match="constant"):
        segmenter.segment_run(np.zeros((50, 70), np.float32))


def test_a_sequence_network_refuses_a_picture_without_frames(tmp_path):
    folder = import_cave(_checkpoint(tmp_path / "s.pt", CaveTemporalUNet(1, 1, 1, SMALL)), tmp_path)
    with pytest.raises(ImageRefusedError, match="two or more"):
        CaveSegmenter(folder, device="cpu").segment_run(np.random.default_rng(0).random((64, 64), np.float32))


def test_other_files_are_refused_in_one_sentence(tmp_path):
    torch.save({"conv.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(BundleError, match="not a CAVE checkpoint"):
        import_cave(tmp_path / "other.pt", tmp_path)
    with pytest.raises(BundleError, match="missing"):
        import_cave(tmp_path / "none.pt", tmp_path)
    with pytest.raises(BundleError, match="has 5 outputs"):
        import_cave(_checkpoint(tmp_path / "five.pt", CaveUNet(5, SMALL)), tmp_path)
    broken = CaveUNet(1, SMALL)
    with torch.no_grad():
        broken.outc.conv.weight.fill_(float("nan"))
    torch.save(broken.state_dict(), tmp_path / "nan.pt")
    with pytest.raises(BundleError, match="not finite"):
        import_cave(tmp_path / "nan.pt", tmp_path)


def test_all_frames_at_once_give_what_streaming_gives():
    torch.manual_seed(0)
    network = CaveTemporalUNet(2, 1, 2, SMALL, "batch").eval()
    frames = torch.rand(4, 2, 1, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(network.at_once(frames).numpy(), network(iter(frames)).numpy(), atol=1e-5)


def test_the_command_imports_and_names_the_licence(tmp_path, user_folder):
    from ClaireDSALib.cli.models import app

    path = _checkpoint(tmp_path / "minip_av_sigmoid_image512_y.pt", CaveUNet(2, SMALL))
    result = CliRunner().invoke(
        app, ["import", "--layout", "cave", str(path), "--out", str(tmp_path), "--name", "mine"]
    )
    assert result.exit_code == 0, result.output
    assert "added mine" in result.output
    assert "non-commercial" in result.output
    assert (user_folder / "mine" / "models" / "model.safetensors").is_file()
    refused = CliRunner().invoke(app, ["import", "--layout", "cave", str(tmp_path / "no.pt")])
    assert refused.exit_code == 1


def test_the_analysis_segments_a_run_with_an_imported_network(tmp_path, user_folder):
    from ClaireDSALib.pipeline.model_set import ModelSet
    from ClaireDSALib.pipeline.settings import Settings

    path = _checkpoint(tmp_path / "av.pt", CaveTemporalUNet(2, 3, 2, SMALL))
    entry = install(import_cave(path, tmp_path / "out", size_px=64), source="av.pt")
    opacity = np.random.default_rng(0).random((6, 64, 64)).astype(np.float32)

    def course():
        pytest.fail("its networks do not take it, so nobody works it out")

    found = ModelSet().segment(
        opacity.max(0),
        entry.name,
        Settings(device="cpu"),
        frames=OpacityArray(opacity),
        times_s=np.arange(6.0),
        course=course,
    )
    assert found.maps[1:].max() > 0
