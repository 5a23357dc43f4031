"""Train the device network on simulated brightest pictures with truth; resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import nn
from torch.nn import functional

from ClaireDSALib.models.device_input import channels_of
from ClaireDSALib.models.networks.device_net import STRIDE, DeviceNet
from ClaireDSALib.models.preprocessing import resize
from ClaireDSALib.training.fit_best import FitSettings, fit_best
from ClaireDSALib.training.roc import auc
from ClaireDSALib.training.simulated_set import read_index

SIZE_PX = 512
"""Side of the square that the network is shown."""

_LEAST_SCALE, _MOST_SCALE = 0.75, 1.3
_EDGE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class DeviceExample:
    """One picture and where devices stand out in it.

    Attributes
    ----------
    picture : (S, S) uint16 ndarray
        Spread over the range.
    device : (S, S) bool ndarray
        Any pixel of the original that it stands for.
    patient : str
    label : str or None
        ``present``, ``absent`` or, where readers would disagree, None.
    """

    picture: npt.NDArray[np.uint16]
    device: npt.NDArray[np.bool_]
    patient: str
    label: str | None


@dataclass(frozen=True)
class DeviceFitSettings(FitSettings):
    """Choices of one training."""

    steps: int = 6000
    validate_every: int = 300
    batch: int = 6
    crop_px: int = 320


def load_device_examples(folder: str | Path, split: str) -> list[DeviceExample]:
    """Pictures of a set of ``claire-dsa train device-set``; ``split`` is "train" or "validation"."""
    examples = []
    for line in read_index(Path(folder), "claire-dsa train device-set"):
        if line["split"] != split:
            continue
        with np.load(Path(folder) / line["npz"], allow_pickle=False) as arrays:
            picture, device = arrays["brightest"], arrays["device"]
        if picture.min() < picture.max():
            examples.append(DeviceExample(_spread(picture), _any_in(device), line["patient"], line["labels"]["device"]))
    return examples


def load_brightest_pictures(folder: str | Path, split: str) -> list[DeviceExample]:
    """Brightest pictures of a set of ``claire-dsa train label-set``, which says what they show but not where."""
    examples = []
    for line in read_index(Path(folder), "claire-dsa train label-set"):
        if line["split"] != split or line.get("picture") == "subtracted":
            continue
        with np.load(Path(folder) / line["npz"], allow_pickle=False) as arrays:
            picture = arrays.get("brightest")
        if picture is not None and picture.min() < picture.max():
            nowhere = np.zeros((SIZE_PX, SIZE_PX), bool)
            examples.append(DeviceExample(_spread(picture), nowhere, line["patient"], line["labels"]["device"]))
    return examples


def fit_devices(
    train: Sequence[DeviceExample],
    validation: Sequence[DeviceExample],
    settings: DeviceFitSettings,
    checkpoint: Path,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> DeviceNet:
    """Train and return the network with the best validation score; an existing checkpoint is resumed.

    The score is the area under the ROC curve of the expected area of devices, for the label.

    Parameters
    ----------
    train, validation : sequence of DeviceExample
    settings : DeviceFitSettings
    checkpoint : Path
    report : callable
        Told one line after each validation.
    """
    torch.manual_seed(settings.seed)
    network = DeviceNet().to(memory_format=torch.channels_last)

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        images, truths, weights = _batch(train, settings, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        return _loss(logits.float(), truths, weights)

    def judge(averaged: nn.Module) -> tuple[float, str]:
        score = area_score(averaged, validation)
        return score, f"AUC by area {score:.4f}"

    fit_best(network, loss_of, judge, settings, checkpoint, report=report)
    return network


@torch.no_grad()
def map_of(network: nn.Module, picture: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Logits ``(S / 2, S / 2)`` of a square picture ``(S, S)``."""
    network.eval()
    channels = torch.from_numpy(channels_of(picture.astype(np.float32)))[None]
    return network(channels)[0, 0].numpy()


