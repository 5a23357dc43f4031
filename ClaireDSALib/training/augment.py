"""Domain randomisation of prepared MinIPs: what differs between scanners, rooms and exports, and no label.

Left-right flips are left out: they change the side. Strong zooms are too: they change skull visibility.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ClaireDSALib.models.preprocessing import InputSpec, resize
from ClaireDSALib.models.views import make_views

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths; each operation happens with its own probability per picture."""

    rotation_deg: float = 6.0
    scale: float = 0.04
    shift: float = 0.03
    gamma: float = 0.55
    """Log range of the tone curve's exponent."""
    log_strength: float = 5.5
    """Largest logarithm of the factor inside a logarithmic curve."""
    blur_px: float = 1.4
    noise: float = 0.06
    lowest_size_px: int = 120
    jpeg_quality: int = 25
    border: float = 0.06


def augment(
    image: npt.NDArray[np.uint16],
    size_px: int,
    rng: np.random.Generator,
    settings: AugmentSettings,
    views: Sequence[str] = ("linear",),
) -> FloatArray:
    """One random version of a cached picture.

    Parameters
    ----------
    image : (S, S) uint16 ndarray
    size_px : int
        Side of the result.
    rng : Generator
    settings : AugmentSettings

    Returns
    -------
    (C, size_px, size_px) float32 ndarray
        Views, 0 to 1; the linear one windowed between random percentiles near those of inference.
    """
    x = _move(image, size_px, rng, settings)
    if rng.random() < 0.7:
        x = _tone(x, rng, settings)
    if rng.random() < 0.4:
        x = _sharpness(x, rng, settings)
    if rng.random() < 0.2:
        x = _low_resolution(x, rng, settings)
    if rng.random() < 0.35:
        x = _noise(x, rng, settings)
    if rng.random() < 0.3:
        x = _shading(x, rng)
    if rng.random() < 0.3:
        x = _border(x, rng, settings)
    if rng.random() < 0.3:
        x = _marks(x, rng)
    if rng.random() < 0.2:
        x = _jpeg(x, rng, settings)
    percentiles = (float(rng.choice([0.5, rng.uniform(0, 2)])), float(rng.choice([99.5, rng.uniform(98, 100)])))
    return make_views(x.astype(np.float32), views, percentiles)


def plain(image: npt.NDArray[np.uint16], spec: InputSpec) -> FloatArray:
    """The picture as at inference ``(C, S, S)``: resized, then its views."""
    return make_views(resize(image, spec.size_px), spec.views, spec.window_percentiles)


