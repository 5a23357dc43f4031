"""The verdict's last layers learn from features that were computed once."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from ClaireDSALib.models.networks.sequence_net import SequenceNet, SequenceNetConfig  # noqa: E402
from ClaireDSALib.training.roc import auc  # noqa: E402
from ClaireDSALib.training.sequence_head import PooledFeatures, refine_head  # noqa: E402


def test_the_head_learns_and_the_rest_of_the_network_stays():
    torch.manual_seed(0)
    network = SequenceNet(SequenceNetConfig(map_widths=(8, 8, 8, 8), frame_widths=(8, 8, 8), hidden=8))
    width = network.maps.thrombus_head[1].in_features

    def runs(seed):
        generator = torch.Generator().manual_seed(seed)
        labels = (torch.arange(120) % 2).float()
        features = torch.randn((120, width), generator=generator)
        features[:, 3] += 2.5 * labels
        return PooledFeatures(features, labels, torch.arange(120) // 2)

    before = network.maps.down0[0].weight.clone()
    held_out = runs(1)
    loss = refine_head(network, runs(2), held_out, epochs=25, learning_rate=3e-3)
    with torch.no_grad():
        scores = network.maps.thrombus_head(held_out.features)[:, 0].numpy()
    assert auc(held_out.labels.numpy() > 0, scores).value > 0.85
    assert loss < np.log(2)
    torch.testing.assert_close(network.maps.down0[0].weight, before)
