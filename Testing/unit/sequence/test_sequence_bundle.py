"""A trained network becomes a bundle that reads runs, and its figures are those of its outputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="writing a bundle needs torch")
pytest.importorskip("onnx", reason="exporting needs onnx")

from ClaireDSALib.models.bundle_config import ONNX_FILE, WEIGHTS_FILE  # noqa: E402
from ClaireDSALib.models.errors import BundleError, UnconfirmedBundleError  # noqa: E402
from ClaireDSALib.models.networks.sequence_net import PHASES, SequenceNet, SequenceNetConfig  # noqa: E402
from ClaireDSALib.models.onnx_session import open_session  # noqa: E402
from ClaireDSALib.models.sequence_input import prepare_sequence  # noqa: E402
from ClaireDSALib.models.sequence_reader import SequenceReader, fuse_views, load_sequence_reader  # noqa: E402
from ClaireDSALib.models.weights import read_weights  # noqa: E402
from ClaireDSALib.training.sequence_bundle import write_sequence_bundle  # noqa: E402
from ClaireDSALib.training.sequence_evaluate import best_threshold, mcc  # noqa: E402


@pytest.fixture(scope="module", params=[1, 2], ids=["one network", "the mean of two"])
def a_network(request):
    torch.manual_seed(3)
    config = SequenceNetConfig(map_widths=(8, 8, 16, 16), frame_widths=(8, 8, 8), hidden=16, members=request.param)
    network = SequenceNet(config)
    for module in network.modules():  # an untouched batch norm outputs almost nothing and hides errors
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.1, 0.4)
            torch.nn.init.uniform_(module.bias, -0.2, 0.4)
    network.mix.data = torch.tensor([0.8, 0.5, 0.3, -0.2, 0.4, 0.1])
    return network.eval()


@pytest.fixture(scope="module")
def a_bundle(a_network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny_sequence"
    write_sequence_bundle(a_network, folder, size_px=64, threshold=0.5, temperature=1.0)
    return folder


def _run(n_frames=9, shape=(96, 80)):
    rng = np.random.default_rng(0)
    frames = rng.normal(0, 0.05, (n_frames, *shape)).astype(np.float32)
    frames[:, 20:70, 30:36] += np.sin(np.linspace(0, np.pi, n_frames))[:, None, None].astype(np.float32)
    return frames, np.arange(n_frames) * 0.5


def _outputs(network, prepared):
    """Outputs for a run and for its mirror image."""
    parts = [(prepared.maps, prepared.frames), (prepared.maps[..., ::-1], prepared.frames[..., ::-1])]
    with torch.no_grad():
        return [
            network(*(torch.from_numpy(np.ascontiguousarray(one)) for one in (maps, frames, prepared.course)))
            for maps, frames in parts
        ]


def test_the_graph_gives_what_the_network_gives(a_bundle, a_network):
    frames, times = _run()
    outputs = _outputs(a_network, prepare_sequence(frames, times, 64))
    expected = float(torch.stack([o.thrombus for o in outputs]).mean())
    assert abs(expected) > 0.1
    found = SequenceReader(a_bundle).read(frames, times, (96, 80))
    assert found.logit == pytest.approx(expected, abs=1e-5)


def test_every_output_of_the_graph_is_the_networks(a_bundle, a_network):
    prepared = prepare_sequence(*_run(), 64)
    straight, _ = _outputs(a_network, prepared)
    parts = (prepared.maps, prepared.frames, prepared.course)
    named = {name: np.ascontiguousarray(one) for name, one in zip(("maps", "frames", "course"), parts, strict=True)}
    for name, given in zip(straight._fields, open_session(a_bundle / ONNX_FILE).run(None, named), strict=True):
        np.testing.assert_allclose(given, getattr(straight, name).numpy(), atol=1e-5, err_msg=name)


def test_the_weights_on_the_disk_are_the_networks_in_half_precision(a_bundle, a_network):
    stored = read_weights(a_bundle / WEIGHTS_FILE)
    for name, value in a_network.state_dict().items():
        assert stored[name].dtype == (torch.float16 if value.is_floating_point() and value.ndim > 1 else value.dtype)
        assert torch.equal(stored[name].to(value.dtype), value), name


@pytest.mark.parametrize("n_frames", [2, 5, 40])
def test_runs_of_any_length_have_a_phase_for_every_frame_that_never_goes_back(a_bundle, n_frames):
    frames, times = _run(n_frames)
    found = SequenceReader(a_bundle).read(frames, times, (96, 80))
    assert len(found.phases) == n_frames
    order = [PHASES.index(p) for p in found.phases]
    assert order == sorted(order)
    np.testing.assert_allclose(found.phase_probabilities.sum(1), 1, atol=1e-5)


def test_the_site_lies_in_the_run_and_the_heat_spans_it(a_bundle):
    frames, times = _run(shape=(64, 128))
    found = SequenceReader(a_bundle).read(frames, times, (64, 128))
    assert 0 <= found.site_px[0] <= 63
    assert 0 <= found.site_px[1] <= 127
    assert found.heat.shape == (8, 16)


def test_a_mirrored_run_gets_the_same_probability(a_bundle):
    frames, times = _run(shape=(128, 128))
    reader = SequenceReader(a_bundle)
    straight, mirrored = (reader.read(f, times, (128, 128)) for f in (frames, frames[..., ::-1]))
    assert straight.probability == pytest.approx(mirrored.probability, abs=1e-4)
    assert straight.site_px[1] == pytest.approx(127 - mirrored.site_px[1], abs=0.5)


def test_a_pair_is_the_mean_of_the_logits(a_bundle):
    reader = SequenceReader(a_bundle)
    one, two = (reader.read(*_run(n), (96, 80)) for n in (6, 14))
    probability, spread = fuse_views(one, two)
    assert np.log(probability / (1 - probability)) == pytest.approx((one.logit + two.logit) / 2)
    assert spread == pytest.approx(abs(one.probability - two.probability) / 2)


def test_an_unknown_bundle_is_not_loaded_until_confirmed(a_bundle):
    with pytest.raises(UnconfirmedBundleError, match="not in the catalogue"):
        load_sequence_reader(a_bundle)
    assert load_sequence_reader(a_bundle, confirmed=True).name == "tiny_sequence"


def test_a_bundle_without_a_sequence_section_is_refused(a_bundle, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text('{"version": "1"}')
    with pytest.raises(BundleError, match="no sequence bundle"):
        SequenceReader(tmp_path)


def test_the_threshold_separates_what_can_be_separated():
    truth = np.array([False, False, True, True])
    threshold = best_threshold(truth, np.array([-3.0, -1.0, 1.0, 2.0]))
    assert mcc(truth, np.array([-3.0, -1.0, 1.0, 2.0]) >= np.log(threshold / (1 - threshold))) == 1.0
