"""Augmentation of temporal channels with their truth, a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import MAP_STRIDE
from ClaireDSALib.models.sequence_maps import CHANNELS

_OPACITIES = [n for n, name in enumerate(CHANNELS) if name.startswith("opacity") or name == "peak"]


class MapsBatch(NamedTuple):
    """Runs side by side.

    ``maps`` (B, C, S, S); ``territory`` (B, S/4, S/4) 0..1; ``site`` (B, 2) row and column in pixels, NaN for none.
    """

    maps: Tensor
    territory: Tensor
    site: Tensor


def augment(batch: MapsBatch, groups: Tensor, generator: torch.Generator) -> MapsBatch:
    """Mirror, turn (20 degrees), scale (0.75 to 1.25, each axis) and shift (8 %) alike in a group; vary gain, noise.

    Parameters
    ----------
    groups : (B,) int64 tensor
        Twins share a number, so that they still differ in nothing but the clot.
    generator : torch.Generator
        On the CPU.
    """
    matrix, shift = _affines(int(groups.max()) + 1, generator)
    matrix, shift = matrix[groups].to(batch.maps.device), shift[groups].to(batch.maps.device)
    theta = torch.cat([matrix, shift[:, :, None]], 2)
    maps = _moved(batch.maps, theta, "border")
    territory = _moved(batch.territory[:, None], theta, "zeros")[:, 0]
    return MapsBatch(_varied(maps, groups, generator), territory, _moved_sites(batch, matrix, shift))


def _affines(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Output-to-input matrices (G, 2, 2) and shifts (G, 2) in the x, y order and -1..1 range of ``grid_sample``."""
    draw = torch.rand(6, count, generator=generator)
    angle = (draw[0] - 0.5) * 2 * 0.35
    scale = 0.8 + 0.4 * draw[1]
    stretch = 0.92 + 0.16 * draw[2]  # heads differ in shape, and memorised heads do not help
    mirror = torch.where(draw[3] < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    matrix = torch.stack(
        [torch.stack([cos * mirror * stretch, -sin], 1), torch.stack([sin * mirror * stretch, cos], 1)], 1
    )
    return matrix, (draw[4:].T - 0.5) * 0.32


def _moved(pictures: Tensor, theta: Tensor, padding: str) -> Tensor:
    grid = nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures, grid, padding_mode=padding, align_corners=False)


def _moved_sites(batch: MapsBatch, matrix: Tensor, shift: Tensor) -> Tensor:
    """Sites in the moved pictures; NaN when they left the picture."""
    size = batch.maps.shape[-1]
    place = (batch.site.flip(1) + 0.5) * 2 / size - 1
    new = torch.linalg.solve(matrix, (place - shift)[:, :, None])[:, :, 0]
    pixel = ((new + 1) * size / 2 - 0.5).flip(1)
    inside = ((pixel >= 0) & (pixel < size)).all(1, keepdim=True)
    return torch.where(inside, pixel, torch.full_like(pixel, float("nan")))


def _varied(maps: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    count = int(groups.max()) + 1
    gain = (0.75 + 0.5 * torch.rand(count, generator=generator))[groups].to(maps.device)
    grain = (0.03 * torch.rand(count, generator=generator))[groups].to(maps.device)
    varied = maps.clone()
    field = torch.randn(maps[:, :1].shape, generator=generator)  # one field for all channels, in random proportions
    share = torch.randn((len(maps), len(_OPACITIES), 1, 1), generator=generator)
    noise = (field * share).to(maps.device)
    varied[:, _OPACITIES] = maps[:, _OPACITIES] * gain[:, None, None, None] + noise * grain[:, None, None, None]
    return varied


def site_targets(sites: Tensor, cells: int, sigma_cells: float = 0.9) -> tuple[Tensor, Tensor]:
    """Bells (B, cells, cells) that sum to one, zero where there is no site, and which rows have one (B,) bool."""
    there = torch.isfinite(sites).all(1)
    centre = (torch.nan_to_num(sites) + 0.5) / MAP_STRIDE - 0.5
    axis = torch.arange(cells, device=sites.device, dtype=sites.dtype)
    rows = torch.exp(-((axis[None] - centre[:, :1]) ** 2) / (2 * sigma_cells**2))
    columns = torch.exp(-((axis[None] - centre[:, 1:]) ** 2) / (2 * sigma_cells**2))
    bell = rows[:, :, None] * columns[:, None, :]
    bell = bell / bell.sum((1, 2), keepdim=True).clamp_min(1e-6)
    return bell * there[:, None, None], there
