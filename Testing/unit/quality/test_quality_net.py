"""The light network: its size, what its attention can see, and that training teaches it both tasks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the quality network needs torch")

from ClaireDSALib.models.networks.quality_net import LocalGlobalAttention, QualityNet  # noqa: E402
from ClaireDSALib.training.quality_data import QualityExample, pack  # noqa: E402
from ClaireDSALib.training.quality_fit import QualityFitSettings, fit, joint_loss, quick_figures  # noqa: E402
from ClaireDSALib.training.quality_publish import LARGEST_PARAMETERS  # noqa: E402

TINY = {"channels": (8, 8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": 2}


def test_the_network_is_no_larger_than_the_published_one():
    assert sum(p.numel() for p in QualityNet().parameters()) <= LARGEST_PARAMETERS == 3_450_000


def test_vessels_come_at_the_full_resolution_and_one_grade_for_each_picture():
    with torch.no_grad():
        found = QualityNet(**TINY).eval()(torch.zeros(2, 1, 128, 256))
    assert found.vessels.shape == (2, 1, 128, 256)
    assert found.quality.shape == (2, 3)


def test_a_cell_attends_to_its_window_and_to_the_whole_picture():
    torch.manual_seed(0)
    attention = LocalGlobalAttention(8, window=4, tokens=2, heads=2).eval()
    picture = torch.randn(1, 8, 16, 16)
    far = picture.clone()
    far[..., 12:, 12:] += 3.0  # no neighbour of the cell looked at, and in another window
    with torch.no_grad():
        assert not torch.allclose(attention(picture)[..., 0, 0], attention(far)[..., 0, 0], atol=1e-5)
        shared = attention.key_value.weight.clone()
        attention.key_value.weight.zero_()
        attention.key_value.bias.zero_()
        assert torch.allclose(attention(picture)[..., 0, 0], attention(far)[..., 0, 0], atol=1e-6)
    assert shared.abs().sum() > 0


def test_attention_keeps_every_cell_in_its_place():
    attention = LocalGlobalAttention(4, window=4, tokens=2, heads=1).eval()
    for layer in (attention.position, attention.out, attention.mix[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    picture = torch.randn(2, 4, 8, 12)
    with torch.no_grad():
        assert torch.equal(attention(picture), picture)


def test_no_gradient_flows_from_the_grade_into_the_vessel_head():
    network = QualityNet(**TINY)
    network(torch.randn(2, 1, 128, 128)).quality.sum().backward()
    assert network.vessel_head[0].weight.grad is None
    assert network.stem[0].weight.grad.abs().sum() > 0


def test_a_perfect_answer_costs_less_than_a_wrong_one_and_left_out_vessels_cost_nothing():
    truth = (torch.rand(2, 1, 16, 16) > 0.8).float()
    sure, grades = 20 * (2 * truth - 1), torch.tensor([0, 2])
    right = torch.nn.functional.one_hot(grades, 3) * 10.0
    weights = torch.ones(2)
    perfect = joint_loss(sure, right, truth, weights, grades, 1.0)
    assert perfect < joint_loss(-sure, right, truth, weights, grades, 1.0) - 0.9
    assert perfect < joint_loss(sure, -right, truth, weights, grades, 1.0) - 0.9
    alone = joint_loss(-sure, right, truth, torch.zeros(2), grades, 1.0)
    assert alone == joint_loss(sure, right, truth, torch.zeros(2), grades, 1.0)


def _example(number: int) -> QualityExample:
    """A bar on a ground that is clean or noisy: good or poor."""
    rng = np.random.default_rng(number)
    poor = number % 2 == 1
    vessels = np.zeros((128, 128), bool)
    column = int(rng.integers(10, 90))
    vessels[:, column : column + 24] = True
    opacity = vessels + rng.normal(0, 0.2 if poor else 0.01, vessels.shape)
    return QualityExample(pack(opacity, np.ones_like(vessels)), vessels, 2 if poor else 0, f"p{number}")


def test_training_teaches_vessels_and_grades_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("ClaireDSALib.training.quality_fit.WORK_PX", 128)
    monkeypatch.setattr("ClaireDSALib.training.quality_fit._MEDIUM_PX", 128)
    examples = [_example(k) for k in range(8)]
    said: list[str] = []
    settings = {
        "batch": 4,
        "learning_rate": 2e-2,
        "average": 0.8,
        "bfloat16": False,
        "validate_every": 40,
        "small_share": 0.0,
    }
    first = QualityFitSettings(steps=40, **settings)
    fit(examples, examples, first, tmp_path / "c.pt", network=QualityNet(**TINY), report=said.append)
    whole = QualityFitSettings(steps=80, **settings)
    network = fit(examples, examples, whole, tmp_path / "c.pt", network=QualityNet(**TINY), report=said.append)
    assert "resumed after step 40" in said
    dice, accuracy = quick_figures(network, examples)
    assert dice > 0.6
    assert accuracy == 1.0
