"""Draws the icons of the Slicer module: a vessel tree in an X-ray circle with a patch of evidence.

usage: python scripts/make_icons.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FOLDER = Path(__file__).resolve().parents[1] / "ClaireDSA" / "Resources" / "Icons"
_SCALE = 8
"""Drawn larger and reduced, for smooth edges."""
_PAPER, _INK, _RIM = (236, 240, 245), (24, 36, 56), (70, 104, 148)


def module_icon(size_px: int = 128) -> Image.Image:
    """Circle with carotid tree and warm patch."""
    n = size_px * _SCALE
    disc = Image.new("L", (n, n), 0)
    ImageDraw.Draw(disc).ellipse((n * 0.03, n * 0.03, n * 0.97, n * 0.97), fill=255)
    picture = Image.new("RGB", (n, n), _PAPER)
    _shade(picture)
    _vessels(picture)
    picture = _patch(picture)
    ImageDraw.Draw(picture).ellipse((n * 0.03, n * 0.03, n * 0.97, n * 0.97), outline=_RIM, width=round(n * 0.035))
    icon = picture.convert("RGBA")
    icon.putalpha(disc)
    return icon.resize((size_px, size_px), Image.Resampling.LANCZOS)


def sample_icon(width_px: int = 260, height_px: int = 280) -> Image.Image:
    """Thumbnail of the demo case in the Sample Data module: the tree alone on its picture."""
    n = width_px * 2
    picture = Image.new("RGB", (n, n), _PAPER)
    _shade(picture)
    _vessels(picture)
    picture = picture.resize((width_px, width_px), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (width_px, height_px), (255, 255, 255))
    sheet.paste(picture, (0, (height_px - width_px) // 2))
    return sheet


def _shade(picture: Image.Image) -> None:
    """Darken towards the rim, as the skull does."""
    n = picture.width
    rows, columns = np.mgrid[0:n, 0:n] / n - 0.5
    light = 1 - 0.9 * (rows**2 + columns**2)
    pixels = np.asarray(picture, float) * light[..., None]
    picture.paste(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def _vessels(picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture)
    trunk = _curve((0.50, 1.02), (0.40, 0.80), (0.60, 0.70), (0.50, 0.56))
    _stroke(draw, trunk, 0.075, 0.060, picture.width)
    left = _curve((0.50, 0.56), (0.40, 0.50), (0.28, 0.52), (0.20, 0.36))
    right = _curve((0.50, 0.56), (0.58, 0.46), (0.66, 0.40), (0.70, 0.20))
    _stroke(draw, left, 0.055, 0.026, picture.width)
    _stroke(draw, right, 0.055, 0.026, picture.width)
    for points, width in (
        (_curve((0.34, 0.50), (0.36, 0.38), (0.34, 0.30), (0.40, 0.20)), 0.026),
        (_curve((0.25, 0.43), (0.18, 0.46), (0.14, 0.54), (0.12, 0.62)), 0.022),
        (_curve((0.60, 0.46), (0.72, 0.48), (0.78, 0.50), (0.86, 0.44)), 0.030),
        (_curve((0.72, 0.48), (0.78, 0.56), (0.80, 0.64), (0.78, 0.72)), 0.022),
        (_curve((0.66, 0.36), (0.56, 0.30), (0.54, 0.22), (0.55, 0.14)), 0.022),
    ):
        _stroke(draw, points, width, 0.010, picture.width)


def _patch(picture: Image.Image) -> Image.Image:
    """Blend a soft warm spot over one branch, the way an activation map looks."""
    n = picture.width
    rows, columns = np.mgrid[0:n, 0:n] / n
    strength = np.exp(-(((columns - 0.69) / 0.15) ** 2 + ((rows - 0.41) / 0.15) ** 2))
    warm = np.stack([np.full_like(strength, 240), 190 - 110 * strength, 60 * (1 - strength)], axis=-1)
    alpha = (0.72 * strength)[..., None]
    mixed = np.asarray(picture, float) * (1 - alpha) + warm * alpha
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))


def _curve(*control: tuple[float, float], steps: int = 80) -> np.ndarray:
    """Cubic Bézier curve: ``(steps, 2)`` of x, y in shares of the picture."""
    a, b, c, d = (np.asarray(p) for p in control)
    t = np.linspace(0, 1, steps)[:, None]
    return a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3


def _stroke(draw: ImageDraw.ImageDraw, points: np.ndarray, first: float, last: float, n: int) -> None:
    """Tapering round stroke."""
    for (x, y), width in zip(points, np.linspace(first, last, len(points)), strict=True):
        r = width / 2
        draw.ellipse(((x - r) * n, (y - r) * n, (x + r) * n, (y + r) * n), fill=_INK)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    module_icon().save(FOLDER / "ClaireDSA.png", optimize=True)
    sample_icon().save(FOLDER / "ClaireDSADemoCase.png", optimize=True)


if __name__ == "__main__":
    main()
