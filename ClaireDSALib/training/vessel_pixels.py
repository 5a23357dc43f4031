"""Train the vessel cascade on pixels sampled from simulated pictures: minutes on a share of one CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from ClaireDSALib.models.networks.vessel_cascade import PixelNet, VesselCascade
from ClaireDSALib.training.vessel_examples import VesselExample
from ClaireDSALib.training.vessel_patches import new_look

_MULTIPLE = 32
_SHARES = (0.4, 0.3, 0.3)
"""Of the sampled pixels: in vessels, beside them, anywhere."""
_BESIDE_PX = 4
_SEVERE_KEPT = 0.35


@dataclass(frozen=True)
class PixelFitSettings:
    """Choices of one training."""

    pictures: int = 150
    pixels: int = 1600
    size_px: int = 512
    log2_zoom: tuple[float, float] = (-0.35, 0.5)
    epochs: int = 14
    batch: int = 4096
    learning_rate: float = 5e-3
    seed: int = 0


@dataclass(frozen=True)
class _Picture:
    image: Tensor
    truth: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]


def fit_cascade(
    train: Sequence[VesselExample],
    settings: PixelFitSettings,
    *,
    network: VesselCascade | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> VesselCascade:
    """Fit the first pixel network, then the second on what the first says around each pixel.

    Parameters
    ----------
    train : sequence of VesselExample
    settings : PixelFitSettings
    network : VesselCascade, optional
    report : callable
        Told one line after each stage.
    """
    torch.manual_seed(settings.seed)
    network = (network or VesselCascade()).eval()
    rng = np.random.default_rng(settings.seed)
    chosen = _chosen(train, settings.pictures, rng)
    pictures = [_picture(train[int(k)], settings, rng) for k in chosen]
    report(f"{len(pictures)} pictures drawn")
    truth = torch.cat([torch.from_numpy(p.truth[:, p.rows, p.columns].T.astype(np.float32)) for p in pictures])
    first = torch.cat([_at(network.features(p.image), p) for p in _told(pictures, report)])
    report(f"first network: loss {_fit(network.first, first, truth, settings):.4f}")
    context = torch.cat([_at(_context(network, p), p) for p in _told(pictures, report)])
    both = torch.cat([first, context], 1)
    report(f"second network: loss {_fit(network.second, both, truth, settings):.4f}")
    return network.eval()


@torch.no_grad()
def _context(network: VesselCascade, one: _Picture) -> Tensor:
    return network.context(network.first(network.features(one.image)))


@torch.no_grad()
def _at(maps: Tensor, one: _Picture) -> Tensor:
    return maps[0][:, one.rows, one.columns].T.clone()


def _told(pictures: Sequence[_Picture], report: Callable[[str], None]) -> Sequence[_Picture]:
    report(f"looking at {len(pictures)} pictures")
    return pictures


def _fit(net: PixelNet, features: Tensor, truth: Tensor, settings: PixelFitSettings) -> float:
    """Binary cross entropy over sampled pixels; returns the mean of the last epoch."""
    net.standardise(features)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(settings.seed)
    per_epoch = -(-len(features) // settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * per_epoch, 1e-5)
    losses: list[float] = []
    for _ in range(settings.epochs):
        losses = []
        for part in torch.randperm(len(features), generator=generator).split(settings.batch):
            logits = net(features[part].T[None, :, None])[0, :, 0].T
            loss = nn.functional.binary_cross_entropy_with_logits(logits, truth[part])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _chosen(train: Sequence[VesselExample], n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Runs to look at; fewer of severe motion, whose truth does not move with the patient."""
    weight = np.array([_SEVERE_KEPT if (one.facts or {}).get("motion") == "severe" else 1.0 for one in train])
    return rng.choice(len(train), n, replace=n > len(train), p=weight / weight.sum())


def _picture(one: VesselExample, settings: PixelFitSettings, rng: np.random.Generator) -> _Picture:
    """A picture at a working size, mirrored and given another look, and the pixels sampled of it."""
    size = settings.size_px * 2 ** rng.uniform(*settings.log2_zoom)
    scale = size / max(one.opacity.shape)
    height, width = (max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in one.opacity.shape)
    channels = np.stack(
        [_resized(c.astype(np.float32), (height, width)) for c in one.image[: VesselCascade.in_channels]]
    )
    truth = np.stack([_resized(c.astype(np.float32), (height, width)) > 0.5 for c in one.truth])
    if rng.random() < 0.5:
        channels, truth = channels[:, :, ::-1], truth[:, :, ::-1]
    image = new_look(torch.from_numpy(np.ascontiguousarray(channels)), rng)
    rows, columns = _sampled(truth[0], settings.pixels, rng)
    return _Picture(image[None], truth, rows, columns)


def _sampled(
    vessel: npt.NDArray[np.bool_], n: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    beside = ndimage.binary_dilation(vessel, iterations=_BESIDE_PX) & ~vessel
    places = []
    for where, share in zip((vessel, beside, np.ones_like(vessel)), _SHARES, strict=True):
        flat = np.flatnonzero(where)
        if len(flat):
            places.append(rng.choice(flat, round(share * n)))
    return np.divmod(np.concatenate(places), vessel.shape[1])


def _resized(channel: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(channel))
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC), np.float32)
