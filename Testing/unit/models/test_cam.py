"""Closed-form maps equal autograd's Grad-CAM and Grad-CAM++; faithfulness measures know the answer."""

from __future__ import annotations

import numpy as np
import pytest

from ClaireDSALib.models import cam

torch = pytest.importorskip("torch", reason="torch is not installed")

from Testing.unit.models.tiny_bundle import smooth_noise, tiny_network  # noqa: E402


@pytest.fixture(scope="module")
def a_network():
    return tiny_network()[0]


@pytest.fixture(scope="module")
def an_image() -> torch.Tensor:
    return smooth_noise(1, seed=3)


def autograd_parts(network, image, output):
    """Activations and the gradient of one calibrated logit, by autograd."""
    activations = network.activations(image).detach().requires_grad_(True)
    weights, bias = network.calibrated_head()
    logit = (activations.mean(dim=(2, 3)) @ weights.T + bias)[0, output]
    return activations, torch.autograd.grad(logit, activations)[0], logit


def test_the_mean_of_a_map_plus_the_bias_is_the_logit(a_network, an_image) -> None:
    with torch.no_grad():
        maps = a_network.explain(an_image).cam[0]
        weights, bias = a_network.calibrated_head()
        logits = a_network.features(an_image) @ weights.T + bias
    torch.testing.assert_close(maps.mean(dim=(1, 2)) + bias, logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("output", [0, 4, 20])
def test_closed_form_equals_grad_cam_by_autograd(a_network, an_image, output) -> None:
    activations, gradient, _ = autograd_parts(a_network, an_image, output)
    alpha = gradient.mean(dim=(2, 3), keepdim=True) * gradient.shape[2] * gradient.shape[3]
    expected = (alpha * activations).sum(dim=1)[0].detach()
    closed = a_network.explain(an_image).cam[0, output].detach()
    torch.testing.assert_close(closed, expected, atol=1e-5, rtol=1e-5)
    assert closed.abs().max() > 0.1


@pytest.mark.parametrize("output", [0, 4, 20])
def test_closed_form_equals_grad_cam_plus_plus_by_autograd(a_network, an_image, output) -> None:
    activations, g, _ = autograd_parts(a_network, an_image, output)
    g, a = g.double(), activations.detach().double()
    denominator = 2 * g**2 + (a * g**3).sum(dim=(2, 3), keepdim=True)
    alpha = torch.where(g != 0, g**2 / denominator, torch.zeros_like(g))
    weights = (alpha * g.clamp(min=0)).sum(dim=(2, 3), keepdim=True)
    expected = (weights * a).sum(dim=1)[0]
    closed = a_network.explain(an_image).cam_plus_plus[0, output].detach().double()
    torch.testing.assert_close(closed, expected, atol=1e-6, rtol=1e-4)


def test_numpy_forms_equal_those_in_the_network(a_network, an_image) -> None:
    with torch.no_grad():
        activations = a_network.activations(an_image)[0].numpy()
        weights = a_network.calibrated_head()[0].numpy()
        outputs = a_network.explain(an_image)
    np.testing.assert_allclose(cam.gradcam(activations, weights), outputs.cam[0].numpy(), atol=1e-4)
    plus = cam.gradcam_plus_plus(activations, weights)
    np.testing.assert_allclose(plus, outputs.cam_plus_plus[0].numpy(), atol=1e-4)


def test_closed_form_equals_monai_grad_cam_up_to_the_number_of_positions(a_network, an_image) -> None:
    visualize = pytest.importorskip("monai.visualize", reason="MONAI is not installed")

    class Logits(torch.nn.Module):
        def __init__(self, network) -> None:
            super().__init__()
            self.trunk, self.network = network.trunk, network

        def forward(self, x):
            pooled = self.trunk(((x - 0.5) / 0.25).expand(-1, 3, -1, -1)).mean(dim=(2, 3))
            weights, bias = self.network.calibrated_head()
            return pooled @ weights.T + bias

    module = Logits(a_network).eval()
    monai_cam = visualize.GradCAM(nn_module=module, target_layers="trunk.top", postprocessing=lambda x: x)
    found = monai_cam.compute_map(an_image, class_idx=4, layer_idx=-1)[0, 0].detach()
    closed = a_network.explain(an_image).cam[0, 4].detach().clamp(min=0)
    torch.testing.assert_close(found * closed.numel(), closed, atol=1e-4, rtol=1e-4)


def test_maps_of_a_label_sum_to_zero_over_its_classes(a_network, an_image) -> None:
    maps = a_network.explain(an_image).cam[0].detach()
    for part in maps.split(a_network.class_counts):
        assert part.sum(dim=0).abs().max() < 1e-4


def test_upsampling_keeps_a_constant_map_and_the_position_of_a_peak() -> None:
    constant = np.full((7, 7), 2.5, np.float32)
    np.testing.assert_allclose(cam.upsample(constant, (100, 120)), 2.5, atol=1e-5)
    peak = np.zeros((8, 8), np.float32)
    peak[2, 6] = 1
    large = cam.upsample(peak, (160, 160))
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert abs(row - 50) <= 1
    assert abs(column - 130) <= 1


def test_mass_inside_the_cause_is_one_where_the_map_is_and_its_share_elsewhere() -> None:
    evidence = np.zeros((8, 8), np.float32)
    evidence[:4] = 1
    everywhere, upper = np.ones((64, 64), bool), np.zeros((64, 64), bool)
    upper[:36] = True
    assert cam.mass_inside(evidence, everywhere) == pytest.approx(1)
    assert cam.mass_inside(evidence, upper) == pytest.approx(1, abs=0.02)
    assert cam.mass_inside(np.ones((8, 8), np.float32), upper) == pytest.approx(36 / 64)
    assert np.isnan(cam.mass_inside(-evidence, everywhere))


def test_deleting_what_matters_first_falls_faster() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((64, 64)).astype(np.float32) * 0.01
    image[8:24, 8:24] += 1

    def predict(x: np.ndarray) -> float:
        return float(x[8:24, 8:24].mean())

    right, wrong = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    right[1:3, 1:3] = 1
    wrong[5:7, 5:7] = 1
    assert cam.deletion_curve(image, right, predict)[1] < cam.deletion_curve(image, wrong, predict)[1] - 0.1
    insert = [cam.deletion_curve(image, m, predict, insert=True)[1] for m in (right, wrong)]
    assert insert[0] > insert[1] + 0.1
