"""Arrays as pictures: PNG for looking, 16-bit TIFF for computing, animated WebP for the cine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ClaireDSALib.export.atomic import writing
from ClaireDSALib.export.ramps import shade

Rgb = npt.NDArray[np.uint8]
"""(H, W, 3) uint8."""

_WINDOW_PERCENTILES = (0.3, 99.7)


def write_png(path: Path, picture: npt.NDArray[Any]) -> Path:
    """Write ``(H, W)`` (windowed to 8 bits unless it is uint8), ``(H, W, 3)`` or ``(H, W, 4)`` uint8."""
    shown = picture if picture.dtype == np.uint8 else window(picture)
    with writing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(shown)).save(temporary, optimize=False, compress_level=6)
    return path


def write_tiff(path: Path, picture: npt.NDArray[Any], spacing_mm: tuple[float, float] | None = None) -> Path:
    """Write ``(H, W)`` losslessly with its own values; integers as 16 bit. Spacing, when known, as resolution."""
    import tifffile

    values = picture.astype(np.uint16) if picture.dtype == np.uint8 else picture
    resolution = None if spacing_mm is None else (10 / spacing_mm[1], 10 / spacing_mm[0])
    unit = "CENTIMETER" if spacing_mm is not None else None
    with writing(path) as temporary:
        tifffile.imwrite(temporary, values, compression="zlib", resolution=resolution, resolutionunit=unit)
    return path


def write_cine(
    path: Path, frames: Iterable[npt.NDArray[np.uint8]], durations_ms: Sequence[int], *, side_px: int = 384
) -> Path:
    """Write an animation ``(H, W)`` uint8 frames, shrunk to ``side_px``, on true times."""
    pictures = [_shrunk(frame, side_px) for frame in frames]
    with writing(path) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=list(durations_ms),
            loop=0,
            quality=80,
            method=2,
        )
    return path


def window(picture: npt.NDArray[Any], low: float | None = None, high: float | None = None) -> npt.NDArray[np.uint8]:
    """Stretch ``(H, W)`` to 8 bits between two values, or between two percentiles of itself."""
    values = np.asarray(picture, np.float32)
    finite = values[np.isfinite(values)]
    if low is None or high is None:
        found = np.percentile(finite, _WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
        low, high = float(found[0]), float(found[1])
    span = max(high - low, 1e-9)
    return (np.clip((np.nan_to_num(values, nan=low) - low) / span, 0, 1) * 255).astype(np.uint8)


def over(base: npt.NDArray[np.uint8], color: Rgb, alpha: npt.NDArray[np.floating]) -> Rgb:
    """Blend a colour picture over a grey one: ``base (H, W)``, ``color (H, W, 3)``, ``alpha (H, W)`` 0 to 1."""
    grey = np.repeat(base[..., None], 3, axis=2).astype(np.float32)
    weight = np.clip(alpha, 0, 1)[..., None]
    return np.round(grey * (1 - weight) + color * weight).astype(np.uint8)


def rgba(color: Rgb, alpha: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Colour with its opacity as ``(H, W, 4)`` uint8, to lay over a picture in a page."""
    return np.dstack([color, np.round(np.clip(alpha, 0, 1) * 255).astype(np.uint8)])


def enlarge(cam: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A coarse map that spans the image, smoothly enlarged to ``shape``."""
    source = Image.fromarray(np.ascontiguousarray(cam, np.float32))
    return np.asarray(source.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def colored(values: npt.NDArray[np.floating], low: float, high: float, table: Callable[[Any], Rgb]) -> Rgb:
    """Colours of ``(H, W)`` values between two limits; ``table`` maps 0..1 to RGB."""
    place = np.clip((np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-9), 0, 1)
    return table(place)


def outlined(
    mask: npt.NDArray[np.bool_], color: tuple[int, int, int], *, fill: float = 0.28, line: float = 0.95
) -> npt.NDArray[np.uint8]:
    """A mask as ``(H, W, 4)`` uint8 that leaves the picture below visible: faint inside, clear along its rim."""
    inside = mask & ndimage.binary_erosion(mask, border_value=1)
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[mask] = (*color, round(255 * line))
    picture[inside, 3] = round(255 * fill)
    return picture


def with_color_bar(
    picture: Rgb, table: Callable[[Any], Rgb], low: float, high: float, unit: str, title: str = ""
) -> Rgb:
    """The picture ``(H, W, 3)`` with a labelled colour bar to its right, on black.

    Parameters
    ----------
    picture : (H, W, 3) uint8 ndarray
    table : callable
        Maps 0..1 to the colours of the bar.
    low, high : float
        Values at the bottom and at the top of the bar.
    unit, title : str
        Stand above the bar.
    """
    height = picture.shape[0]
    letters = max(10, height // 36)
    font = ImageFont.load_default(size=letters)
    bar_width, gap = max(8, height // 32), letters // 2
    strip = Image.new("RGB", (bar_width + 2 * gap + 5 * letters, height))
    top, bottom = round(2.6 * letters), height - letters
    column = table(np.linspace(1, 0, bottom - top))[:, None]
    strip.paste(Image.fromarray(np.repeat(column, bar_width, axis=1)), (gap, top))
    pen = ImageDraw.Draw(strip)
    pen.text((gap, letters // 2), f"{title} {unit}".strip(), font=font, fill=(225, 228, 233))
    for value in ticks(low, high):
        row = bottom - 1 - round((value - low) / max(high - low, 1e-9) * (bottom - top - 1))
        pen.line((gap + bar_width, row, gap + bar_width + gap // 2, row), fill=(225, 228, 233))
        pen.text((2 * gap + bar_width, row), f"{value:g}", font=font, fill=(225, 228, 233), anchor="lm")
    return np.hstack([picture, np.asarray(strip)])


def ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """About ``wanted`` round values (1, 2 or 5 times a power of ten apart) between two limits."""
    raw = max(high - low, 1e-9) / wanted
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return tuple(float(f"{k * step:.6g}") for k in range(first, last + 1))


def heat(place: npt.NDArray[np.floating]) -> Rgb:
    """Violet over orange to pale yellow; 0..1 to ``(..., 3)`` uint8."""
    return shade("heat", place).astype(np.uint8)


def cool(place: npt.NDArray[np.floating]) -> Rgb:
    """Blue-green-yellow, monotone in lightness; 0..1 to ``(..., 3)`` uint8."""
    return shade("map", place).astype(np.uint8)


def _shrunk(frame: npt.NDArray[np.uint8], side_px: int) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((side_px, side_px), Image.Resampling.BOX)
    return picture
