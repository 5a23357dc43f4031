"""Patches for the vessel network: turned, scaled, mirrored, and given another look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ClaireDSALib.models.vessel_input import COURSE, MAX_WORK_PX, MIN_WORK_PX
from ClaireDSALib.training.vessel_examples import VesselExample

LOG2_SCALE = (-0.6, 1.3)
"""Zoom of a patch: from pictures shrunk for display to 384 px runs seen as 1024 px ones."""
TURN_DEG = 25.0

_AS_ANALYSED = 0.5

_ON_VESSEL = 0.65
_WITHOUT_TIMES = 0.25
_MEAN, _LIMIT = (1 + COURSE.index(name) for name in ("mean", "limit"))
_NOISE_OF_MEAN = 0.35
"""Of the noise of one frame: runs have about ten."""


def draw_batch(
    examples: Sequence[VesselExample], weights: npt.NDArray[np.float64], n: int, size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """``(n, 5, size, size)`` images and ``(n, 3, size, size)`` truths of examples drawn with ``weights`` (sum 1)."""
    chosen = rng.choice(len(examples), n, p=weights)
    pairs = [patch(examples[int(number)], size, rng) for number in chosen]
    return torch.stack([image for image, _ in pairs]), torch.stack([truth for _, truth in pairs])


def patch(one: VesselExample, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One patch: image ``(5, size, size)`` and truth ``(3, size, size)``, float32.

    Half of the patches are as the analysis shows them, mirrored at most, so that what can just be told from noise is
    learnt; the others have another look, so that other consoles' pictures are understood.
    """
    as_analysed = rng.random() < _AS_ANALYSED
    turn = _mirrored(one, rng) if as_analysed else _turn(rng)
    corners, offset = _crop(one, turn, size, rng)
    (top, bottom), (left, right) = corners
    image = np.asarray(one.image[:, top:bottom, left:right], np.float32)
    truth = np.asarray(one.truth[:, top:bottom, left:right], np.float32)
    zoom = float(np.sqrt(abs(np.linalg.det(turn))))
    if zoom > 1.3:  # shrinking: average first
        image = ndimage.gaussian_filter(image, (0, 0.45 * zoom, 0.45 * zoom))
    sampled = _sampled(np.concatenate([image, truth]), turn, offset, size)
    shown, truth = sampled[: len(image)], (sampled[len(image) :] > 0.5).float()
    if not as_analysed:
        return new_look(shown, rng), truth
    if rng.random() < _WITHOUT_TIMES:
        shown[1:] = 0
    return shown, truth


def _mirrored(one: VesselExample, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(2, 2) from patch pixels to picture pixels at the size the network is shown the run."""
    side = max(one.opacity.shape)
    scale = min(float(np.clip(side, MIN_WORK_PX, MAX_WORK_PX)) / side, 2 ** LOG2_SCALE[1])
    return np.diag(rng.choice([-1.0, 1.0], 2)) / scale


def _turn(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(2, 2) from patch pixels to picture pixels."""
    angle, scale = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG)), 2 ** rng.uniform(*LOG2_SCALE)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    return turn @ np.diag([1.0, rng.choice([-1.0, 1.0])])


def _crop(
    one: VesselExample, turn: npt.NDArray[np.float64], size: int, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], npt.NDArray[np.float64]]:
    """Rows and columns that the patch needs, and where its first pixel lies in them."""
    shape = np.array(one.opacity.shape)
    reach = np.abs(turn) @ np.full(2, size / 2)
    if len(one.centres) and rng.random() < _ON_VESSEL:
        centre = one.centres[rng.integers(len(one.centres))] + rng.uniform(-0.3, 0.3, 2) * reach
    else:
        centre = rng.uniform(0, shape)
    centre = np.clip(centre, np.minimum(reach, shape / 2), np.maximum(shape - reach, shape / 2))
    low = np.maximum(np.floor(centre - reach - 2), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach + 3), shape).astype(int)
    offset = centre - turn @ np.full(2, (size - 1) / 2) - low
    return [(int(low[k]), int(high[k])) for k in (0, 1)], offset


def _sampled(
    channels: npt.NDArray[np.float32], turn: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], size: int
) -> Tensor:
    """(C, size, size): value at ``turn @ (row, column) + offset``; the border goes on for ever."""
    height, width = channels.shape[1:]
    row, column = np.mgrid[:size, :size].reshape(2, -1)
    where = turn @ np.stack([row, column]) + offset[:, None]
    grid = np.stack([2 * where[1] / max(width - 1, 1) - 1, 2 * where[0] / max(height - 1, 1) - 1], -1)
    points = torch.from_numpy(grid.astype(np.float32)).view(1, size, size, 2)
    source = torch.from_numpy(np.ascontiguousarray(channels))[None]
    return functional.grid_sample(source, points, padding_mode="border", align_corners=True)[0]


def new_look(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Another gain, sharpness, background, noise and depth of ``image`` ``(C, h, w)``; what frames tell may be hidden.

    The detection limit, the last of five channels, changes by the gain alone.
    """
    values, limit = image.numpy(), image.numpy()[_LIMIT:]
    known = bool(values[1:].any()) and rng.random() > _WITHOUT_TIMES
    values = values[:_LIMIT] if known else values[:1]
    if rng.random() < 0.5:
        values = np.sign(values) * np.abs(values) ** rng.uniform(0.6, 1.5)
    if rng.random() < 0.45:
        sigma = rng.uniform(0.3, 1.7)
        values = ndimage.gaussian_filter(values, (0, sigma, sigma))
    if rng.random() < 0.3:  # edge enhancement, as consoles apply it
        wide = rng.uniform(1, 3)
        values = values + rng.uniform(0.3, 1.2) * (values - ndimage.gaussian_filter(values, (0, wide, wide)))
    if rng.random() < 0.5:  # slow background: scatter, imperfect subtraction
        coarse = rng.normal(0, rng.uniform(0, 0.08), (4, 4))
        values = values + ndimage.zoom(coarse, np.array(values.shape[1:]) / 4, order=1)
    gain = rng.uniform(0.7, 1.4)
    values = values * gain + rng.normal(0, 0.03)
    if rng.random() < 0.7:
        noise = rng.normal(0, rng.uniform(0, 0.07), values.shape)
        noise[_MEAN:] *= _NOISE_OF_MEAN
        values = values + noise
    if rng.random() < 0.3:
        levels = rng.integers(48, 255)
        values = np.round(values * levels) / levels
    out = np.zeros(image.shape, np.float32)
    out[: len(values)] = np.clip(values, -0.5, 1.5)
    if known:
        out[_LIMIT:] = limit * gain
    return torch.from_numpy(out)