def area_score(network: nn.Module, examples: Sequence[DeviceExample]) -> float:
    """Area under the ROC curve of the expected share of devices, over the examples whose label is known."""
    known = [one for one in examples if one.label is not None]
    shares = [float((1 / (1 + np.exp(-map_of(network, one.picture)))).mean()) for one in known]
    return auc(np.array([one.label == "present" for one in known]), np.array(shares)).value


def _spread(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    small = resize(picture, SIZE_PX)
    low, high = float(small.min()), float(small.max())
    return np.round(65535 * (small - low) / max(high - low, 1e-6)).astype(np.uint16)


def _any_in(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return resize(mask.astype(np.float32), SIZE_PX) > 1 / 3


def _batch(
    examples: Sequence[DeviceExample], settings: DeviceFitSettings, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = [_drawn(examples[int(rng.integers(len(examples)))], settings.crop_px, rng) for _ in range(settings.batch)]
    images, truths, weights = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
    return images.to(memory_format=torch.channels_last), truths, weights


def _drawn(
    one: DeviceExample, crop_px: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A crop, turned, scaled and with its greys changed: channels, truth and weights at the network's stride."""
    picture = one.picture.astype(np.float32) / 65535
    scale = float(rng.uniform(_LEAST_SCALE, _MOST_SCALE))
    side = min(round(crop_px / scale), picture.shape[0])
    row, column = _corner(one.device, side, rng)
    picture, device = (image[row : row + side, column : column + side] for image in (picture, one.device))
    greys = Image.fromarray(_other_greys(picture, rng)).resize((crop_px, crop_px), Image.Resampling.BILINEAR)
    mask = Image.fromarray(device.astype(np.float32)).resize((crop_px, crop_px), Image.Resampling.BILINEAR)
    turns, flip = int(rng.integers(4)) if rng.random() < 0.3 else 0, rng.random() < 0.5
    greys, mask = (np.rot90(np.asarray(image), turns) for image in (greys, mask))
    greys, mask = (image[:, ::-1] if flip else image for image in (greys, mask))
    found = np.ascontiguousarray(mask) > 0.4
    coarse = found.reshape(crop_px // STRIDE, STRIDE, crop_px // STRIDE, STRIDE).any((1, 3))
    ring = ndimage.binary_dilation(coarse, _EDGE) & ~coarse
    weights = np.where(ring, 0.0, 1.0).astype(np.float32)
    return channels_of(np.ascontiguousarray(greys)), coarse[None].astype(np.float32), weights[None]


def _corner(device: npt.NDArray[np.bool_], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Of a crop; in half of the pictures with a device one that holds a part of it."""
    free = device.shape[0] - side
    if device.any() and rng.random() < 0.5:
        places = np.argwhere(device)
        row, column = places[int(rng.integers(len(places)))] - rng.integers(side // 8, side - side // 8, 2)
        return int(np.clip(row, 0, free)), int(np.clip(column, 0, free))
    return int(rng.integers(free + 1)), int(rng.integers(free + 1))


def _other_greys(picture: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Gamma, blur, noise and saturation, each sometimes."""
    changed = picture ** np.float32(np.exp(rng.uniform(-0.5, 0.5))) if rng.random() < 0.6 else picture
    if rng.random() < 0.25:
        changed = ndimage.gaussian_filter(changed, float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.3:
        changed = changed + rng.normal(0, float(np.exp(rng.uniform(-7, -4))), changed.shape).astype(np.float32)
    if rng.random() < 0.3:
        changed = np.minimum(changed, np.float32(np.quantile(changed, rng.uniform(0.7, 1.0))))
    return np.ascontiguousarray(np.maximum(changed, 0), np.float32)


def _loss(logits: torch.Tensor, truths: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy plus Dice over the batch; the ring around devices does not count."""
    cross = functional.binary_cross_entropy_with_logits(logits, truths, weights)
    chance = logits.sigmoid() * weights
    both, sums = (chance * truths).sum(), chance.sum() + truths.sum()
    return 10 * cross + 1 - (2 * both + 1) / (sums + 1)
