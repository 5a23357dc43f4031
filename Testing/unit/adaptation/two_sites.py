"""Two made-up sites: discs and bars, plain at the first site, darkened and sharpened at the second."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ClaireDSALib.models.labels import LabelSet, LabelSpec
from ClaireDSALib.models.preprocessing import InputSpec
from ClaireDSALib.training.samples import UNKNOWN, LabelledPictures

LABELS = LabelSet((LabelSpec("shape", ("disc", "bar")), LabelSpec("height", ("low", "high"))))
SPEC = InputSpec(size_px=32, views=("linear",))
SIDE = 37


def site(n: int, seed: int, *, second: bool = False, share_of_discs: float = 0.5) -> LabelledPictures:
    """``n`` pictures of ``n / 4`` patients; every label is known."""
    rng = np.random.default_rng(seed)
    images, targets = np.empty((n, SIDE, SIDE), np.uint16), np.empty((n, 2), np.int64)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for k in range(n):
        shape, height = int(rng.random() >= share_of_discs), int(rng.integers(0, 2))
        row, column = 10 + 16 * height + rng.integers(-2, 3), rng.integers(12, 25)
        away = np.hypot(rows - row, columns - column) < 6 if shape == 0 else np.abs(rows - row) < 2
        x = 0.7 + 0.03 * rng.standard_normal((SIDE, SIDE)) - 0.4 * away
        if second:
            x = np.clip(x, 0, 1) ** 4
            x = x + 2 * (x - ndimage.gaussian_filter(x, 1.5)) + 0.1 * rng.standard_normal(x.shape)
        images[k] = np.round(65535 * np.clip((x - x.min()) / np.ptp(x), 0, 1))
        targets[k] = shape, height
    patients = np.array([f"{'b' if second else 'a'}{seed}_{k // 4}" for k in range(n)])
    names = tuple(f"run{k}.npy" for k in range(n))
    return LabelledPictures(images, targets, patients, LABELS, names, np.array([""] * n))


def hidden(pictures: LabelledPictures, shown: int) -> LabelledPictures:
    """Only the first pictures keep their labels."""
    targets = np.full_like(pictures.targets, UNKNOWN)
    targets[:shown] = pictures.targets[:shown]
    return LabelledPictures(
        pictures.images, targets, pictures.patients, pictures.labels, pictures.names, pictures.groups
    )
