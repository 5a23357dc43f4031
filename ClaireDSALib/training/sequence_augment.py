"""Augmentation of temporal channels with their truth, a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ClaireDSALib.models.networks.sequence_net import MAP_STRIDE
from ClaireDSALib.models.sequence_maps import CHANNELS

_CONTROL_POINTS = 6
_BEND = 0.04
"""Deviation of the bending at its control points, in half sides of the picture: about 4 mm of a head."""

_OPACITIES = [n for n, name in enumerate(CHANNELS) if name.startswith("opacity") or name == "peak"]


class MapsBatch(NamedTuple):
    """Runs side by side.

    ``maps`` (B, C, S, S); ``territory`` (B, S/4, S/4) 0..1; ``site`` (B, 2) row and column in pixels, NaN for none.
    """

    maps: Tensor
    territory: Tensor
    site: Tensor


def augment(batch: MapsBatch, groups: Tensor, generator: torch.Generator) -> MapsBatch:
    """Move the runs of a group alike, and vary gain and noise.

    Mirror, turn (20 degrees), scale (0.8 to 1.2, and 0.92 to 1.08 across), shift (16 % of half a side) and bend
    smoothly (:data:`_BEND`), so that no head is met twice.

    Parameters
    ----------
    groups : (B,) int64 tensor
        Twins share a number, so that they still differ in nothing but the clot.
    generator : torch.Generator
        On the CPU.
    """
    count = int(groups.max()) + 1
    affine = _affines(count, generator)
    bends = _BEND * torch.randn((count, 2, _CONTROL_POINTS, _CONTROL_POINTS), generator=generator)
    move = _Move(*(part[groups].to(batch.maps.device) for part in (*affine, bends)))
    maps = move.pictures(batch.maps, "border")
    territory = move.pictures(batch.territory[:, None], "zeros")[:, 0]
    return MapsBatch(_varied(maps, groups, generator), territory, move.sites(batch.site, batch.maps.shape[-1]))


class _Move(NamedTuple):
    """Where a place of the new picture comes from: ``matrix @ place + shift + bend(place)``.

    In the x, y order and -1..1 range of ``grid_sample``; ``matrix`` (B, 2, 2), ``shift`` (B, 2), ``bends``
    (B, 2, K, K) at control points.
    """

    matrix: Tensor
    shift: Tensor
    bends: Tensor

    def pictures(self, pictures: Tensor, padding: str) -> Tensor:
        """(B, C, S, S) moved."""
        theta = torch.cat([self.matrix, self.shift[:, :, None]], 2)
        grid = nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
        grid = grid + self._field(pictures.shape[-1]).permute(0, 2, 3, 1)
        return nn.functional.grid_sample(pictures, grid, padding_mode=padding, align_corners=False)

    def sites(self, sites: Tensor, size: int) -> Tensor:
        """(B, 2) row and column in the moved pictures of side ``size``; NaN when they left the picture."""
        wanted = (sites.flip(1) + 0.5) * 2 / size - 1 - self.shift
        field = self._field(size)
        place = torch.linalg.solve(self.matrix, wanted[:, :, None])[:, :, 0]
        for _ in range(6):  # the bend is slight: each round leaves less than half of the error
            bend = nn.functional.grid_sample(
                field, torch.nan_to_num(place)[:, None, None], padding_mode="border", align_corners=False
            )[:, :, 0, 0]
            place = torch.linalg.solve(self.matrix, (wanted - bend)[:, :, None])[:, :, 0]
        pixel = ((place + 1) * size / 2 - 0.5).flip(1)
        inside = ((pixel >= 0) & (pixel < size)).all(1, keepdim=True)
        return torch.where(inside, pixel, torch.full_like(pixel, float("nan")))

    def _field(self, size: int) -> Tensor:
        return nn.functional.interpolate(self.bends, size=(size, size), mode="bicubic", align_corners=False)


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
