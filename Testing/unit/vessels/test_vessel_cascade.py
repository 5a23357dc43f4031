"""The cascade's features, and that it learns vessels from few pixels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the cascade needs torch")
pytest.importorskip("monai", reason="training shares MONAI's losses")

from ClaireDSALib.models.networks.vessel_cascade import N_CONTEXT, N_FIRST, VesselCascade  # noqa: E402
from ClaireDSALib.training.vessel_examples import VesselExample  # noqa: E402
from ClaireDSALib.training.vessel_fit import mean_dice  # noqa: E402
from ClaireDSALib.training.vessel_pixels import PixelFitSettings, fit_cascade  # noqa: E402


def _picture(seed: int, side: int = 96) -> VesselExample:
    rng = np.random.default_rng(seed)
    artery, vein = np.zeros((side, side), bool), np.zeros((side, side), bool)
    column, row = rng.integers(20, side - 20, 2)
    artery[:, column - 2 : column + 3] = True
    vein[row - 4 : row + 5] = True
    peak = np.maximum(0.9 * artery, 0.8 * vein) + rng.normal(0, 0.05, (side, side))
    times = np.stack([1.0 * artery, 1.0 * vein]) + rng.normal(0, 0.05, (2, side, side))
    truth = np.stack([artery | vein, artery, vein])
    return VesselExample(peak.astype(np.float16), truth, f"p{seed}", times.astype(np.float16), {"motion": "none"})


def test_features_turn_with_the_picture():
    network = VesselCascade((8, 8)).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = network.features(image)
        turned = network.features(image.rot90(1, (2, 3)))
        logits, logits_turned = network(image), network(image.rot90(1, (2, 3)))
    assert features.shape == (1, N_FIRST, 64, 64)
    assert network.context(logits).shape[1] == N_CONTEXT
    np.testing.assert_allclose(features.rot90(1, (2, 3)).numpy(), turned.numpy(), atol=1e-4)
    np.testing.assert_allclose(logits.rot90(1, (2, 3)).numpy(), logits_turned.numpy(), atol=1e-3)


def test_a_cascade_learns_from_few_pixels_and_tells_arteries_from_veins():
    settings = PixelFitSettings(pictures=8, pixels=400, size_px=96, epochs=20, batch=256, learning_rate=1e-2)
    said: list[str] = []
    network = fit_cascade(
        [_picture(s) for s in range(6)], settings, network=VesselCascade((12, 12)), report=said.append
    )
    vessel, artery, vein = mean_dice(network, [_picture(100 + s) for s in range(3)])
    assert vessel > 0.7
    assert artery > 0.6
    assert vein > 0.6
    assert "second network" in said[-1]