def _move(image: npt.NDArray[np.uint16], size_px: int, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    """Rotate, scale, shift and resize in one affine resampling; outside is filled with the border's median."""
    side = image.shape[0]
    angle = np.deg2rad(rng.uniform(-s.rotation_deg, s.rotation_deg)) if rng.random() < 0.6 else 0.0
    zoom = side / size_px * (1 + rng.uniform(-s.scale, s.scale))
    aspect = 1 + rng.uniform(-0.04, 0.04)
    shift = rng.uniform(-s.shift, s.shift, 2) * side
    c, sn = np.cos(angle), np.sin(angle)
    matrix = np.array([[c * zoom * aspect, -sn * zoom], [sn * zoom * aspect, c * zoom]])
    center = (side - 1) / 2 + shift - matrix @ np.full(2, (size_px - 1) / 2)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    picture = Image.fromarray(image.astype(np.float32) / 65535)
    data = (matrix[1, 1], matrix[1, 0], center[1], matrix[0, 1], matrix[0, 0], center[0])
    moved = picture.transform(
        (size_px, size_px),
        Image.Transform.AFFINE,
        data,
        resample=Image.Resampling.BILINEAR,
        fillcolor=float(np.median(border)) / 65535,
    )
    return np.asarray(moved, np.float32)


def _tone(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    """Vendor curve: gamma, a logarithm or its inverse, and a smooth S or inverse S, always rising."""
    x = np.clip(x, 0, 1) ** np.exp(rng.uniform(-s.gamma, s.gamma))
    if rng.random() < 0.35:
        strength = np.exp(rng.uniform(0, s.log_strength))
        rising = np.log1p(strength * x) / np.log1p(strength)
        x = (
            rising
            if rng.random() < 0.75
            else np.expm1(x * np.log1p(strength) * 0.6) / np.expm1(np.log1p(strength) * 0.6)
        )
    bend = rng.uniform(-0.5, 0.5)
    return (x + bend * x * (1 - x) * (2 * x - 1) * 2).astype(np.float32)


def _sharpness(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    """Blur, or edge enhancement as vendors apply it."""
    if rng.random() < 0.5:
        return ndimage.gaussian_filter(x, rng.uniform(0.3, s.blur_px))
    return x + rng.uniform(0.3, 1.5) * (x - ndimage.gaussian_filter(x, rng.uniform(0.7, 4.0)))


def _low_resolution(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    size = x.shape[0]
    small = int(rng.integers(min(s.lowest_size_px, size - 1), size))
    picture = Image.fromarray(x).resize((small, small), Image.Resampling.BILINEAR)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), np.float32)


def _noise(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    grain = rng.standard_normal(x.shape, dtype=np.float32)
    if rng.random() < 0.5:
        grain = ndimage.gaussian_filter(grain, rng.uniform(0.4, 1.2))
        grain /= grain.std()
    return x + rng.uniform(0, 1) ** 2 * s.noise * grain * (0.5 + x if rng.random() < 0.5 else 1.0)


def _shading(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Uneven background: scatter, heel effect, uneven subtraction."""
    coarse = rng.normal(0, rng.uniform(0.02, 0.12), (3, 3)).astype(np.float32)
    return x + np.asarray(Image.fromarray(coarse).resize(x.shape[::-1], Image.Resampling.BICUBIC), np.float32)


def _border(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    """Collimator blades or an export's frame: rectangle, circle or octagon, soft or hard, any grey."""
    n = x.shape[0]
    rows, columns = np.mgrid[:n, :n].astype(np.float32) / (n - 1)
    margins = rng.uniform(0, s.border, 4) * (rng.random(4) < 0.7)
    inside = np.minimum.reduce(
        [rows - margins[0], 1 - rows - margins[1], columns - margins[2], 1 - columns - margins[3]]
    )
    shape = rng.random()
    if shape < 0.3:
        inside = np.minimum(inside, rng.uniform(0.5, 0.6) - np.hypot(rows - 0.5, columns - 0.5))
    elif shape < 0.45:
        cut = rng.uniform(0.8, 0.95)
        inside = np.minimum(inside, cut - np.abs(rows - 0.5) - np.abs(columns - 0.5))
    soft = rng.choice([1e-4, 0.004, 0.012])
    weight = 1 / (1 + np.exp(-np.clip(inside / soft, -30, 30)))
    return (weight * x + (1 - weight) * rng.choice([0.0, 1.0, rng.random(), float(x.mean())])).astype(np.float32)


def _marks(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Burned-in marks: small bright or dark strokes near the border, where exports print text."""
    x, n = x.copy(), x.shape[0]
    for _ in range(rng.integers(1, 5)):
        height, width = rng.integers(max(3, n // 60), max(5, n // 20)), rng.integers(4, n // 6)
        edge = rng.integers(0, 4)
        row = rng.integers(0, n // 10) if edge == 0 else rng.integers(n - n // 8, n - height) if edge == 1 else 0
        row = rng.integers(0, n - height) if edge > 1 else row
        column = rng.integers(0, n - width) if edge < 2 else (0 if edge == 2 else n - width)
        strokes = ndimage.zoom((rng.random((3, 8)) < 0.5).astype(float), (height / 3, width / 8), order=0)
        patch = x[row : row + strokes.shape[0], column : column + strokes.shape[1]]
        patch[strokes[: patch.shape[0], : patch.shape[1]] > 0] = rng.choice([0.0, 1.0])
    return x


def _jpeg(x: FloatArray, rng: np.random.Generator, s: AugmentSettings) -> FloatArray:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.round(255 * np.clip(x, 0, 1)).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=int(rng.integers(s.jpeg_quality, 95)))
    return np.asarray(Image.open(buffer), np.float32) / 255
