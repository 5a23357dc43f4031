"""What limits the picture: collimator blades with soft edges, iris, wedge filters, burned-in marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from scipy import special

Shape = Literal["none", "rectangular", "circular"]


@dataclass(frozen=True)
class Collimator:
    """Opening of the collimator as shares of the picture.

    Parameters
    ----------
    shape : "none", "rectangular" or "circular"
    edges : (left, right, top, bottom) tuple of float
        Position of the blades, 0 to 1 from the left or top.
    radius : float
        Of a circular iris, relative to half the width of the picture.
    softness_px : float
        Penumbra of the blades.
    leakage : float
        Intensity that scatters behind the blades.
    wedge : (angle_deg, position, strength) or None
        A semitransparent filter: direction, position along it (share of the picture), attenuation.
    """

    shape: Shape = "none"
    edges: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    radius: float = 1.0
    softness_px: float = 2.0
    leakage: float = 0.01
    wedge: tuple[float, float, float] | None = None

    def opening(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """``(H, W)`` float32 share of the beam that passes."""
        rows = np.arange(shape[0], dtype=np.float32)[:, None]
        columns = np.arange(shape[1], dtype=np.float32)[None]
        passing = np.ones(shape, np.float32)
        if self.shape == "rectangular":
            left, right, top, bottom = self.edges
            distances = (
                columns - left * shape[1],
                right * shape[1] - columns,
                rows - top * shape[0],
                bottom * shape[0] - rows,
            )
            touching = (left > 0, right < 1, top > 0, bottom < 1)
            for distance, used in zip(distances, touching, strict=True):
                if used:
                    passing = passing * _edge(distance, self.softness_px)
        elif self.shape == "circular":
            away = np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2)
            passing = _edge(self.radius * shape[1] / 2 - away, self.softness_px)
        if self.wedge is not None:
            angle, position, strength = self.wedge
            a = np.deg2rad(angle)
            along = (columns / shape[1] - 0.5) * np.cos(a) + (rows / shape[0] - 0.5) * np.sin(a) - position
            passing = passing * np.exp(-strength * _edge(along * shape[1], 0.05 * shape[1]))
        return (self.leakage + (1 - self.leakage) * passing).astype(np.float32)

    def valid_region(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """``(H, W)`` bool, inside the blades (the wedge does not count)."""
        if self.shape == "none":
            return np.ones(shape, bool)
        bare = Collimator(self.shape, self.edges, self.radius, self.softness_px, 0.0)
        return bare.opening(shape) > 0.5


def draw_collimator(rng: np.random.Generator, shape_name: Shape, size: int) -> Collimator:
    """Blades somewhere near the rim."""
    left, top = rng.uniform(0, 0.16, 2) * (rng.random(2) < 0.8)
    right, bottom = 1 - rng.uniform(0, 0.16, 2) * (rng.random(2) < 0.8)
    wedge = None
    if rng.random() < 0.2:
        wedge = (float(rng.uniform(0, 360)), float(rng.uniform(0.2, 0.45)), float(rng.uniform(0.2, 0.9)))
    return Collimator(
        shape_name,
        (float(left), float(right), float(top), float(bottom)),
        float(rng.uniform(0.86, 1.12)),
        float(rng.uniform(0.8, 5.0) * size / 512),
        float(rng.uniform(0.002, 0.04)),
        wedge,
    )


def burn_marks(frames: npt.NDArray[np.uint16], rng: np.random.Generator, max_value: int) -> None:
    """Write letters, a ruler or a frame number into every frame, in place; never tells truth about the patient."""
    height, width = frames.shape[1:]
    stamp = PillowImage.new("L", (width, height), 0)
    pen = ImageDraw.Draw(stamp)
    font = ImageFont.load_default(size=max(9, int(height * rng.uniform(0.025, 0.05))))
    words = ["SIM", "R", "L", "A", "P", "12/20", "DSA", "0.4", "x1", "2 F/s", "--", "H"]
    for _ in range(int(rng.integers(1, 4))):
        corner = (rng.choice([0.02, 0.84]) * width, rng.choice([0.02, 0.92]) * height)
        pen.text(corner, str(rng.choice(words)), fill=255, font=font)
    if rng.random() < 0.3:
        x = int(rng.choice([0.02, 0.97]) * width)
        pen.line([(x, height * 0.3), (x, height * 0.7)], fill=255)
        for k in range(9):
            y = height * (0.3 + 0.05 * k)
            pen.line([(x - width // 80, y), (x + width // 80, y)], fill=255)
    value = int(max_value * rng.choice([0.0, 1.0, rng.uniform(0.7, 1.0)]))
    frames[:, np.asarray(stamp) > 100] = value


def _edge(distance_px: npt.NDArray[np.float32], softness_px: float) -> npt.NDArray[np.float32]:
    """Blurred step: 0.5 at the blade."""
    return (0.5 * (1 + special.erf(distance_px / max(softness_px * 1.414, 0.2)))).astype(np.float32)
