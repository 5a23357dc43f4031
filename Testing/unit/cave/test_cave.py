"""CAVE's layout, from the facts published about its checkpoints; the checkpoints themselves are not in reach."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")

from ClaireDSALib.models.cave_input import cave_minip, cave_sequence  # noqa: E402
from ClaireDSALib.models.networks.cave import CaveTemporalUNet, CaveUNet, network_for  # noqa: E402


def _count(network):
    return sum(p.numel() for p in network.parameters())


def test_the_minip_network_has_as_many_parameters_as_the_published_file():
    assert _count(CaveUNet(1)) == 17_252_993


def test_the_sequence_network_has_as_many_parameters_as_the_published_file():
    with torch.device("meta"):
        assert _count(CaveTemporalUNet(1, kernel_size=3, num_layers=2)) == 83_174_657


def test_the_keys_are_those_of_the_published_layout():
    keys = set(CaveTemporalUNet(2, kernel_size=1).state_dict())
    assert {
        "inc.double_conv.0.weight",
        "down4.maxpool_conv.1.double_conv.3.weight",
        "up1.conv.double_conv.0.weight",
        "outc.conv.bias",
        "rnn_inc.cell_list.0.update_gate.weight",
        "rnn4.cell_list.1.out_gate.bias",
    } <= keys
    assert not any("double_conv.1" in key and key.startswith("inc") for key in keys), "instance norms hold nothing"


@pytest.mark.parametrize("n_classes", [1, 2])
def test_classes_are_read_from_the_checkpoint_not_from_its_name(n_classes):
    assert network_for(CaveUNet(n_classes).state_dict()).outc.conv.out_channels == n_classes


def test_kernel_and_depth_of_a_sequence_checkpoint_are_read_from_it():
    network = network_for(CaveTemporalUNet(2, kernel_size=1, num_layers=1).state_dict())
    assert isinstance(network, CaveTemporalUNet)
    assert len(network.rnn1.cell_list) == 1
    assert network.rnn1.cell_list[0].update_gate.kernel_size == (1, 1)


def test_a_checkpoint_of_another_layout_is_refused():
    with pytest.raises(ValueError, match="not a CAVE checkpoint"):
        network_for({"conv1.weight": torch.zeros(1)})
    state = CaveUNet(1).state_dict()
    state["up4.conv.double_conv.0.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(ValueError, match="not a CAVE checkpoint"):
        network_for(state)


def test_streaming_gives_what_all_frames_at_once_give():
    torch.manual_seed(0)
    network = CaveTemporalUNet(1, kernel_size=1, num_layers=2).eval()
    frames = torch.rand(3, 1, 1, 32, 32)
    with torch.no_grad():
        streamed = network(iter(frames))
        features = [network.encode(f) for f in frames]
        last = []
        for scale, name in enumerate(("rnn_inc", "rnn1", "rnn2", "rnn3", "rnn4")):
            layer_input = [f[scale] for f in features]
            for cell in getattr(network, name).cell_list:
                hidden, outputs = torch.zeros_like(layer_input[0]), []
                for x in layer_input:
                    hidden = cell(x, hidden)
                    outputs.append(hidden)
                layer_input = outputs
            last.append(layer_input[-1])
        np.testing.assert_allclose(streamed.numpy(), network.decode(last).numpy(), atol=1e-5)


def test_the_gate_mixes_as_published():
    from ClaireDSALib.models.networks.cave import _ConvGRUCell

    cell = _ConvGRUCell(1, 1)
    with torch.no_grad():
        for gate in (cell.update_gate, cell.reset_gate, cell.out_gate):
            gate.weight.zero_()
        cell.update_gate.bias.fill_(20.0)  # z = 1: the new state replaces the old one
        cell.out_gate.bias.fill_(0.5)
        out = cell(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 9.0))
    assert float(out) == pytest.approx(np.tanh(0.5), abs=1e-5)


def test_time_is_resampled_to_one_frame_a_second_and_the_first_frame_is_dropped():
    times = np.concatenate([[0.0], np.arange(1, 8) * 0.5])
    frames = np.arange(8, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16) * 100
    out = cave_sequence(frames, times, scaling="predict", bits_stored=12)
    np.testing.assert_allclose(out[:, 0, 0] * 4095, [100, 300, 500], atol=1e-3)


def test_the_end_with_less_contrast_is_trimmed_to_twenty_frames():
    level = np.full(40, 1000, np.uint16)
    level[10:25] = 500
    frames = level[:, None, None] * np.ones((1, 4, 4), np.uint16)
    out = cave_sequence(frames, np.arange(40.0), scaling="predict")
    assert len(out) == 20
    assert (out[:, 0, 0] < 0.2).sum() == 15


def test_training_scaling_fills_the_range_in_256_steps():
    frames = np.random.default_rng(0).integers(500, 1500, (6, 8, 8)).astype(np.uint16)
    out = cave_sequence(frames, np.arange(6.0))
    assert out.min() == 0
    assert out.max() == 1
    np.testing.assert_allclose(out * 255, np.round(out * 255), atol=1e-4)
    minip = cave_minip(out)
    assert minip.min() == 0
    assert minip.max() == 1


def test_a_single_frame_is_refused():
    with pytest.raises(ValueError, match="needs another; got 1"):
        cave_sequence(np.ones((1, 4, 4), np.uint16), np.zeros(1))
