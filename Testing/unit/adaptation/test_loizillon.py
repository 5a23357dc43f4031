"""The published network: layout, shapes, gradient reversal and its schedule."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ClaireDSALib.models.errors import BundleError  # noqa: E402
from ClaireDSALib.models.networks.loizillon import (  # noqa: E402
    Conv5Fc3Ssda,
    PadMaxPool,
    network_for,
    read_checkpoint,
    reversal_strength,
    reverse_gradient,
    write_checkpoint,
)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_gradient_comes_back_reversed_and_scaled(alpha: float) -> None:
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    weight = torch.tensor([2.0, 5.0, -1.0])
    y = reverse_gradient(x, alpha)
    assert torch.equal(y, x)
    (y * weight).sum().backward()
    torch.testing.assert_close(x.grad, -alpha * weight)


def test_only_the_domain_head_sends_reversed_gradients() -> None:
    torch.manual_seed(0)
    network = Conv5Fc3Ssda((1, 32, 32), dropout=0.0).eval()
    picture, weight = torch.rand(2, 1, 32, 32), network.convolutions[0].weight
    plain, reversed_ = (
        torch.autograd.grad(network(picture, alpha).domain[:, 0].sum(), weight)[0] for alpha in (-1.0, 0.5)
    )
    torch.testing.assert_close(reversed_, -0.5 * plain)
    first, second = (torch.autograd.grad(network(picture, a).source[:, 0].sum(), weight)[0] for a in (0.0, 1.0))
    torch.testing.assert_close(first, second)


def test_the_reversal_follows_the_published_schedule() -> None:
    assert reversal_strength(0) == 0
    assert reversal_strength(0.1) == pytest.approx(2 / (1 + math.exp(-1)) - 1)
    assert reversal_strength(0.5) == pytest.approx(0.98661, abs=1e-5)
    strengths = [reversal_strength(epoch / 10) for epoch in range(20)]
    assert strengths == sorted(strengths)
    assert strengths[-1] < 1


@pytest.mark.parametrize(
    ("input_size", "flat"), [((1, 64, 64), 128 * 4), ((1, 50, 70), 128 * 2 * 3), ((1, 33, 32, 40), 128 * 2 * 1 * 2)]
)
def test_pictures_and_volumes_of_any_size_pass_through_five_blocks(input_size: tuple[int, ...], flat: int) -> None:
    network = Conv5Fc3Ssda(input_size).eval()
    assert network.fc_class_source[2].in_features == flat
    outputs = network(torch.rand(1, *input_size), 1.0)
    assert [tuple(o.shape) for o in outputs] == [(1, 2)] * 3


def test_an_odd_size_is_padded_with_zeros_in_front() -> None:
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert PadMaxPool(2)(torch.nn.functional.pad(row, (0, 0, 1, 0))).tolist() == [[[[1.0, 3.0]]]]


def test_keys_are_those_of_the_published_checkpoints() -> None:
    keys = set(Conv5Fc3Ssda((1, 32, 32)).state_dict())
    expected = {f"{head}.{k}.{part}" for head in ("fc_class_source", "fc_class_target", "fc_domain")
                for k in (2, 4, 6) for part in ("weight", "bias")}  # fmt: skip
    for block in range(5):
        expected |= {f"convolutions.{4 * block}.{part}" for part in ("weight", "bias")}
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        expected |= {f"convolutions.{4 * block + 1}.{part}" for part in norm}
    assert keys == expected


@pytest.mark.parametrize("input_size", [(1, 40, 32), (1, 32, 32, 32)])
def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, input_size: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    network = Conv5Fc3Ssda(input_size, output_size=3).eval()
    write_checkpoint(network, tmp_path / "checkpoint.pth.tar", epoch=17)
    assert set(torch.load(tmp_path / "checkpoint.pth.tar", weights_only=True)) == {"model", "epoch", "name"}
    loaded, epoch = read_checkpoint(tmp_path / "checkpoint.pth.tar", input_size)
    x = torch.rand(1, *input_size)
    assert epoch == 17
    for ours, theirs in zip(loaded(x), network(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    state = Conv5Fc3Ssda((1, 32, 32)).state_dict()
    with pytest.raises(BundleError, match="2D network"):
        network_for(state, (1, 32, 32, 32))
    with pytest.raises(BundleError, match="does not fit input_size"):
        network_for(state, (1, 96, 96))
    with pytest.raises(BundleError, match="is missing"):
        network_for({"fc.weight": torch.zeros(1)}, (1, 32, 32))
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(BundleError, match="needs 'model'"):
        read_checkpoint(tmp_path / "other.pt", (1, 32, 32))
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint")
    with pytest.raises(BundleError, match="readable"):
        read_checkpoint(tmp_path / "noise.pt", (1, 32, 32))
    with pytest.raises(ValueError, match="input_size"):
        Conv5Fc3Ssda((32, 32))
