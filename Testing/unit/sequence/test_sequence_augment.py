"""Truth moves with the pictures, and twins are moved alike."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="augmentation needs torch")

from ClaireDSALib.models.sequence_maps import CHANNELS  # noqa: E402
from ClaireDSALib.training.sequence_augment import MapsBatch, augment, site_targets  # noqa: E402

_SIZE = 64


def _batch(sites) -> MapsBatch:
    """A bell of opacity at each site, and the same bell as missing territory."""
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    bells = np.stack([np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 18.0) for r, c in sites])
    maps = torch.from_numpy(np.repeat(bells[:, None], len(CHANNELS), 1).astype(np.float32))
    territory = torch.nn.functional.avg_pool2d(maps[:, :1], 4)[:, 0]
    return MapsBatch(maps, territory, torch.tensor(sites, dtype=torch.float32))


@pytest.mark.parametrize("seed", range(6))
def test_site_and_territory_move_with_the_picture(seed):
    batch = augment(_batch([(28.0, 36.0)]), torch.zeros(1, dtype=torch.int64), torch.Generator().manual_seed(seed))
    brightest = np.unravel_index(int(batch.maps[0, 1].argmax()), (_SIZE, _SIZE))
    np.testing.assert_allclose(brightest, batch.site[0].numpy(), atol=1.5)
    cell = np.unravel_index(int(batch.territory[0].argmax()), (_SIZE // 4, _SIZE // 4))
    np.testing.assert_allclose((np.array(cell) + 0.5) * 4 - 0.5, batch.site[0].numpy(), atol=4.0)


def test_twins_are_moved_alike_and_others_differently():
    same = [(30.0, 30.0)] * 3
    moved = augment(_batch(same), torch.tensor([0, 0, 1]), torch.Generator().manual_seed(2)).site
    torch.testing.assert_close(moved[0], moved[1])
    assert not torch.allclose(moved[0], moved[2])


def test_a_site_that_leaves_the_picture_is_no_site():
    batch = _batch([(1.0, 1.0)] * 40)
    moved = augment(batch, torch.arange(40), torch.Generator().manual_seed(0)).site
    gone = torch.isnan(moved).any(1)
    assert gone.any()
    assert ((moved[~gone] >= 0) & (moved[~gone] < _SIZE)).all()


def test_site_targets_sum_to_one_where_there_is_a_site():
    bells, there = site_targets(torch.tensor([[20.0, 33.0], [float("nan"), float("nan")]]), 16)
    assert there.tolist() == [True, False]
    assert bells.sum((1, 2)).tolist() == pytest.approx([1.0, 0.0])
    assert np.unravel_index(int(bells[0].argmax()), (16, 16)) == (5, 8)
