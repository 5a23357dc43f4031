"""Pictures that are no cerebral angiograms, made up for outlier exposure.

Noise, gradients, shapes and text; slices of a CT volume when one is given; coarse chests with coronary-like
trees; scrambled training pictures. They only have to differ from cerebral angiograms in many ways; none is ever
called realistic, and no real angiogram of another organ is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]


def strange_picture(
    size_px: int,
    rng: np.random.Generator,
    *,
    cerebral: npt.NDArray[np.uint16] | None = None,
    volume: npt.NDArray[np.floating] | None = None,
) -> npt.NDArray[np.uint16]:
    """One random outlier ``(size_px, size_px)`` uint16.

    Parameters
    ----------
    size_px : int
    rng : Generator
    cerebral : (S, S) uint16 ndarray, optional
        A training picture to scramble.
    volume : (z, y, x) float ndarray, optional
        CT volume in Hounsfield units to slice.
    """
    makers: list[tuple[float, Callable[[], FloatArray]]] = [
        (1.0, lambda: _clouds(size_px, rng)),
        (1.0, lambda: _shapes(size_px, rng)),
        (3.0, lambda: _chest(size_px, rng)),
    ]
    if volume is not None:
        makers.append((1.5, lambda: _slice(volume, size_px, rng)))
    if cerebral is not None:
        makers.append((1.5, lambda: _scrambled(cerebral, size_px, rng)))
    weights = np.array([w for w, _ in makers])
    x = makers[rng.choice(len(makers), p=weights / weights.sum())][1]()
    x = x - x.min()
    return np.round(65535 * x / max(float(x.max()), 1e-6)).astype(np.uint16)


def _clouds(n: int, rng: np.random.Generator) -> FloatArray:
    """Noise with a power spectrum from white to very smooth."""
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    frequency[0, 0] = 1
    slope = 0.0 if rng.random() < 0.3 else rng.uniform(0, 2.2)
    spectrum = np.fft.rfft2(rng.standard_normal((n, n))) * frequency**-slope
    return np.fft.irfft2(spectrum, (n, n)).astype(np.float32)


def _shapes(n: int, rng: np.random.Generator) -> FloatArray:
    """Gradient with ellipses, boxes, lines and letters: a phantom, a chart, a screen shot."""
    picture = Image.fromarray(_clouds(n, rng) * 5 + np.linspace(0, rng.uniform(-120, 120), n, dtype=np.float32))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(2, 25)):
        box = np.sort(rng.integers(0, n, (2, 2)), axis=0).ravel().tolist()
        grey = float(rng.uniform(-150, 150))
        kind = rng.integers(0, 4)
        if kind == 0:
            draw.ellipse(box, fill=grey)
        elif kind == 1:
            draw.rectangle(box, fill=grey)
        elif kind == 2:
            draw.line(rng.integers(0, n, 4).tolist(), fill=grey, width=int(rng.integers(1, 8)))
        else:
            draw.text(box[:2], "".join(rng.choice(list("ABCDEFGH 0123456789"), 14)), fill=grey)
    return np.asarray(picture, np.float32)


def _chest(n: int, rng: np.random.Generator) -> FloatArray:
    """Bright lung fields, heart and diaphragm shadows, ribs, and a coronary-like tree with a catheter."""
    rows, columns = np.mgrid[:n, :n].astype(np.float32) / n
    path = np.zeros((n, n), np.float32)
    heart = ((rows - rng.uniform(0.3, 0.9)) / rng.uniform(0.3, 0.6)) ** 2
    heart = heart + ((columns - rng.uniform(0.2, 0.8)) / rng.uniform(0.25, 0.5)) ** 2
    path += rng.uniform(0.2, 1.2) / (1 + np.exp(np.clip(12 * (heart - 1), -30, 30)))
    edge = rng.uniform(0.6, 1.2) + rng.uniform(0.1, 0.4) * (columns - rng.uniform(0.2, 0.8)) ** 2
    path += rng.uniform(0.2, 1.2) / (1 + np.exp(np.clip(-rng.uniform(15, 60) * (rows - edge), -30, 30)))
    path += rng.uniform(0, 0.8) * np.exp(-(((columns - rng.uniform(0, 1)) / rng.uniform(0.05, 0.15)) ** 2))
    period, slope = rng.uniform(0.1, 0.3), rng.uniform(-0.8, 0.8)
    ribs = np.sin(2 * np.pi * (rows + slope * columns + rng.uniform(-0.6, 0.6) * (columns - 0.5) ** 2) / period)
    path += rng.uniform(0, 0.25) * np.clip(ribs, 0, 1)
    path += rng.uniform(0.02, 0.15) * _clouds_unit(n, rng)
    tree = np.zeros((n, n), np.float32)
    for _ in range(rng.integers(1, 3)):
        _grow(tree, rng.uniform(0.2, 0.7, 2) * n, rng.uniform(0, 2 * np.pi), rng.uniform(0.008, 0.022) * n, rng, 0)
    if rng.random() < 0.7:
        _curve(tree, rng.uniform(0, 0.5, 2) * n, np.pi / 2, 0.006 * n, rng, int(0.8 * n), wander=0.01)
    tree = ndimage.gaussian_filter(tree, rng.uniform(0.5, 1.2))
    path += rng.uniform(0.15, 0.9) * tree
    return np.exp(-path * rng.uniform(0.7, 1.5)) + rng.uniform(0, 0.03) * rng.standard_normal((n, n), np.float32)


def _grow(
    tree: FloatArray, start: npt.NDArray[np.floating], angle: float, radius: float, rng: np.random.Generator, depth: int
) -> None:
    """A branch that wanders, tapers and splits."""
    length = int(tree.shape[0] * rng.uniform(0.2, 0.5) * 0.75**depth)
    points, angles = _curve(tree, start, angle, radius, rng, length, wander=rng.uniform(0.03, 0.1))
    if depth >= 3 or radius < 0.8:
        return
    for _ in range(rng.integers(1, 4)):
        k = int(rng.integers(len(points) // 4, len(points)))
        _grow(tree, points[k], angles[k] + rng.choice([-1, 1]) * rng.uniform(0.3, 1.1), radius * 0.7, rng, depth + 1)


def _curve(
    tree: FloatArray,
    start: npt.NDArray[np.floating],
    angle: float,
    radius: float,
    rng: np.random.Generator,
    length: int,
    *,
    wander: float,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Draw a wandering tube; the path is twice differentiable, so that it bends as vessels do."""
    bend = ndimage.gaussian_filter1d(rng.standard_normal(max(length, 8)), 8) * 4 * wander
    angles = angle + np.cumsum(bend)
    points = start + np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
    n = tree.shape[0]
    for k, (row, column) in enumerate(points):
        r = radius * (1 - 0.4 * k / len(points))
        reach = int(np.ceil(r)) + 1
        top, left = int(row) - reach, int(column) - reach
        if top < 0 or left < 0 or top + 2 * reach + 1 > n or left + 2 * reach + 1 > n:
            continue
        y, x = np.ogrid[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
        chord = np.sqrt(np.clip(1 - ((y - row) ** 2 + (x - column) ** 2) / r**2, 0, 1))
        patch = tree[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
        np.maximum(patch, chord, out=patch)
    return points, angles


def _clouds_unit(n: int, rng: np.random.Generator) -> FloatArray:
    x = _clouds(n, rng)
    return x / max(float(x.std()), 1e-6)


def _slice(volume: npt.NDArray[np.floating], n: int, rng: np.random.Generator) -> FloatArray:
    """A CT slice in a random direction and window."""
    axis = int(rng.integers(0, 3))
    length = volume.shape[axis]
    x = np.take(volume, int(rng.integers(length // 6, length - length // 6)), axis=axis).astype(np.float32)
    center, width = rng.choice([(40.0, 90.0), (40.0, 400.0), (600.0, 2800.0), (0.0, 1000.0)])
    x = np.clip((x - center) / width + 0.5, 0, 1)
    if rng.random() < 0.3:
        x = 1 - x
    x = np.rot90(x, int(rng.integers(0, 4)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(x)).resize((n, n), Image.Resampling.BILINEAR), np.float32)


def _scrambled(image: npt.NDArray[np.uint16], n: int, rng: np.random.Generator) -> FloatArray:
    """A training picture with its blocks shuffled, greatly enlarged, or with reversed contrast upside down."""
    x = np.asarray(Image.fromarray(image.astype(np.float32)).resize((n, n)), np.float32)
    kind = rng.integers(0, 2)
    if kind == 0:
        parts = int(rng.choice([3, 4, 6]))
        side = n // parts
        blocks = [x[i * side : (i + 1) * side, j * side : (j + 1) * side] for i in range(parts) for j in range(parts)]
        order = rng.permutation(len(blocks))
        rows = [np.hstack([blocks[order[i * parts + j]] for j in range(parts)]) for i in range(parts)]
        x = np.vstack(rows)
    else:
        side = n // int(rng.integers(6, 12))
        top, left = rng.integers(0, n - side, 2)
        x = x[top : top + side, left : left + side]
    return np.asarray(Image.fromarray(np.ascontiguousarray(x)).resize((n, n)), np.float32)
